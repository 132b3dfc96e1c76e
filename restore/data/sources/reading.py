"""Files -> images that a chain takes; raw images as RGGB mosaics with the camera's colours and, if known, the noise."""

from pathlib import Path

import numpy as np

from restore.camera.raw_file import RAW_SUFFIXES, read_raw
from restore.data.sources.base import ImageFile
from restore.files.images import IMAGE_SUFFIXES, read_image
from restore.files.paths import files_below
from transforms.sensor.bayer import Pattern, unify
from transforms.sensor.cameras import NEUTRAL
from transforms.sensor.metadata import NoiseProfile, RawMetadata
from transforms.sensor.mosaic import Mosaic

SUFFIXES = IMAGE_SUFFIXES | RAW_SUFFIXES
"""Of the files that read_picture_or_raw takes, in lower case."""


def pictures_and_raw_files(folder: str | Path) -> list[Path]:
    """The image and raw files in a folder and its subfolders, sorted. Raises UserError as files_below does."""
    return [file for file in files_below(folder) if file.suffix.lower() in SUFFIXES]


def read_picture_or_raw(file: ImageFile) -> np.ndarray | Mosaic:
    """An image file or a raw file, told apart by the suffix. Raises BadImage for a file that cannot be used."""
    return read_mosaic(file) if file.path.suffix.lower() in RAW_SUFFIXES else read_image(file.path)


def read_mosaic(file: ImageFile) -> Mosaic:
    """The mosaic of a raw file, times the gain. Raises BadImage for a file without a Bayer mosaic."""
    raw, gain = read_raw(file.path), file.gain
    metadata = raw.metadata._replace(noise=raw.metadata.noise.scaled(gain))
    return Mosaic(unify(raw.linear(), raw.pattern) * np.float32(gain), metadata)


def neutral_mosaic(values: np.ndarray, pattern: Pattern) -> Mosaic:
    """Values (H, W), linear, 0 = black level, 1 = white level, of a camera whose colours and noise are not known."""
    return Mosaic(unify(values.astype(np.float32), pattern), RawMetadata(NEUTRAL, NoiseProfile.unknown()))
