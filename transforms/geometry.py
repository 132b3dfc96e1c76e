"""Transforms that select and move pixels.

The two images of a pair move alike. A mosaic stays RGGB: crops start at even rows and columns, and a flip or rotation
moves the window by a pixel where that keeps R first (transforms/sensor/mosaic.py).
"""

from collections.abc import Callable
from math import ceil
from typing import Annotated, ClassVar, Literal

import cv2
import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Generator

from transforms.base import Transform, unit_range
from transforms.images import Image, One, Pair, layout_of
from transforms.noise.draws import Range, log_uniform
from transforms.sensor.layout import SRGB, Layout
from transforms.sensor.lazy import LazyImage
from transforms.sensor.mosaic import Mosaic


class Crop(Transform):
    """Cuts a window of h x w pixels out of the image; of a pair of unequal sizes h and w are the clean image's."""

    moves: ClassVar[bool] = True
    h: PositiveInt
    """Height of the window [px]."""
    w: PositiveInt
    """Width of the window [px]."""

    @property
    def size(self) -> tuple[int, int]:
        return self.h, self.w

    def with_size(self, side: int) -> "Crop":
        return self.model_copy(update={"h": side, "w": side})

    def smallest_input(self, height: int, width: int) -> tuple[int, int]:
        return self.h, self.w


class RandomCrop(Crop):
    """Cuts out a window of h x w pixels, each position being equally likely."""

    class_name: Literal["RandomCrop"] = "RandomCrop"

    def __call__(self, image: Image, rng: Generator) -> Image:
        step = _step(image)
        top = step * _draw((image.shape[0] - self.h) // step + 1, rng)
        left = step * _draw((image.shape[1] - self.w) // step + 1, rng)
        return cut(image, top, left, self.h, self.w)


class CenterCrop(Crop):
    """Cuts out the window of h x w pixels in the middle of the image."""

    class_name: Literal["CenterCrop"] = "CenterCrop"

    def __call__(self, image: Image, rng: Generator) -> Image:
        step = _step(image)
        top = step * ((image.shape[0] - self.h) // (2 * step))
        left = step * ((image.shape[1] - self.w) // (2 * step))
        return cut(image, top, left, self.h, self.w)


class RandomResizedCrop(Crop):
    """Cuts out a random window, and reduces it to h x w pixels by averaging areas: textures of many scales.

    The window is larger than h x w by a factor from `shrink`, its logarithm being uniform, and no larger than the
    image. Use it for photographs alone, where few of them have to teach much; not for raw files, which keep their grid.
    """

    layouts: ClassVar[frozenset[Layout]] = frozenset({SRGB})
    refuses_pairs: ClassVar[str | None] = "would average the noise away"

    class_name: Literal["RandomResizedCrop"] = "RandomResizedCrop"
    shrink: Range[Annotated[float, Field(ge=1, le=64)]] = (1.0, 4.0)
    """[low, high] of the factor. Where photographs were sharpened or show noise, a low end of 2 hides that."""
    candidates: Annotated[PositiveInt, Field(le=64)] = 1
    """So many windows are drawn, and the one with the most detail is taken: skies and blurred backgrounds teach little.
    A few are enough; with many, only the sharpest parts of a photograph are ever seen."""

    def __call__(self, image: Image, rng: Generator) -> Image:
        assert not isinstance(image, Pair | Mosaic), "Pipeline.check refuses them"
        windows = [self._window(image, rng) for _ in range(self.candidates)]
        chosen = max(windows, key=lambda window: _detail(self._reduced(window))) if self.candidates > 1 else windows[0]
        return self._reduced(unit_range(chosen))

    def _window(self, image: np.ndarray | LazyImage, rng: Generator) -> np.ndarray:
        largest = min(self.shrink[1], image.shape[0] / self.h, image.shape[1] / self.w)
        factor = log_uniform(self.shrink[0], max(largest, self.shrink[0]), rng)
        height, width = int(self.h * factor), int(self.w * factor)
        top, left = _draw(image.shape[0] - height + 1, rng), _draw(image.shape[1] - width + 1, rng)
        return np.asarray(image[top : top + height, left : left + width])

    def _reduced(self, window: np.ndarray) -> np.ndarray:
        return cv2.resize(window, (self.w, self.h), interpolation=cv2.INTER_AREA)

    def smallest_input(self, height: int, width: int) -> tuple[int, int]:
        return ceil(self.h * self.shrink[0]), ceil(self.w * self.shrink[0])


class RandomFlip(Transform):
    """Mirrors the image left to right in half of the cases and, independently, top to bottom in half of them."""

    moves: ClassVar[bool] = True
    turns: ClassVar[bool] = True

    class_name: Literal["RandomFlip"] = "RandomFlip"

    def __call__(self, image: Image, rng: Generator) -> Image:
        mirrored = tuple(axis for axis in (0, 1) if _draw(2, rng))
        return _each(
            image,
            lambda one: one.flip(mirrored) if isinstance(one, Mosaic) else np.flip(np.asarray(one), mirrored),
        )


class RandomRotate(Transform):
    """Rotates the image by 0, 90, 180 or 270 degrees, each being equally likely."""

    moves: ClassVar[bool] = True
    turns: ClassVar[bool] = True
    swaps_sides: ClassVar[bool] = True

    class_name: Literal["RandomRotate"] = "RandomRotate"

    def __call__(self, image: Image, rng: Generator) -> Image:
        quarters = _draw(4, rng)
        return _each(
            image,
            lambda one: one.rotate(quarters) if isinstance(one, Mosaic) else np.rot90(np.asarray(one), quarters),
        )

    def smallest_input(self, height: int, width: int) -> tuple[int, int]:
        side = max(height, width)
        return side, side


def _detail(picture: np.ndarray) -> float:
    """Mean difference of neighbouring pixels of an image (H, W, 3): how much detail it has."""
    green = picture[..., 1].astype(np.float32)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean())


def _each(image: Image, change: Callable[[One], One]) -> Image:
    """The image changed; of a pair, both."""
    if isinstance(image, Pair):
        return image._replace(degraded=change(image.degraded), clean=change(image.clean))
    return change(image)


def cut(image: Image, top: int, left: int, height: int, width: int) -> Image:
    """The window of height x width pixels whose first pixel is [top, left]; of a pair these are the clean one's."""
    if isinstance(image, Pair):
        scale = image.scale
        degraded = _window(image.degraded, top // scale, left // scale, height // scale, width // scale)
        return image._replace(degraded=degraded, clean=_window(image.clean, top, left, height, width))
    return _window(image, top, left, height, width)


def _window(image: One, top: int, left: int, height: int, width: int) -> One:
    if isinstance(image, Mosaic):
        return image.crop(top, left, height, width)
    return image[top : top + height, left : left + width]


def _step(image: Image) -> int:
    """Distance between two positions of a crop [px], so that both images of a pair begin at whole cells."""
    return layout_of(image).cell * (image.scale if isinstance(image, Pair) else 1)


def _draw(choices: int, rng: Generator) -> int:
    return int(torch.randint(choices, (), generator=rng))
