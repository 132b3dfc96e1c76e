"""Rendering of raw images: mosaics packed and unpacked, demosaiced, and developed to sRGB."""

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from transforms.sensor.cameras import COLOUR_OF_SITE, Camera
from transforms.sensor.unprocessing import process

Kernel = list[list[float]]
# Malvar, He and Cutler, High-quality linear interpolation for demosaicing of Bayer-patterned color images,
# ICASSP 2004, figure 2; in eighths.
GREEN: Kernel = [[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]
"""Green at a red or blue site."""
ALONG_ROW: Kernel = [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]
"""Red or blue at a green site whose neighbours in the row have it."""
DIAGONAL: Kernel = [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]
"""Red at a blue site, blue at a red site."""
KNOWN: Kernel = [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 8, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
"""The colour that the site itself records."""
ALONG_COLUMN = [list(row) for row in zip(*ALONG_ROW, strict=True)]

FILTERS = [
    [KNOWN, ALONG_ROW, ALONG_COLUMN, DIAGONAL],
    [GREEN, KNOWN, KNOWN, GREEN],
    [DIAGONAL, ALONG_COLUMN, ALONG_ROW, KNOWN],
]
"""For red, green and blue: the filter at the sites R, G1, G2 and B of the mosaic."""


def pack(mosaic: Tensor) -> Tensor:
    """An RGGB mosaic (..., H, W), H and W even, as its four planes (..., 4, H/2, W/2): R, G1, G2, B."""
    return F.pixel_unshuffle(mosaic.unsqueeze(-3), 2)


def unpack(packed: Tensor) -> Tensor:
    """The inverse of pack: (..., 4, h, w) -> (..., 2h, 2w)."""
    return F.pixel_shuffle(packed, 2).squeeze(-3)


def demosaic(mosaic: Tensor) -> Tensor:
    """An RGGB mosaic (..., H, W), white balanced, to colour (..., 3, H, W): Malvar, He and Cutler's linear filters.

    H and W are even, and at least 4. At its edges the mosaic is mirrored about the outermost row or
    column, which keeps every site's colour.
    """
    height, width = mosaic.shape[-2:]
    padded = F.pad(mosaic.reshape(-1, 1, height, width), (2, 2, 2, 2), mode="reflect")
    colours = F.conv2d(padded, STACKED_FILTERS.to(mosaic), stride=2)
    return F.pixel_shuffle(colours, 2).reshape(*mosaic.shape[:-2], 3, height, width)


def _filters() -> Tensor:
    """(12, 1, 6, 6): a filter for each colour and site, all of them in the 6 x 6 pixels around a cell of 2 x 2."""
    filters = torch.zeros(3, 2, 2, 6, 6)
    for colour, site in product(range(3), range(4)):
        row, column = divmod(site, 2)
        filters[colour, row, column, row : row + 5, column : column + 5] = torch.tensor(FILTERS[colour][site]) / 8
    return filters.view(12, 1, 6, 6)


STACKED_FILTERS = _filters()  # made here, not on first use: tensors made in inference mode give no gradients


def develop(packed: Tensor, camera: Camera) -> Tensor:
    """Packed raw (..., 4, h, w) for the eye: sRGB (..., 3, 2h, 2w), 0 to 1, float32. Differentiable.

    camera  on the image's device: rgb_to_camera (..., 3, 3) and white_balance (..., 3)
    """
    gains = camera.white_balance
    # Half precision, which autocast would choose, causes visible banding.
    with torch.autocast(packed.device.type, enabled=False):
        balanced = demosaic(unpack(packed.float() * gains[..., COLOUR_OF_SITE, None, None]))
        return process(balanced / gains[..., None, None], camera.rgb_to_camera, gains)
