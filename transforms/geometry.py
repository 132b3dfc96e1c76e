"""Transforms that move pixels and leave their values alone."""

from typing import Literal

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Generator

from transforms.base import Crop, Transform


class RandomCrop(Crop):
    """Cuts out a window of h x w pixels, each position being equally likely."""

    class_name: Literal["RandomCrop"] = "RandomCrop"
    h: PositiveInt
    """Height of the window [px]."""
    w: PositiveInt
    """Width of the window [px]."""

    def __call__(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        top = _draw(image.shape[0] - self.h + 1, rng)
        left = _draw(image.shape[1] - self.w + 1, rng)
        return image[top : top + self.h, left : left + self.w]


class CenterCrop(Crop):
    """Cuts out the window of h x w pixels in the middle of the image."""

    class_name: Literal["CenterCrop"] = "CenterCrop"
    h: PositiveInt
    """Height of the window [px]."""
    w: PositiveInt
    """Width of the window [px]."""

    def __call__(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        top = (image.shape[0] - self.h) // 2
        left = (image.shape[1] - self.w) // 2
        return image[top : top + self.h, left : left + self.w]


class RandomFlip(Transform):
    """Mirrors the image left to right in half of the cases, and, drawn apart, top to bottom in half of them."""

    class_name: Literal["RandomFlip"] = "RandomFlip"

    def __call__(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        mirrored = [axis for axis in (0, 1) if _draw(2, rng)]
        return np.flip(np.asarray(image), mirrored)


class RandomRotate(Transform):
    """Turns the image by 0, 90, 180 or 270 degrees, each being equally likely."""

    class_name: Literal["RandomRotate"] = "RandomRotate"

    def __call__(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        return np.rot90(np.asarray(image), _draw(4, rng))

    def smallest_input(self, height: int, width: int) -> tuple[int, int]:
        side = max(height, width)
        return side, side


def _draw(choices: int, rng: Generator) -> int:
    return int(torch.randint(choices, (), generator=rng))
