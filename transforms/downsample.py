"""Blur and downsampling, worked out only where a later crop looks."""

from typing import ClassVar, Literal

import cv2
import numpy as np
from pydantic import Field, NonNegativeFloat
from torch import Generator

from transforms.base import Transform
from transforms.images import One
from transforms.sensor.lazy import LazyImage, mirrored
from transforms.sensor.mosaic import Mosaic


class Downsample(Transform):
    """Blurs the sRGB values as they are stored with a Gaussian, and keeps every downsampling_factor-th row and column.

    It shrinks away the noise and the demosaicing of the camera that took the photograph.
    At the image's edges the blur sees the image mirrored. H x W become H // factor x W // factor pixels.
    A raw image's colours are blurred apart, from linear values, and it stays a mosaic: see transforms/sensor/mosaic.py.
    """

    stored: ClassVar[bool] = True
    refuses_pairs: ClassVar[str | None] = "would average the noise away"

    class_name: Literal["Downsample"] = "Downsample"
    downsampling_factor: int = Field(ge=1, le=64)
    """One row in so many is kept, and one column in so many; 1 keeps all."""
    sigma: NonNegativeFloat = Field(le=256)
    """Standard deviation of the Gaussian [px of the image before downsampling]; 0 for no blur."""

    def __call__(self, image: One, rng: Generator) -> One:
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
        self.taps = cv2.getGaussianKernel(2 * self.margin + 1, sigma, cv2.CV_32F)
        self.shape = (image.shape[0] // factor, image.shape[1] // factor, 3)

    def window(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        factor, margin = self.factor, self.margin
        height, width = (bottom - top) * factor, (right - left) * factor
        # OpenCV computes up to 64 values at a time and rounds the rest of a row otherwise. In widths that are multiples
        # of 64 there is no rest, and so no bit depends on where the window ends.
        padded_width = -(-(width + 2 * margin) // 64) * 64
        row, column = top * factor - margin, left * factor - margin
        source = mirrored(self.image, row, row + height + 2 * margin, column, column + padded_width)
        white = np.iinfo(source.dtype).max if source.dtype.kind == "u" else 1
        blurred = cv2.sepFilter2D(source, cv2.CV_32F, self.taps, self.taps / white)
        kept = blurred[margin : margin + height, margin : margin + width]
        # Without a filter, resizing takes pixel i * factor for pixel i, four times as fast as a slice with steps does.
        return cv2.resize(kept, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
