"""The two branches that enlarge an image: interpolation of the degraded image, and a tail that adds what was learnt.

Both images show the same area: pixel i of a side has the light around pixel s i + (s - 1) / 2 of the image that is s
times larger. A plane of a mosaic with cells of c x c pixels holds every c-th pixel, from pixel p on, and the relation
holds for the pixels of the mosaics: c u + p = s (c i + p) + (s - 1) / 2. So pixel i of the plane lies at pixel
u = s i + (s - 1) (2 p + 1) / (2 c) of the larger plane.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from transforms.sensor.layout import Layout

REACH = 2
"""Pixels to either side that the interpolation uses."""


class BicubicUpsampling(nn.Module):
    """Bicubic interpolation: (B, C, H, W) -> (B, C, scale * H, scale * W) of the same dtype, C being n_channels.

    layout  of the image; each plane of a mosaic is interpolated at the pixels where the larger mosaic has its colour.
            None: all planes show the same pixels
    A linear ramp stays one. Beyond the border the outermost pixels are repeated. It uses no convolution, because
    autocast and TF32 would make one less precise.
    Source: Keys, Cubic Convolution Interpolation for Digital Image Processing, 1981: a = -1/2.
    """

    row_taps: Tensor
    column_taps: Tensor

    def __init__(self, n_channels: int, layout: Layout | None, scale: int):
        super().__init__()
        sites, cell = (layout.sites, layout.cell) if layout else (((0, 0),) * n_channels, 1)
        places = torch.tensor(sites, dtype=torch.float64).T  # rows, then columns
        row_places, column_places = (scale - 1) * (2 * places + 1) / (2 * cell)
        self.register_buffer("row_taps", _taps(row_places, scale), persistent=False)
        self.register_buffer("column_taps", _taps(column_places, scale), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return _upsample_rows(_upsample_rows(image, self.row_taps).mT, self.column_taps).mT


class UpsamplingTail(nn.Sequential):
    """A 3x3 convolution with scale * scale outputs for each pixel: (B, C, H, W) -> (B, n_channels, scale H, scale W).

    Its weights begin at zero, so that a new network's output is the interpolated image. Their names contain the scale:
    weights trained for one scale can be loaded for another, and only the tail begins anew.
    """

    def __init__(self, channels: int, n_channels: int, scale: int):
        convolution = nn.Conv2d(channels, n_channels * scale**2, 3, padding=1)
        for weights in convolution.parameters():
            nn.init.zeros_(weights)
        super().__init__(OrderedDict({f"x{scale}": convolution, "shuffle": nn.PixelShuffle(scale)}))


def _taps(places: Tensor, scale: int) -> Tensor:
    """(C, scale, 2 REACH + 1): the weights of pixels i - REACH .. i + REACH of a plane in pixel scale * i + phase.

    places  (C,) where pixel 0 of each plane lies in the larger plane [pixels of the larger plane]
    """
    phases = torch.arange(scale, dtype=torch.float64)
    sought = (phases - places[:, None]) / scale  # (C, scale) [pixels]
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
