"""A restored mosaic developed to a picture: white balance as shot, the camera's colours, upright.

Nothing more is done: no tone curve, no change of contrast or saturation. LibRaw's postprocess gives the same without
its automatic brightness, and so does darktable with its workflow set to none. Of the simple ways it is the nearest to
what editors show at first. Mean difference [of 255] from the pictures of darktable 4.2 and RawTherapee 5.9, as both
open the file, and from Adobe's preview in it, for a colour chart (Canon 550D) and a dark room (Canon 6D):

                                            chart              dark room
                                       darkt.  RawTh.   darkt.  RawTh.  preview
    sRGB curve alone                    14.1     3.2     11.1    15.1     9.1
    tone curve of training pictures     24.8    14.6     25.2    19.9    15.1
    LibRaw, automatic brightness        23.1    33.7      3.3    18.3    12.1
    sRGB curve, 0.7 EV brighter          5.1    15.7      0.4    20.0    13.7

darktable brightens all files by 0.7 EV, the others do not. Here a file is brightened as its own BaselineExposure says.
"""

from typing import NamedTuple

import numpy as np

from restore.camera.output.demosaicing import demosaiced
from restore.camera.output.dng_tags import Carried, carried_tags, default_crop
from restore.camera.output.opcodes import BEFORE_DEMOSAICING, BEFORE_LEVELS, LISTS, operations, with_gain_maps
from restore.camera.output.tiff import Entry, values_of
from restore.camera.restored_raw import RestoredRaw
from restore.files.images import turned_upright
from transforms.sensor.cameras import Camera

BASELINE_EXPOSURE = 50730
MOST_EXPOSURE = 5
"""A BaselineExposure above this [EV] is taken for damaged."""


class Picture(NamedTuple):
    """A developed picture."""

    linear: np.ndarray
    """(H, W, 3) uint16: linear values of sRGB's red, green and blue, 0 black, 65535 white; upright."""
    carried: Carried
    """What the raw file says of it."""
    notes: list[str]
    """A line for everything that was left out and changes how the picture looks."""


def developed(restored: RestoredRaw) -> Picture:
    """Develops a restored mosaic: gain maps of the file, demosaicing, colours, the file's crop and orientation."""
    carried = carried_tags(restored)
    mosaic, notes = shaded(restored, carried)
    camera, exposure = restored.source.metadata.camera, baseline_exposure(carried)
    picture = np.empty((*mosaic.shape, 3), np.uint16)
    for rows, colours in demosaiced(mosaic, restored.pattern, camera.white_balance.numpy()):
        picture[rows] = (65535 * linear_srgb(colours, camera, exposure)).round()
    top, left, height, width = map(int, default_crop(carried, mosaic.shape) or (0, 0, *mosaic.shape))
    picture = picture[top : top + height, left : left + width]
    turned = turned_upright(picture, restored.source.orientation)
    return Picture(turned, carried, notes)


def shaded(restored: RestoredRaw, carried: Carried) -> tuple[np.ndarray, list[str]]:
    """The mosaic with the file's gain maps applied, and the notes, with what is not applied before demosaicing."""
    lists = [carried.mosaic.get(code) for code in (BEFORE_LEVELS, BEFORE_DEMOSAICING)]
    first, second = (operations(entry.data) if isinstance(entry, Entry) else [] for entry in lists)
    mosaic, left_out = with_gain_maps(restored.mosaic, second)
    notes = [
        f"{LISTS[code]}: left out operations {numbers}, which only a raw editor applies"
        for code, numbers in (
            (BEFORE_LEVELS, sorted({operation.number for operation in first})),
            (BEFORE_DEMOSAICING, left_out),
        )
        if numbers
    ]
    return mosaic, carried.notes + notes


def baseline_exposure(carried: Carried) -> float:
    """By how much the file says it is to be brightened [EV].

    To darken it would turn white to grey: editors then bend the curve, which is left to them.
    """
    entry = carried.about.get(BASELINE_EXPOSURE)
    value = values_of(entry, carried.order) if isinstance(entry, Entry) else np.zeros(1)
    return float(value[0]) if len(value) == 1 and 0 < value[0] <= MOST_EXPOSURE else 0.0


def linear_srgb(balanced: np.ndarray, camera: Camera, exposure: float) -> np.ndarray:
    """Linear sRGB (..., 3), 0 to 1, of white-balanced camera colours (..., 3).

    Each colour is cut off where the first of them is saturated, so that burnt-out areas are white and not tinted.
    """
    saturated = float(camera.white_balance.min())
    camera_rgb = (balanced * (2**exposure / saturated)).clip(max=1)
    matrix = np.linalg.inv(camera.rgb_to_camera.double().numpy()).astype(np.float32)
    return (camera_rgb @ matrix.T).clip(0, 1)
