"""Writes a restored mosaic as a linear DNG: full colour at every pixel, in the camera's own linear colours.

Source: DNG specification 1.7.1.0, LinearRaw. The operations that come before demosaicing are applied or left out.
"""

from pathlib import Path

import numpy as np

from restore.camera.output.demosaicing import demosaiced
from restore.camera.output.developing import shaded
from restore.camera.output.dng import (
    ACTIVE_AREA,
    BLACK_LEVEL,
    BLACK_REPEAT,
    NOISE_REDUCTION_APPLIED,
    WHITE_LEVEL,
    crop_tags,
)
from restore.camera.output.dng_file import write_dng_file
from restore.camera.output.dng_tags import carried_tags, default_crop
from restore.camera.output.opcodes import AFTER_DEMOSAICING
from restore.camera.output.tiff import LONG, RATIONAL, SHORT, Directory, numbers
from restore.camera.restored_raw import RestoredRaw

LINEAR_RAW = 34892
WHITE = 65535
"""[DN]. Black is 0, so that what is darker, as noise is, is lost: neither darktable 4.2 nor RawTherapee 5.9 subtracts
the black level of a linear DNG rightly, and their pictures would have other colours."""
STILL_TRUE = {50718, 50738, 50780, 51125, AFTER_DEMOSAICING}
"""Tags of the source's mosaic that hold for full colour: scales, the user's crop, what follows demosaicing. A
NoiseProfile does not: what noise is left is no longer independent from pixel to pixel."""


def write_linear_dng(path: Path, restored: RestoredRaw) -> list[str]:
    """Writes a restored mosaic as a linear DNG of 16 bits, whole or not at all.

    The picture is the visible area, not turned: the orientation is in the tags, as in the source. Returns a line for
    each thing that was left out and changes how the picture looks. Raises SaveError where the file cannot be written.
    """
    carried = carried_tags(restored)
    mosaic, notes = shaded(restored, carried)
    (height, width), order = mosaic.shape, carried.order
    area = default_crop(carried, mosaic.shape) or (0, 0, height, width)
    tags: Directory = {
        BLACK_REPEAT: numbers(order, SHORT, [1, 1]),
        BLACK_LEVEL: numbers(order, RATIONAL, [0] * 3),
        WHITE_LEVEL: numbers(order, LONG, [WHITE] * 3),
        ACTIVE_AREA: numbers(order, LONG, [0, 0, height, width]),
        NOISE_REDUCTION_APPLIED: numbers(order, RATIONAL, [restored.strength]),
        **crop_tags(order, area),
        **{code: carried.mosaic[code] for code in STILL_TRUE & carried.mosaic.keys()},
    }
    write_dng_file(path, restored, carried, _recorded(mosaic, restored), LINEAR_RAW, tags)
    return notes


def _recorded(mosaic: np.ndarray, restored: RestoredRaw) -> np.ndarray:
    """The mosaic in full colour (H, W, 3) uint16 [DN], as the camera sees it: not white balanced."""
    white_balance = restored.source.metadata.camera.white_balance.numpy()
    colours = np.empty((*mosaic.shape, 3), np.uint16)
    for rows, balanced in demosaiced(mosaic, restored.pattern, white_balance):
        colours[rows] = (balanced * (WHITE / white_balance)).round().clip(0, WHITE)
    return colours
