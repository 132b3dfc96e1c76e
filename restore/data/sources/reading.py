"""Raw images of data sets as the Mosaics that a chain takes: RGGB, with the camera's colours and the noise if known."""

import numpy as np
import torch

from restore.camera.raw_file import RAW_SUFFIXES, read_raw
from restore.data.sources.base import Recording
from restore.files.images import read_image
from transforms.sensor.bayer import Pattern, unify
from transforms.sensor.cameras import Camera
from transforms.sensor.mosaic import Mosaic

NEUTRAL = Camera(torch.eye(3), torch.tensor([2.15, 1, 1.7]))
"""Of a camera whose colours no file tells: good enough to look at, and no loss on raw values asks for more."""


def read_picture_or_raw(recording: Recording) -> np.ndarray | Mosaic:
    """An sRGB picture or a raw file, told apart by the suffix. Raises BadImage for what is neither."""
    return read_mosaic(recording) if recording.file.suffix.lower() in RAW_SUFFIXES else read_image(recording.file)


def read_mosaic(recording: Recording) -> Mosaic:
    """A raw file, times the recording's gain. Raises BadImage for whatever has no Bayer mosaic."""
    raw, gain = read_raw(recording.file), recording.gain
    camera, noise, _ = raw.metadata
    known = tuple(noise.scaled(gain)) if noise.known else None
    return Mosaic(unify(raw.linear(), raw.pattern) * np.float32(gain), camera, known)


def neutral_mosaic(values: np.ndarray, pattern: Pattern) -> Mosaic:
    """Values (H, W), linear from 0 = black to 1 = white, by a camera of which no more is known."""
    return Mosaic(unify(values.astype(np.float32), pattern), NEUTRAL)
