"""What a chain of transforms gives."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from transforms.base import Transform


class Sample(NamedTuple):
    """A degraded image, the clean one that it was made from, and what rendering them for the eye needs.

    Both are raw, packed (4, H/2, W/2) in the order R, G1, G2, B of an RGGB mosaic, linear, 0 = black level,
    1 = white level, negative values kept; or both are sRGB (3, H, W), 0 to 1. They are float32.
    """

    degraded: Tensor
    clean: Tensor
    facts: dict[str, Tensor]
    """For raw: rgb_to_camera (3, 3), white_balance (3,) [factors], shot () and read () of the noise; for sRGB: none."""


class ToTensor2(Transform):
    """Makes the two tensors, degraded and clean. An image that is still sRGB is both of them."""

    class_name: Literal["ToTensor2"] = "ToTensor2"

    def __call__(self, image: np.ndarray | Sample, rng: Generator) -> Sample:
        if isinstance(image, Sample):
            return image
        planes = np.asarray(image).transpose(2, 0, 1)
        white = np.iinfo(planes.dtype).max if planes.dtype.kind == "u" else 1
        # A blur's rounding takes white to 1 + 1e-7.
        tensor = torch.from_numpy(np.divide(planes, white, dtype=np.float32, order="C")).clamp_(max=1)
        return Sample(tensor, tensor, {})
