"""What a chain of transforms gives."""

from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from transforms.base import Stage, Transform, as_stored, unit_range
from transforms.images import Image, One, Pair
from transforms.sensor.layout import SRGB, Layout
from transforms.sensor.metadata import RawMetadata


class Sample(NamedTuple):
    """A degraded image, the clean one that it was made from, and what both are."""

    degraded: Tensor
    """(C, h, w) float32: the layout's planes, and behind them those that a conditioning adds."""
    clean: Tensor
    """(channels, scale * h, scale * w) float32, of the layout."""
    metadata: RawMetadata | None
    """Camera and noise of a raw sample; None for sRGB."""
    layout: Layout


class ToTensor2(Transform):
    """Makes the two tensors, degraded and clean. An image that is still sRGB is both of them, unless it is a pair.

    It ends every chain. A raw sample is two tensors already, and passes.
    """

    gives: ClassVar[Stage] = "sample"
    ends: ClassVar[bool] = True

    class_name: Literal["ToTensor2"] = "ToTensor2"

    @property
    def one_at_a_time(self) -> None:
        return None

    def __call__(self, image: Image | Sample, rng: Generator) -> Sample:
        if isinstance(image, Sample):
            return image
        if isinstance(image, Pair):
            return Sample(_planes(image.degraded), _planes(image.clean), None, SRGB)
        tensor = _planes(as_stored(image))
        return Sample(tensor, tensor, None, SRGB)


def _planes(image: One) -> Tensor:
    """sRGB (H, W, 3), uint8, uint16 or float32, as a tensor (3, H, W), float32, nominally 0 to 1."""
    return torch.from_numpy(np.ascontiguousarray(unit_range(image).transpose(2, 0, 1)))
