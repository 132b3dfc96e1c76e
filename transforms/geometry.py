"""Transforms that move pixels and leave their values alone.

The two images of a pair move alike. A Mosaic stays RGGB: crops start at even rows and columns, and flips and rotations
take up to 2 pixels off each side.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Generator

from transforms.base import Crop, Transform
from transforms.sensor.mosaic import Image, Mosaic, Pair, is_raw


class RandomCrop(Crop):
    """Cuts out a window of h x w pixels, each position being equally likely."""

    class_name: Literal["RandomCrop"] = "RandomCrop"
    h: PositiveInt
    """Height of the window [px]."""
    w: PositiveInt
    """Width of the window [px]."""

    def __call__(self, image: Image, rng: Generator) -> Image:
        step = _step(image)
        top = step * _draw((image.shape[0] - self.h) // step + 1, rng)
        left = step * _draw((image.shape[1] - self.w) // step + 1, rng)
        return _cut(image, top, left, self.h, self.w)


class CenterCrop(Crop):
    """Cuts out the window of h x w pixels in the middle of the image."""

    class_name: Literal["CenterCrop"] = "CenterCrop"
    h: PositiveInt
    """Height of the window [px]."""
    w: PositiveInt
    """Width of the window [px]."""

    def __call__(self, image: Image, rng: Generator) -> Image:
        step = _step(image)
        top = step * ((image.shape[0] - self.h) // (2 * step))
        left = step * ((image.shape[1] - self.w) // (2 * step))
        return _cut(image, top, left, self.h, self.w)


class RandomFlip(Transform):
    """Mirrors the image left to right in half of the cases, and, drawn apart, top to bottom in half of them.

    Raw images are mirrored before all else, so that a crop, also one that stands before this, keeps its size.
    """

    class_name: Literal["RandomFlip"] = "RandomFlip"

    def __call__(self, image: Image, rng: Generator) -> Image:
        mirrored = [axis for axis in (0, 1) if _draw(2, rng)]
        return _each(image, lambda one: one.flip(mirrored), lambda one: np.flip(np.asarray(one), mirrored))


class RandomRotate(Transform):
    """Turns the image by 0, 90, 180 or 270 degrees, each being equally likely.

    Raw images are turned before all else, so that a crop, also one that stands before this, keeps its size.
    """

    class_name: Literal["RandomRotate"] = "RandomRotate"

    def __call__(self, image: Image, rng: Generator) -> Image:
        quarters = _draw(4, rng)
        return _each(image, lambda one: one.rotate(quarters), lambda one: np.rot90(np.asarray(one), quarters))

    def smallest_input(self, height: int, width: int) -> tuple[int, int]:
        side = max(height, width)
        return side, side


def _each(image: Image, of_mosaic: Callable[[Mosaic], Mosaic], of_srgb: Callable[[np.ndarray], np.ndarray]) -> Image:
    """The image changed as befits its kind; of a pair, both."""
    if isinstance(image, Pair):
        return Pair(*(_each(one, of_mosaic, of_srgb) for one in image))
    return of_mosaic(image) if isinstance(image, Mosaic) else of_srgb(image)


def _cut(image: Image, top: int, left: int, height: int, width: int) -> Image:
    window = np.s_[top : top + height, left : left + width]
    return _each(image, lambda one: one.crop(top, left, height, width), lambda one: one[window])


def _step(image: Image) -> int:
    """From one position of a crop to the next [px]."""
    return 2 if is_raw(image) else 1


def _draw(choices: int, rng: Generator) -> int:
    return int(torch.randint(choices, (), generator=rng))
