"""What a raw file's tags say and LibRaw does not pass on: the camera's name, and a DNG's black levels and noise.

LibRaw (0.22) cuts off the fractions of black levels, and keeps their order where it drops a row or column.
Source: DNG specification 1.7.1.0.
"""

import logging
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile

MAKE, MODEL = 271, 272
CFA_PATTERN, CFA_PLANE_COLOR = 33422, 50710
DNG_VERSION, ACTIVE_AREA, NOISE_PROFILE = 50706, 50829, 51041
BLACK_LEVEL_REPEAT_DIM, BLACK_LEVEL, BLACK_LEVEL_DELTA_H, BLACK_LEVEL_DELTA_V = 50713, 50714, 50715, 50716
RGB = (0, 1, 2)


class RawTags(NamedTuple):
    """Of a cell (2, 2) the first site is at the origin."""

    camera: str = "unknown camera"
    origin: tuple[int, int] = (0, 0)
    """Row and column of the first pixel that is picture."""
    misread: str | None = None
    """What of a DNG LibRaw misreads without a word."""
    black: np.ndarray | None = None
    """(2, 2) black levels [DN], where a DNG gives one for each site or one for all."""
    noise: np.ndarray | None = None
    """(2, 2, 2) shot and read of each site, where a DNG has a noise profile [1]."""


def read_tags(path: str | Path) -> RawTags:
    """Reads the tags of a raw file; nothing is known of a file that is no TIFF or has tags that make no sense."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it would write to stderr of tags that nobody asks for
    try:
        with tifffile.TiffFile(path) as file:
            main = file.pages[0]
            images = [main, *(main.pages or ())]
            raw = next((image for image in images if image.photometric == tifffile.PHOTOMETRIC.CFA), main)
            if DNG_VERSION not in main.tags:
                return RawTags(_camera(main.tags))
            profile = (raw if NOISE_PROFILE in raw.tags else main).tags.valueof(NOISE_PROFILE)
            return RawTags(
                camera=_camera(main.tags),
                origin=tuple(raw.tags.valueof(ACTIVE_AREA, (0, 0))[:2]),
                misread=_misread(raw),
                black=_black(raw.tags),
                noise=_noise(profile, raw.tags),
            )
    except (ValueError, LookupError, struct.error):
        return RawTags()


def _camera(tags: tifffile.TiffTags) -> str:
    make, model = (str(tags.valueof(code, "")).strip() for code in (MAKE, MODEL))
    if make and model.lower().startswith(make.split()[0].lower()):
        return model
    return f"{make} {model}".strip() or RawTags().camera


def _misread(raw: tifffile.TiffPage) -> str | None:
    if raw.sampleformat == tifffile.SAMPLEFORMAT.IEEEFP:  # LibRaw rescales the values, but cuts off black before that
        return "has floating-point values"
    if tuple(raw.tags.valueof(CFA_PLANE_COLOR, RGB)) != RGB:  # LibRaw takes the first plane for red
        return "has its colour planes in another order than R, G, B"
    return None


def _black(tags: tifffile.TiffTags) -> np.ndarray | None:
    repeat = tuple(np.ravel(tags.valueof(BLACK_LEVEL_REPEAT_DIM, (1, 1))))
    varies = BLACK_LEVEL_DELTA_H in tags or BLACK_LEVEL_DELTA_V in tags
    if BLACK_LEVEL not in tags or repeat not in ((1, 1), (2, 2)) or varies:
        return None
    levels = np.ravel(tags[BLACK_LEVEL].value).astype(np.float64)
    if tags[BLACK_LEVEL].dtype == tifffile.DATATYPE.RATIONAL:
        levels = levels[::2] / levels[1::2]
    return np.broadcast_to(levels.reshape(repeat), (2, 2))


def _noise(profile: tuple[float, ...] | None, tags: tifffile.TiffTags) -> np.ndarray | None:
    """One pair (shot, read) is for all sites, three are for the planes that CFAPattern names.

    Four, which the specification does not foresee, are taken as Android's SENSOR_NOISE_PROFILE has them: in the cell's
    reading order.
    """
    if profile is None:
        return None
    pairs = np.reshape(profile, (-1, 2))
    if not (np.isfinite(pairs) & (pairs >= 0)).all():
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
