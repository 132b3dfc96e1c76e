"""Blur and downsampling, worked out only where a later crop looks."""

import math
from functools import cache
from typing import Literal

import cv2
import numpy as np
from numpy.lib.stride_tricks import as_strided
from pydantic import Field, NonNegativeFloat
from torch import Generator

from transforms.base import Transform
from transforms.lazy import LazyImage, mirrored
from transforms.mosaic import Mosaic

BLOCK = 4
"""Rows or columns that one matrix product makes: more of them multiply by more zeros, and fewer are slower."""
ROWS, VALUES = 24, 64
"""What OpenBLAS takes of a product at a time. It rounds a rest otherwise, and so no product here has one."""
LARGEST = 2**18
"""Multiplications from which on OpenBLAS shares a product among threads, whose parts have rests."""


class Downsample(Transform):
    """Blurs the sRGB values as they are stored with a Gaussian, and keeps every downsampling_factor-th row and column.

    It shrinks away the noise and the demosaicing of the camera that took the photograph.
    At the image's edges the blur sees the image mirrored. H x W become H // factor x W // factor pixels.
    A raw image's colours are blurred apart, from linear values, and it stays a mosaic: see transforms/mosaic.py.
    """

    class_name: Literal["Downsample"] = "Downsample"
    downsampling_factor: int = Field(ge=1, le=64)
    """One row in so many is kept, and one column in so many; 1 keeps all."""
    sigma: NonNegativeFloat
    """Standard deviation of the Gaussian [px of the image before downsampling]; 0 for no blur."""

    def __call__(self, image: np.ndarray | Mosaic, rng: Generator) -> "np.ndarray | Downsampled | Mosaic":
        if isinstance(image, Mosaic):
            return image.downsample(self.downsampling_factor, self.sigma)
        image = np.asarray(image)
        if self.sigma > 0:
            return Downsampled(image, self.downsampling_factor, self.sigma)
        factor = self.downsampling_factor
        height, width = image.shape[0] // factor * factor, image.shape[1] // factor * factor
        return image[:height:factor, :width:factor]

    def smallest_input(self, height: int, width: int) -> tuple[int, int]:
        return height * self.downsampling_factor, width * self.downsampling_factor


class Downsampled(LazyImage):
    """A blurred and downsampled image (H, W, 3), float32 from 0 to 1. A window has the very bits that the whole has."""

    def __init__(self, image: np.ndarray, factor: int, sigma: float):
        self.image, self.factor = image, factor
        self.margin = int(np.ceil(3 * sigma))
        white = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
        self.down, self.across = _filters(factor, sigma, self.margin, white)
        self.shape = (image.shape[0] // factor, image.shape[1] // factor, 3)

    def window(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        # Blocks start at multiples of BLOCK, wherever the window does.
        first_row, first_column = top // BLOCK * BLOCK, left // BLOCK * BLOCK
        height, width = (-(-length // BLOCK) * BLOCK for length in (bottom - first_row, right - first_column))
        blurred = self._blurred(first_row, first_column, height, width)
        return blurred[top - first_row : bottom - first_row, left - first_column : right - first_column]

    def _blurred(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """The window (height, width, 3), and rows below it, as products with matrices that make only what is kept."""
        size, step = self.down.shape[1], BLOCK * self.factor
        row_parts, rows = _parts(height, ROWS, LARGEST // self.across.size)
        value_parts, values = _parts(3 * (width - BLOCK) * self.factor + 3 * size, VALUES, LARGEST // self.down.size)
        height, blocks_across = row_parts * rows, width // BLOCK
        pixels = self._pixels(top, left, height, width, value_parts * values)
        row, value = pixels.strides
        blocks = as_strided(
            pixels, (height // BLOCK, value_parts, size, values), (step * row, values * value, row, value)
        )
        blurred = np.empty((height // BLOCK, BLOCK, value_parts, values), np.float32)
        np.matmul(self.down, blocks, out=blurred.swapaxes(1, 2))
        blocks = as_strided(
            blurred, (blocks_across, row_parts, rows, 3 * size), (3 * step * value, rows * row, row, value)
        )
        result = np.empty((row_parts, rows, blocks_across, 3 * BLOCK), np.float32)
        np.matmul(blocks, self.across, out=result.transpose(2, 0, 1, 3))
        return result.reshape(height, width, 3)

    def _pixels(self, top: int, left: int, height: int, width: int, values: int) -> np.ndarray:
        """The rows of pixels that the window needs, (n, values) float32: red, green, blue, red ..., and then zeros."""
        row, column = top * self.factor - self.margin, left * self.factor - self.margin
        rows, columns = ((side - BLOCK) * self.factor + self.down.shape[1] for side in (height, width))
        source = mirrored(self.image, row, row + rows, column, column + columns)
        pixels = np.empty((rows, values), np.float32)
        pixels[:, : 3 * columns] = source.reshape(rows, 3 * columns)
        pixels[:, 3 * columns :] = 0
        return pixels


def _parts(length: int, unit: int, most: int) -> tuple[int, int]:
    """How many parts of which size hold this length, the size being a multiple of the unit, and at most most if it can.

    A product's numbers then come out alike wherever in it they are and however large it is.
    """
    count = math.ceil(length / (max(most // unit, 1) * unit))
    return count, math.ceil(length / (count * unit)) * unit


@cache
def _filters(factor: int, sigma: float, margin: int, white: float) -> tuple[np.ndarray, np.ndarray]:
    """Two matrices: BLOCK rows are the first (BLOCK, n) times n rows, BLOCK columns 3 n values times the second.

    n is (BLOCK - 1) * factor + 2 * margin + 1. The second one also takes white to 1.
    """
    taps = cv2.getGaussianKernel(2 * margin + 1, sigma)[:, 0]
    down = np.zeros((BLOCK, (BLOCK - 1) * factor + len(taps)))
    for number, row in enumerate(down):
        row[number * factor : number * factor + len(taps)] = taps
    across = np.kron(down.T, np.eye(3)) / white
    return down.astype(np.float32), across.astype(np.float32)
