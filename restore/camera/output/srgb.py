"""The curve of sRGB (IEC 61966-2-1), beyond its ends too. Training has another: transforms.sensor.unprocessing."""

import torch
from torch import Tensor


def srgb_encoded(linear: Tensor) -> Tensor:
    """Linear values by the curve of sRGB (IEC 61966-2-1), goes on above 1, and below 0 as its mirror image."""
    size = linear.abs()
    return torch.where(size <= 0.0031308, 12.92 * size, 1.055 * size ** (1 / 2.4) - 0.055).copysign(linear)


def srgb_decoded(encoded: Tensor) -> Tensor:
    """The inverse of srgb_encoded."""
    size = encoded.abs()
    return torch.where(size <= 0.04045, size / 12.92, ((size + 0.055) / 1.055) ** 2.4).copysign(encoded)
