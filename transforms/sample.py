"""What a chain of transforms gives."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from transforms.base import Transform
from transforms.sensor.mosaic import Pair


class Sample(NamedTuple):
    """A degraded image, the clean one that it was made from, and what rendering them for the eye needs.

    Both are raw, packed (4, H/2, W/2) in the order R, G1, G2, B of an RGGB mosaic, linear, 0 = black level,
    1 = white level, negative values kept; or both are sRGB (3, H, W), 0 to 1. They are float32.
    """

    degraded: Tensor
    clean: Tensor
    facts: dict[str, Tensor]
    """For raw: rgb_to_camera (3, 3), white_balance (3,) [factors], and of the noise shot (4,) and read (4,), one for
    each plane: its variance is shot * x + read; 0 where it is not known. For sRGB: none."""


class ToTensor2(Transform):
    """Makes the two tensors, degraded and clean. An image that is still sRGB is both of them, unless it is a pair."""

    class_name: Literal["ToTensor2"] = "ToTensor2"

    def __call__(self, image: np.ndarray | Pair | Sample, rng: Generator) -> Sample:
        if isinstance(image, Sample):
            return image
        if isinstance(image, Pair):
            return Sample(_srgb_tensor(image.degraded), _srgb_tensor(image.clean), {})
        tensor = _srgb_tensor(image)
        return Sample(tensor, tensor, {})


def _srgb_tensor(image: np.ndarray) -> Tensor:
    planes = np.asarray(image).transpose(2, 0, 1)
    white = np.iinfo(planes.dtype).max if planes.dtype.kind == "u" else 1
    # A blur's rounding takes white to 1 + 1e-7.
    return torch.from_numpy(np.divide(planes, white, dtype=np.float32, order="C")).clamp_(max=1)
