"""Writes a restored mosaic as a DNG in the numbers of its source, with all that an editor needs of the source.

Source: DNG specification 1.7.1.0.
"""

from pathlib import Path

import numpy as np

from restore.camera.output.dng_file import write_dng_file
from restore.camera.output.dng_tags import CFA, CROP_ORIGIN, CROP_SIZE, Carried, carried_tags, default_crop
from restore.camera.output.tiff import BYTE, DOUBLE, LONG, RATIONAL, SHORT, Directory, Entry, numbers, values_of
from restore.camera.raw_file import sites
from restore.camera.restored_raw import RestoredRaw

LEAST_NOISE = 0.01
"""A noise profile scaled by less is left out: an editor would find nothing to do."""
CFA_REPEAT, CFA_PATTERN, CFA_PLANE_COLOR, CFA_LAYOUT = 33421, 33422, 50710, 50711
BLACK_REPEAT, BLACK_LEVEL, WHITE_LEVEL, ACTIVE_AREA = 50713, 50714, 50717, 50829
BLACK_DELTAS = {50715, 50716}
NOISE_REDUCTION_APPLIED, NOISE_PROFILE = 50935, 51041


def write_dng(path: Path, restored: RestoredRaw) -> list[str]:
    """Writes a restored mosaic as a DNG, whole or not at all.

    The source's tags are carried on as far as they still hold (dng_tags), and its NoiseProfile is scaled by the noise
    left, or left out where that is not known. A mosaic of the source's size lies inside the sensor's margins as
    recorded, and values are rounded, and clipped to 0..65535 DN.
    Returns a line for each thing that was left out and changes how the picture looks. Raises SaveError where the file
    cannot be written.
    """
    carried = carried_tags(restored)
    noise = _noise(carried, restored)
    tags = _levels_and_areas(restored, carried) | noise
    write_dng_file(path, restored, carried, _frame(restored), CFA, tags)
    return carried.notes


def _levels_and_areas(restored: RestoredRaw, carried: Carried) -> Directory:
    """What the directory of the mosaic says of its values and its areas."""
    (height, width), source, order = restored.mosaic.shape, restored.source, carried.order
    enlarged = restored.scale > 1
    black = np.empty((2, 2))
    black[tuple(zip(*sites(restored.pattern), strict=True))] = source.black
    top, left, *_ = (0, 0) if enlarged else source.margins
    made: Directory = {
        CFA_REPEAT: numbers(order, SHORT, [2, 2]),
        CFA_PATTERN: numbers(order, BYTE, ["RGB".index(colour) for colour in restored.pattern]),
        ACTIVE_AREA: numbers(order, LONG, [top, left, top + height, left + width]),
    }
    if enlarged or not BLACK_DELTAS & carried.mosaic.keys():  # else they stay, as they vary by row or column
        made[BLACK_REPEAT] = numbers(order, SHORT, [2, 2])
        made[BLACK_LEVEL] = numbers(order, RATIONAL, black)
    known: Directory = {
        CFA_PLANE_COLOR: numbers(order, BYTE, [0, 1, 2]),
        CFA_LAYOUT: numbers(order, SHORT, [1]),
        WHITE_LEVEL: numbers(order, LONG, [round(source.white)]),
        **crop_tags(order, (0, 0, height, width)),
    }
    if enlarged:
        made |= crop_tags(order, default_crop(carried, restored.mosaic.shape) or (0, 0, height, width))
    return known | carried.mosaic | made


def crop_tags(order: str, area: tuple[float, float, float, float]) -> Directory:
    """DefaultCrop of an area: top, left, height and width."""
    top, left, height, width = area
    return {CROP_ORIGIN: numbers(order, RATIONAL, [left, top]), CROP_SIZE: numbers(order, RATIONAL, [width, height])}


def _noise(carried: Carried, restored: RestoredRaw) -> Directory:
    """What is said of the noise; the source's profile is taken from what is carried."""
    order, left = carried.order, restored.noise_left if restored.scale == 1 else None
    said: Directory = {NOISE_REDUCTION_APPLIED: numbers(order, RATIONAL, [restored.strength])}
    profile = carried.mosaic.pop(NOISE_PROFILE, None)
    if isinstance(profile, Entry) and profile.kind == DOUBLE and left is not None and left > LEAST_NOISE:
        said[NOISE_PROFILE] = numbers(order, DOUBLE, values_of(profile, order) * left)
    return said


def _frame(restored: RestoredRaw) -> np.ndarray:
    """The mosaic in DN, uint16; inside the sensor's margins where it has the source's size."""
    source, mosaic = restored.source, restored.mosaic
    if restored.scale == 1:
        frame = source.frame.copy()
        top, left, bottom, right = source.margins
        area = frame[top : len(frame) - bottom, left : frame.shape[1] - right]
    else:
        frame = area = np.empty(mosaic.shape, np.uint16)
    for (row, column), black in zip(sites(restored.pattern), source.black, strict=True):
        values = mosaic[row::2, column::2] * (source.white - black) + black
        area[row::2, column::2] = values.round().clip(0, 65535)
    return frame
