"""What every transform is: an option section that can be called."""

from typing import Any

import numpy as np
from torch import Generator

from options.base import Options


class Transform(Options):
    """An image operation whose fields are its whole state, so that its JSON rebuilds it.

    Between transforms an image is an array (H, W, 3) in sRGB: uint8, uint16, or float32 from 0 to 1.
    Whatever is random is drawn from the generator that comes with the call.
    """

    class_name: str

    def __call__(self, image: np.ndarray, rng: Generator) -> Any:
        raise NotImplementedError

    def smallest_input(self, height: int, width: int) -> tuple[int, int]:
        """The size [px] of the smallest image from which this transform makes one of at least height x width."""
        return height, width


class Crop(Transform):
    """A transform that cuts a window of h x w pixels out of the image."""

    def smallest_input(self, height: int, width: int) -> tuple[int, int]:
        return self.h, self.w
