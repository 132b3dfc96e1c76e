"""Files -> images that a chain takes; raw images as RGGB mosaics with the camera's colours and, if known, the noise."""

from pathlib import Path
from zipfile import BadZipFile
from zlib import error as DamagedZip

import numpy as np
import torch

from restore.camera.raw_file import RAW_SUFFIXES, read_raw
from restore.data.sources.base import ImageFile
from restore.files.images import IMAGE_SUFFIXES, BadImage, read_image
from restore.files.paths import files_below
from transforms import unpack
from transforms.sensor.bayer import Pattern, unify
from transforms.sensor.cameras import NEUTRAL
from transforms.sensor.metadata import NoiseProfile, RawMetadata
from transforms.sensor.mosaic import CELL, Mosaic

PACKED_SUFFIX = ".npz"
"""Of packed raw images as the NTIRE challenges ship them."""
SUFFIXES = IMAGE_SUFFIXES | RAW_SUFFIXES | {PACKED_SUFFIX}
"""Of the files that read_picture_or_raw takes, in lower case."""


def pictures_and_raw_files(folder: str | Path) -> list[Path]:
    """The image and raw files in a folder and its subfolders, sorted. Raises UserError as files_below does."""
    return [file for file in files_below(folder) if file.suffix.lower() in SUFFIXES]


def read_picture_or_raw(file: ImageFile) -> np.ndarray | Mosaic:
    """An image file or a raw file, told apart by the suffix. Raises BadImage for a file that cannot be used."""
    suffix = file.path.suffix.lower()
    if suffix == PACKED_SUFFIX:
        return read_packed(file.path)
    return read_mosaic(file) if suffix in RAW_SUFFIXES else read_image(file.path)


def read_mosaic(file: ImageFile) -> Mosaic:
    """The mosaic of a raw file, times the gain. Raises BadImage for a file without a Bayer mosaic."""
    raw, gain = read_raw(file.path), file.gain
    metadata = raw.metadata._replace(noise=raw.metadata.noise.scaled(gain))
    return Mosaic(unify(raw.linear(), raw.pattern) * np.float32(gain), metadata)


def read_packed(path: Path) -> Mosaic:
    """The mosaic of an .npz file with "raw", uint16 (h, w, 4) in the order R, G1, G2, B, and "max_val", the white
    level [DN] above a black level of 0. Raises BadImage for any other file."""
    try:
        with np.load(path) as arrays:
            packed, white = arrays["raw"], float(arrays["max_val"])
    except (OSError, ValueError, TypeError, EOFError, KeyError, IndexError, BadZipFile, DamagedZip):
        raise BadImage(path, "is no .npz file with raw and max_val, or damaged", "copy it again or remove it") from None
    return packed_mosaic(path, packed, white)


def packed_mosaic(path: Path, packed: np.ndarray, white: float) -> Mosaic:
    """The mosaic of a file's packed raw image, uint16 (h, w, 4), of a camera whose colours and noise are not known.

    white  white level [DN] above a black level of 0
    Raises BadImage for another array or an impossible white level.
    """
    if packed.dtype != np.uint16 or packed.ndim != 3 or packed.shape[2] != len(CELL) or not packed.size:
        raise BadImage(path, f"holds {packed.dtype} {packed.shape}, and uint16 (h, w, 4) is wanted", "remove it")
    if not 0 < white < np.inf:
        raise BadImage(path, f"has an impossible white level (max_val {white:g} DN)", "mend or remove it")
    planes = torch.from_numpy(packed.transpose(2, 0, 1) / np.float32(white))
    return neutral_mosaic(unpack(planes).numpy(), "RGGB")


def neutral_mosaic(values: np.ndarray, pattern: Pattern) -> Mosaic:
    """Values (H, W), linear, 0 = black level, 1 = white level, of a camera whose colours and noise are not known."""
    return Mosaic(unify(values.astype(np.float32), pattern), RawMetadata(NEUTRAL, NoiseProfile.unknown()))
