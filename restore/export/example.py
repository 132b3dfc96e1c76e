"""The image on which a model and what was written of it are compared."""

import torch
from torch import Tensor

from transforms import Layout, NoiseProfile

NOISE = NoiseProfile(torch.tensor([4e-3, 1e-3, 1e-3, 2e-3]), torch.tensor([4e-5, 1e-5, 1e-5, 2e-5]))
"""Of the images on which both are compared: of a high ISO speed, and unlike in R, G and B."""
Size = tuple[int, int]
"""Height and width [px]."""


def example(layout: Layout, size: Size) -> Tensor:
    """An image (channels, *size) with texture that brightens downwards, and of raw with noise: a few values lie below
    black and above white."""
    height, width = size
    rows, columns = torch.arange(height)[:, None] / height, torch.arange(width)
    phases = torch.arange(layout.channels)[:, None, None]
    image = rows * (0.5 + 0.4 * torch.cos(columns / 5 + phases))
    if not layout.raw:
        return image
    shot, read = (values[:, None, None] for values in NOISE)
    draws = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    image = image + (shot * image + read).sqrt() * draws
    image[:, : height // 8, 0], image[:, : height // 8, 1] = -0.05, 1.3
    return image
