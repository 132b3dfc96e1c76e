"""Reads the tags of a raw file that LibRaw does not pass on: the camera's name, a DNG's black levels and noise profile.

ISO speed and exposure time are read too, because LibRaw looks for them only in the Exif directory.
LibRaw (0.22) cuts off the fractions of black levels, and does not reorder them where it drops a row or column.
Source: DNG specification 1.7.1.0.
"""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile

from restore.files.images import BadImage

MAKE, MODEL = 271, 272
EXPOSURE_TIME, ISO, EXIF = 33434, 34855, 34665
CFA_PATTERN, CFA_PLANE_COLOR = 33422, 50710
DNG_VERSION, ACTIVE_AREA, NOISE_PROFILE = 50706, 50829, 51041
NOISE_REDUCTION_APPLIED = 50935
BLACK_LEVEL_REPEAT_DIM, BLACK_LEVEL, BLACK_LEVEL_DELTA_H, BLACK_LEVEL_DELTA_V = 50713, 50714, 50715, 50716
RGB = (0, 1, 2)


class RawTags(NamedTuple):
    """The tags of a raw file. Values for each site (2, 2) are for the 2 x 2 cell at the origin."""

    make: str = ""
    model: str = ""
    iso: float | None = None
    exposure_time: float | None = None
    """[s]."""
    origin: tuple[int, int] | None = None
    """Row and column of the first visible pixel, as a DNG gives them."""
    misread: str | None = None
    """What LibRaw misreads in a DNG with a mosaic, without reporting an error."""
    cut_off: bool = False
    """Whether pixels of a DNG lie past the end of the file. LibRaw would print that to stderr."""
    black: np.ndarray | None = None
    """(2, 2) black levels [DN], where a DNG gives one for each site or one for all."""
    noise_reduction: float | None = None
    """How much noise reduction a DNG has been given, 0 to 1; None where it does not say."""
    noise: np.ndarray | None = None
    """(2, 2, 2): (shot, read) of each site, where a DNG has a noise profile [1]."""


def read_tags(path: str | Path) -> RawTags:
    """Reads the tags of a raw file; the defaults for a file that is no TIFF. Raises BadImage for damaged tags."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it would print errors of tags that are not used here
    try:
        with tifffile.TiffFile(path) as file:
            return _tags_of(file.pages.first, Path(path).stat().st_size)
    except tifffile.TiffFileError:
        return RawTags()
    except Exception as error:  # damaged tags make tifffile raise nearly anything, TypeError and struct.error too
        raise BadImage(path, "has damaged tags", "copy it again or remove it") from error


def _tags_of(main: tifffile.TiffPage, size: int) -> RawTags:
    tags = RawTags(
        make=_text(main.tags, MAKE),
        model=_text(main.tags, MODEL),
        iso=_number(main.tags, ISO, "ISOSpeedRatings"),
        exposure_time=_number(main.tags, EXPOSURE_TIME, "ExposureTime"),
    )
    if DNG_VERSION not in main.tags:
        return tags
    images = [main, *(main.pages or ())]
    raw = next((image for image in images if image.photometric == tifffile.PHOTOMETRIC.CFA), None)
    if raw is None:
        return tags._replace(misread="does not say that its image is a mosaic")
    profile = (raw if NOISE_PROFILE in raw.tags else main).tags.valueof(NOISE_PROFILE)
    top, left = raw.tags.valueof(ACTIVE_AREA, (0, 0))[:2]
    return tags._replace(
        origin=(int(top), int(left)),
        misread=_misread(raw),
        cut_off=_is_cut_off(raw, size),
        black=_black(raw.tags),
        noise_reduction=_number(raw.tags, NOISE_REDUCTION_APPLIED, ""),
        noise=_noise(profile, raw.tags),
    )


def _text(tags: tifffile.TiffTags, code: int) -> str:
    return str(tags.valueof(code, "")).strip()


def _number(tags: tifffile.TiffTags, code: int, exif_name: str) -> float | None:
    """A positive number or fraction from the first directory or the Exif directory; None where neither has one."""
    exif = tags.valueof(EXIF)
    value = tags.valueof(code, exif.get(exif_name) if isinstance(exif, dict) else None)
    try:
        numerator, denominator = (*np.ravel(value).tolist(), 1)[:2]
        number = numerator / denominator
    except (TypeError, ValueError, ZeroDivisionError):  # no number
        return None
    return number if 0 < number < np.inf else None


def _misread(raw: tifffile.TiffPage) -> str | None:
    if raw.sampleformat == tifffile.SAMPLEFORMAT.IEEEFP:  # LibRaw rescales the values, but cuts off black before that
        return "has floating-point values"
    if tuple(raw.tags.valueof(CFA_PLANE_COLOR, RGB)) != RGB:  # LibRaw takes the first plane for red
        return "has its colour planes in another order than R, G, B"
    return None


def _is_cut_off(raw: tifffile.TiffPage, size: int) -> bool:
    if any(start + count > size for start, count in zip(raw.dataoffsets, raw.databytecounts, strict=True)):
        return True
    pixels = raw.imagewidth * raw.imagelength * raw.samplesperpixel * raw.bitspersample // 8
    return raw.compression == tifffile.COMPRESSION.NONE and sum(raw.databytecounts) < pixels


def _black(tags: tifffile.TiffTags) -> np.ndarray | None:
    repeat = tuple(np.ravel(tags.valueof(BLACK_LEVEL_REPEAT_DIM, (1, 1))))
    varies = BLACK_LEVEL_DELTA_H in tags or BLACK_LEVEL_DELTA_V in tags
    if BLACK_LEVEL not in tags or repeat not in ((1, 1), (2, 2)) or varies:
        return None
    levels = np.ravel(tags[BLACK_LEVEL].value).astype(np.float64)
    if tags[BLACK_LEVEL].dtype == tifffile.DATATYPE.RATIONAL:
        with np.errstate(divide="ignore", invalid="ignore"):  # 0/0 of a damaged file, which read_raw refuses
            levels = levels[::2] / levels[1::2]
    return np.broadcast_to(levels.reshape(repeat), (2, 2))


def _noise(profile: tuple[float, ...] | None, tags: tifffile.TiffTags) -> np.ndarray | None:
    """(2, 2, 2): (shot, read) of each site; None without a usable profile.

    One pair holds for all sites, three hold for the colours that CFAPattern names. Four are not in the specification:
    they are taken in the cell's reading order, as in Android's SENSOR_NOISE_PROFILE.
    """
    if profile is None:
        return None
    try:
        pairs = np.asarray(profile, np.float64).reshape(-1, 2)
    except (TypeError, ValueError):  # no numbers, or an odd count of them
        return None
    if not ((pairs >= 0) & (pairs <= 1)).all():
        return None
    match len(pairs):
        case 1:
            order = [0] * 4
        case 3:
            order = list(tags[CFA_PATTERN].value)
        case 4:
            order = [0, 1, 2, 3]
        case _:
            return None
    return pairs[order].reshape(2, 2, 2)
