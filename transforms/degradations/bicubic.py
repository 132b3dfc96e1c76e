"""The low-resolution image of the classical super-resolution benchmarks."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import Generator

from transforms.base import Degradation
from transforms.degradations.resampling import Border, imresize


class BicubicDownsample(Degradation):
    """Makes the image 1/scale as large as MATLAB's imresize does, the way of DIV2K, Set5 and their like.

    Source: transforms/degradations/resampling.py.
    """

    only_resamples: ClassVar[bool] = True

    class_name: Literal["BicubicDownsample"] = "BicubicDownsample"
    scale: Annotated[int, Field(ge=2, le=8)]
    """How many times as long the clean image's sides are."""
    border: Border = "symmetric"
    """How the image goes on beyond its edges: symmetric (mirrored), as MATLAB has it; replicate (the outermost pixel
    repeated), as versions up to 2015 had it."""
    rounded: bool = True
    """Whether values are rounded to 8 bits before, between and after the two passes, as MATLAB does with uint8."""

    def degrade(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        height, width = image.shape[0] // self.scale, image.shape[1] // self.scale
        return imresize(image, height, width, self.border, self.rounded).astype(np.float32)
