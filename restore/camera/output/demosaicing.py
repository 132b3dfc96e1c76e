"""Full colour at every pixel of a mosaic of any size and Bayer pattern.

The filters are those of Malvar, He and Cutler, as in training (transforms.sensor.rendering), but they see the mosaic
encoded as sRGB: in linear values a bright edge overshoots by more than the dark side of it is bright, which shows as
dotted edges. PSNR [dB] of sRGB pictures, demosaiced from clean mosaics of 12 photographs each of CBSD68 and of
photographs made 2 or 4 times smaller, and seconds for 24 MP on one core:

    Malvar, linear          29.8   37.7   0.4
    Malvar, as sRGB         33.5   40.6   3.6
    LibRaw DHT              32.5   40.4   3.5   (33.5 and 40.7 with black raised by a tenth)
    LibRaw VNG              31.6   39.6   2.6
    LibRaw AAHD             31.5   39.2   4.8
    LibRaw AHD              30.6   38.6   1.5
    LibRaw PPG              30.3   38.5   0.6
    LibRaw DCB              29.5   37.8   2.2
    OpenCV edge-aware       27.4

Beyond that, LibRaw cuts off what lies below black, and would have to be given the mosaic as a file.
"""

from collections.abc import Iterator

import numpy as np
import torch

from restore.camera.output.srgb import srgb_decoded, srgb_encoded
from transforms.sensor.bayer import Pattern, first_red
from transforms.sensor.rendering import demosaic

BAND = 256
"""Rows that are demosaiced at once: even."""
REACH = 2
"""Of the filters [px]."""


def demosaiced(mosaic: np.ndarray, pattern: Pattern, white_balance: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Bands of rows in full colour, from above: the rows, and their values (rows, W, 3) float32, white balanced.

    mosaic         (H, W) float32, linear, 0 black, 1 white, values below 0 kept; H and W 2 or more
    white_balance  (3,) factors of red, green and blue
    """
    top, left = first_red(pattern)
    # Mirrored about the outermost row or column, which keeps every site's colour, to begin with R and end with B.
    rows, columns = (
        np.pad(np.arange(side), (red + REACH, (red + side) % 2 + REACH), mode="reflect")
        for red, side in zip((top, left), mosaic.shape, strict=True)
    )
    red, green, blue = white_balance
    cell = torch.tensor([[red, green], [green, blue]], dtype=torch.float32)
    for first in range(0, len(mosaic), BAND):
        last = min(first + BAND, len(mosaic))
        window = rows[first : last + top + (top + last) % 2 + 2 * REACH]
        part = torch.from_numpy(mosaic[window[:, None], columns])
        part *= cell.repeat(len(part) // 2, part.shape[1] // 2)
        colours = srgb_decoded(demosaic(srgb_encoded(part))).permute(1, 2, 0).numpy()
        inside = slice(top + REACH, top + REACH + last - first), slice(left + REACH, left + REACH + mosaic.shape[1])
        yield slice(first, last), colours[inside]
