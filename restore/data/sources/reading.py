"""Raw images of data sets as the Mosaics that a chain takes: RGGB, with the camera's colours and the noise if known."""

import numpy as np

from restore.camera.raw_file import RAW_SUFFIXES, read_raw
from restore.data.sources.base import Recording
from restore.files.images import read_image
from transforms.sensor.bayer import Pattern, unify
from transforms.sensor.cameras import NEUTRAL
from transforms.sensor.metadata import NoiseProfile, RawMetadata
from transforms.sensor.mosaic import Mosaic


def read_picture_or_raw(recording: Recording) -> np.ndarray | Mosaic:
    """An sRGB picture or a raw file, told apart by the suffix. Raises BadImage for what is neither."""
    return read_mosaic(recording) if recording.file.suffix.lower() in RAW_SUFFIXES else read_image(recording.file)


def read_mosaic(recording: Recording) -> Mosaic:
    """A raw file, times the recording's gain. Raises BadImage for whatever has no Bayer mosaic."""
    raw, gain = read_raw(recording.file), recording.gain
    metadata = raw.metadata._replace(noise=raw.metadata.noise.scaled(gain))
    return Mosaic(unify(raw.linear(), raw.pattern) * np.float32(gain), metadata)


def neutral_mosaic(values: np.ndarray, pattern: Pattern) -> Mosaic:
    """Values (H, W), linear from 0 = black to 1 = white, by a camera of which no more is known."""
    return Mosaic(unify(values.astype(np.float32), pattern), RawMetadata(NEUTRAL, NoiseProfile.unknown()))
