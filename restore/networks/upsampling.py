"""The two branches that make a restored image larger: plain interpolation, and a tail that adds what was learnt.

Where the samples lie: pixel i of a side shows the light around pixel s i + (s - 1) / 2 of the image that is s times
larger, so that both show the same area. The planes of packed raw are every second pixel of a mosaic, beginning with
pixel p of 0 or 1, and the relation holds for the mosaics: for pixel i of a plane it gives 2 u + p = s (2 i + p) +
(s - 1) / 2, that is pixel u = s i + (s - 1) (2 p + 1) / 4 of the larger mosaic's plane.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

REACH = 2
"""Pixels to either side that the interpolation looks at."""
RGGB_ROWS, RGGB_COLUMNS = (0, 0, 1, 1), (0, 1, 0, 1)
"""The row and the column of R, G1, G2 and B in the 2 x 2 cell of the mosaic."""


class BicubicUpsampling(nn.Module):
    """Bicubic interpolation: (B, C, H, W) -> (B, C, scale * H, scale * W) of the same dtype; C of 4 is packed raw.

    The planes of raw are interpolated one by one, each for the places where the larger mosaic has its colour. An image
    that rises evenly goes on to do so; beyond the border the outermost pixels are repeated. Without convolutions, so
    that neither autocast nor TF32 takes digits from the image.
    Source: Keys, Cubic Convolution Interpolation for Digital Image Processing, 1981: a = -1/2.
    """

    def __init__(self, n_channels: int, scale: int):
        super().__init__()
        if n_channels == len(RGGB_ROWS):
            rows = [(scale - 1) * (2 * p + 1) / 4 for p in RGGB_ROWS]
            columns = [(scale - 1) * (2 * p + 1) / 4 for p in RGGB_COLUMNS]
        else:
            rows = columns = [(scale - 1) / 2] * n_channels
        self.register_buffer("row_taps", _taps(rows, scale), persistent=False)
        self.register_buffer("column_taps", _taps(columns, scale), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return _upsample_rows(_upsample_rows(image, self.row_taps).mT, self.column_taps).mT


class UpsamplingTail(nn.Sequential):
    """A 3x3 convolution that computes scale * scale pixels for each: (B, C, H, W) -> (B, n_channels, scale H, scale W).

    It begins at zero: a new network's output is the interpolated image beside it. Its weights' names tell the scale, so
    that weights trained for one scale can be loaded for another: all but the tail's.
    """

    def __init__(self, channels: int, n_channels: int, scale: int):
        convolution = nn.Conv2d(channels, n_channels * scale**2, 3, padding=1)
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)
        super().__init__(OrderedDict({f"x{scale}": convolution, "shuffle": nn.PixelShuffle(scale)}))


def _taps(places: list[float], scale: int) -> Tensor:
    """(C, scale, 2 REACH + 1): the weights of a plane's pixels i - REACH .. i + REACH in its larger pixels s i + phase.

    places  of each plane, where its pixel 0 lies [pixels of the larger plane]
    """
    phases = torch.arange(scale, dtype=torch.float64)
    sought = (phases - torch.tensor(places, dtype=torch.float64)[:, None]) / scale  # (C, scale) [pixels]
    distance = (sought[..., None] - torch.arange(-REACH, REACH + 1)).abs()
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    return near.where(distance <= 1, far.where(distance <= 2, 0.0)).float()


def _upsample_rows(image: Tensor, taps: Tensor) -> Tensor:
    """(B, C, H, W), taps (C, scale, 2 REACH + 1) -> (B, C, scale * H, W)."""
    height, weights = image.shape[-2], taps.to(image.dtype)
    padded = functional.pad(image, (0, 0, REACH, REACH), mode="replicate").unsqueeze(-2)  # (B, C, H + 2 REACH, 1, W)
    parts = [padded[:, :, tap : tap + height] * weights[:, None, :, tap, None] for tap in range(2 * REACH + 1)]
    return sum(parts[1:], parts[0]).flatten(2, 3)
