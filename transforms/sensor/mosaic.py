"""Raw images on their way through a chain: a mosaic with its camera, and a pair of a degraded and a clean image."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from transforms.sensor.bayer import rearrange, unify
from transforms.sensor.cameras import Camera
from transforms.sensor.lazy import LazyImage, mirrored
from transforms.sensor.rendering import pack

CELL = [(0, 0), (0, 1), (1, 0), (1, 1)]
"""Row and column of R, G1, G2 and B."""


class Mosaic(NamedTuple):
    """A raw image as one RGGB mosaic. Whatever moves its pixels gives an RGGB mosaic with even sides again."""

    values: "np.ndarray | DownsampledMosaic"
    """(H, W) float32, H and W even, linear, 0 = black level, 1 = white level, negative values kept."""
    camera: Camera
    noise: tuple[Tensor, Tensor] | None = None
    """(shot, read), each (4,) for R, G1, G2, B, of the noise in it, as a DNG's NoiseProfile has them; None: unknown."""

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.values.shape

    def packed(self) -> Tensor:
        """Its four planes, (4, H/2, W/2): a copy."""
        return pack(torch.from_numpy(np.array(self.values)))

    def crop(self, top: int, left: int, height: int, width: int) -> "Mosaic":
        """The window of height x width pixels whose first pixel is [top, left]; all four numbers are even."""
        assert not any(number % 2 for number in (top, left, height, width)), (top, left, height, width)
        return self._replace(values=self.values[top : top + height, left : left + width])

    def flip(self, axes: list[int]) -> "Mosaic":
        """Mirrored along these axes, 0 being top to bottom; 2 pixels are lost along each, so that R comes first."""
        flipped = rearrange(np.asarray(self.values), "RGGB", lambda values: np.flip(values, axes))
        return self._replace(values=unify(*flipped))

    def rotate(self, quarter_turns: int) -> "Mosaic":
        """Turned counterclockwise; up to 2 pixels of each side are lost, so that R comes first."""
        turned = rearrange(np.asarray(self.values), "RGGB", lambda values: np.rot90(values, quarter_turns))
        noise = self.noise
        if noise and quarter_turns % 2:  # the green beside red is now above or below it
            noise = tuple(planes[[0, 2, 1, 3]] for planes in noise)
        return self._replace(values=unify(*turned), noise=noise)

    def downsample(self, factor: int, sigma: float) -> "Mosaic":
        """Blurred colour by colour with a Gaussian of sigma [px], and every factor-th row and column kept.

        H x W become H // factor x W // factor pixels, less an odd last row and column. Its noise is known no more.
        """
        return self._replace(values=DownsampledMosaic(self.values, factor, sigma), noise=None)


class Pair(NamedTuple):
    """A degraded image and the clean one of the same scene, as two recordings show them; both are of one size.

    Both are sRGB (H, W, 3), uint8 or uint16, or both are Mosaics.
    """

    degraded: np.ndarray | Mosaic
    clean: np.ndarray | Mosaic

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, 3) or (H, W)."""
        return self.clean.shape


Image = np.ndarray | Mosaic | Pair
"""What goes into a chain, and from transform to transform."""


def is_raw(image: Image) -> bool:
    return isinstance(image.clean if isinstance(image, Pair) else image, Mosaic)


class DownsampledMosaic(LazyImage):
    """A blurred and downsampled RGGB mosaic that looks like an array (H, W), float32.

    Site [i, j] is the mean of the sites of its colour around [factor * i, factor * j], weighted by a Gaussian; both
    greens are one colour, and beyond the edges the mosaic is seen mirrored. So a flat field stays flat and a ramp stays
    where it is. Without blur it is the nearest of these sites or, as an even factor leads to a red one, the mean of the
    four nearest.
    A slice [top:bottom, left:right], top and left even, works out only the window that it needs.
    """

    def __init__(self, values: np.ndarray, factor: int, sigma: float):
        self.values, self.factor = np.asarray(values), factor
        self.shape = tuple(side // factor // 2 * 2 for side in values.shape)
        self.margin = max(int(np.ceil(3 * sigma)), 1)
        offsets = np.arange(-self.margin, self.margin + 1)
        # A sigma of 0.05 blurs no more than 0 does, and leaves the nearest sites a weight that is no 0.
        gaussian = np.exp(-(offsets**2) / (2 * max(sigma, 0.05) ** 2))
        parts = [gaussian[offsets % 2 == parity] for parity in (0, 1)]
        self.weights = [part.sum() for part in parts]  # of the even offsets, of the odd ones
        self.taps = [(part / part.sum()).astype(np.float32) for part in parts]

    def window(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        assert top % 2 == left % 2 == 0, (top, left)
        result = np.empty((bottom - top, right - left), np.float32)
        top, bottom, left, right = (self.factor * edge for edge in (top, bottom, left, right))
        margin = self.margin
        source = mirrored(self.values, top - margin, bottom + margin, left - margin, right + margin)
        for row, column in CELL:
            sites = result[row::2, column::2]
            sites[...] = self._sites(source, row, column, *sites.shape)
        return result

    def _sites(self, source: np.ndarray, row: int, column: int, height: int, width: int) -> np.ndarray:
        """The height x width downsampled sites at this row and column of the cells of 2 x 2."""
        top, left = self.factor * row, self.factor * column
        # In RGGB the sites of one colour are those of a cell whose row + column is the same. Of each of them a centre
        # sees all at even offsets or all at odd ones, down as across: so a separable filter does.
        same_colour = [(i, j) for i, j in CELL if i + j == row + column]
        parities = [((i + top) % 2, (j + left) % 2) for i, j in same_colour]
        weights = [self.weights[down] * self.weights[across] for down, across in parities]
        blurred = 0
        for (down, across), weight in zip(parities, weights, strict=True):
            share = np.float32(weight / sum(weights))
            first = top + (self.margin + down) % 2, left + (self.margin + across) % 2
            seen = source[first[0] :: 2, first[1] :: 2]
            means = cv2.sepFilter2D(seen, cv2.CV_32F, self.taps[across], self.taps[down] * share, anchor=(0, 0))
            blurred += means[:: self.factor, :: self.factor][:height, :width]
        return blurred
