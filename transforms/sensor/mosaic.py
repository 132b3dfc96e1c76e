"""A raw image in a chain of transforms: a frame, the RGGB window of it that is used, and its metadata."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from transforms.sensor.bayer import Pattern, first_red, rearrange
from transforms.sensor.lazy import LazyImage, mirrored
from transforms.sensor.metadata import NoiseProfile, RawMetadata
from transforms.sensor.rendering import pack

CELL = [(0, 0), (0, 1), (1, 0), (1, 1)]
"""Row and column of R, G1, G2 and B."""


class Window(NamedTuple):
    """A part of a frame [px]."""

    top: int
    left: int
    height: int
    width: int


class Mosaic(NamedTuple):
    """A raw image as an RGGB mosaic with even sides: a window of a frame, which may be of any Bayer phase.

    A flip of an even frame changes its phase. The window then moves by a pixel, so that it begins with R again and
    keeps its size. Only where it fills the frame, it becomes 2 pixels shorter: one at either end.
    """

    frame: np.ndarray | LazyImage
    """(H, W) float32, linear, 0 = black level, 1 = white level, negative values kept."""
    metadata: RawMetadata
    pattern: Pattern = "RGGB"
    """Of the frame."""
    window: Window | None = None
    """The part that is used; None: the whole frame, which must then be RGGB and have even sides."""

    @property
    def place(self) -> Window:
        return self.window or Window(0, 0, *self.frame.shape)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the window."""
        return self.place.height, self.place.width

    @property
    def values(self) -> np.ndarray:
        """(H, W) float32, RGGB: the window of the frame, computed now where the frame is lazy."""
        top, left, height, width = self.place
        return self.frame[top : top + height, left : left + width]

    def packed(self) -> Tensor:
        """Its four planes R, G1, G2, B, (4, H/2, W/2): a copy."""
        return pack(torch.from_numpy(np.array(self.values, order="C")))

    def crop(self, top: int, left: int, height: int, width: int) -> "Mosaic":
        """The window of height x width pixels whose first pixel is [top, left]; all four numbers are even."""
        assert not any(number % 2 for number in (top, left, height, width)), (top, left, height, width)
        place = self.place
        return self._replace(window=Window(place.top + top, place.left + left, height, width))

    def flip(self, axes: tuple[int, ...]) -> "Mosaic":
        """Mirrored along these axes, 0 being top to bottom."""
        frame, pattern = rearrange(np.asarray(self.frame), self.pattern, lambda values: np.flip(values, axes))
        top, left, height, width = self.place
        top = frame.shape[0] - top - height if 0 in axes else top
        left = frame.shape[1] - left - width if 1 in axes else left
        flipped = Mosaic(frame, self.metadata, pattern, Window(top, left, height, width))
        return flipped._beginning_with_red()

    def rotate(self, quarter_turns: int) -> "Mosaic":
        """Turned counterclockwise."""
        turned = self
        for _ in range(quarter_turns % 4):
            frame, pattern = rearrange(np.asarray(turned.frame), turned.pattern, np.rot90)
            top, left, height, width = turned.place
            window = Window(frame.shape[0] - left - width, top, width, height)
            turned = Mosaic(frame, turned.metadata.turned(), pattern, window)
        return turned._beginning_with_red()

    def downsample(self, factor: int, sigma: float) -> "Mosaic":
        """Blurred colour by colour with a Gaussian of sigma [px], and every factor-th row and column kept.

        H x W become H // factor x W // factor pixels, less an odd last row and column. Its noise is then unknown.
        """
        metadata = self.metadata._replace(noise=NoiseProfile.unknown())
        return Mosaic(DownsampledMosaic(self.values, factor, sigma), metadata)

    def _beginning_with_red(self) -> "Mosaic":
        top, left, height, width = self.place
        red_row, red_column = first_red(self.pattern)
        top, height = _moved_to_red(top, height, self.frame.shape[0], red_row)
        left, width = _moved_to_red(left, width, self.frame.shape[1], red_column)
        return self._replace(window=Window(top, left, height, width))


def _moved_to_red(start: int, length: int, side: int, red: int) -> tuple[int, int]:
    """Start and length of a window that begins with R, along a side of the frame. R is at red, red + 2, and so on."""
    if start % 2 == red:
        return start, length
    if start + 1 + length <= side:
        return start + 1, length
    return (start - 1, length) if start > 0 else (start + 1, length - 2)


class DownsampledMosaic(LazyImage):
    """A blurred and downsampled RGGB mosaic that looks like an array (H, W), float32.

    Site [i, j] is the mean of the sites of its colour around [factor * i, factor * j], weighted by a Gaussian; both
    greens are one colour, and the mosaic is mirrored at its edges. So a flat field stays flat and a ramp does not move.
    Without blur it is the nearest of these sites or, where several are equally near, the mean of them.
    A slice [top:bottom, left:right], top and left even, computes only the window that it needs.
    """

    def __init__(self, values: np.ndarray, factor: int, sigma: float):
        self.values, self.factor = np.asarray(values), factor
        self.shape = tuple(side // factor // 2 * 2 for side in values.shape)
        self.margin = max(int(np.ceil(3 * sigma)), 1)
        offsets = np.arange(-self.margin, self.margin + 1)
        # A sigma of 0.05 does not blur, and the nearest sites keep a weight above 0.
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
        # In an RGGB cell the sites of one colour are those with the same row + column. Along each axis such a site lies
        # either at even offsets from the centre or at odd ones: so a separable filter is enough.
        same_colour = [(i, j) for i, j in CELL if i + j == row + column]
        parities = [((i + top) % 2, (j + left) % 2) for i, j in same_colour]
        weights = [self.weights[down] * self.weights[across] for down, across in parities]
        blurred = np.zeros((height, width), np.float32)
        for (down, across), weight in zip(parities, weights, strict=True):
            share = np.float32(weight / sum(weights))
            first = top + (self.margin + down) % 2, left + (self.margin + across) % 2
            sites = source[first[0] :: 2, first[1] :: 2]
            means = cv2.sepFilter2D(sites, cv2.CV_32F, self.taps[across], self.taps[down] * share, anchor=(0, 0))
            blurred += means[:: self.factor, :: self.factor][:height, :width]
        return blurred
