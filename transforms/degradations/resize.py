"""Resizing to a drawn size, as an image goes through on its way between cameras, programs and web sites."""

from typing import Annotated, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator

from options.base import Options
from transforms.base import Degradation, unused
from transforms.noise.draws import Range, Shares, choose, choose_by_share, uniform

Mode = Literal["area", "bilinear", "bicubic"]
Modes = Annotated[list[Mode], Field(min_length=1)]
Direction = Literal["up", "down", "keep"]
# Bilinear and bicubic look at 2 and 4 pixels a side however much smaller the image becomes, which aliases.
INTERPOLATION = {"area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


class RandomSize(Options):
    """Which size an image is resized to, and how. What is not given is as in the first stage of Real-ESRGAN."""

    directions: Shares[Direction] = Field(default={"up": 0.2, "down": 0.7, "keep": 0.1})
    """How often the image is made larger, made smaller, and keeps its size, each in relation to the others; what is not
    named does not happen."""
    up_factor: Range[Annotated[float, Field(ge=1, le=8)]] = (1, 1.5)
    """[low, high] from which the factor of the sides is drawn where the image is made larger."""
    down_factor: Range[Annotated[float, Field(gt=0, le=1)]] = (0.15, 1)
    """The same where it is made smaller."""
    modes: Modes = Field(default=["area", "bilinear", "bicubic"])
    """The ways to resize, each being equally likely."""

    def without_effect(self) -> list[str]:
        return [
            line
            for name in ("up", "down")
            if name not in self.directions
            for line in unused(self, f"directions has no {name}", f"{name}_factor")
        ]

    def resized(self, image: np.ndarray, height: int, width: int, rng: Generator) -> np.ndarray:
        """The image (H, W, 3) at height x width times a factor that is drawn."""
        limits: dict[Direction, tuple[float, float]] = {"up": self.up_factor, "down": self.down_factor, "keep": (1, 1)}
        low, high = limits[choose_by_share(self.directions, rng)]
        factor = uniform(low, high, rng)
        return self.to_size(image, round(height * factor), round(width * factor), rng)

    def to_size(self, image: np.ndarray, height: int, width: int, rng: Generator) -> np.ndarray:
        """The image (H, W, 3) at height x width, at least 1 x 1, in one of the modes."""
        return resize(image, height, width, choose(self.modes, rng))


class Resize(RandomSize, Degradation):
    """Resizes the image to a drawn size, and then to its own size divided by the scale."""

    class_name: Literal["Resize"] = "Resize"
    scale: Annotated[int, Field(ge=1, le=8)] = 1
    """How many times as long the clean image's sides are."""

    def degrade(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        height, width = image.shape[:2]
        return self.to_size(self.resized(image, height, width, rng), height // self.scale, width // self.scale, rng)


def resize(image: np.ndarray, height: int, width: int, mode: Mode) -> np.ndarray:
    """The image (H, W, 3), 0 to 1, at height x width: its edges stay where they are, and bicubic is clipped.

    By its size, never by a factor: a factor that the sides do not fit would move the far edge.
    """
    height, width = max(height, 1), max(width, 1)
    if mode == "area" and (height > image.shape[0] or width > image.shape[1]):
        # OpenCV takes pixels from a place further on where it enlarges by area and a product of sizes is nearly whole.
        planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        return F.adaptive_avg_pool2d(planes, (height, width)).permute(1, 2, 0).contiguous().numpy()
    return cv2.resize(image, (width, height), interpolation=INTERPOLATION[mode]).clip(0, 1)
