"""From a network's output to raw, with the brightness and colour of the degraded image kept area by area."""

import torch
from torch import Tensor
from torch.nn import functional

from restore.networks.base import Generator
from transforms import RawMetadata, unconditioned

SIDE = 65
"""Of the area [px of the packed image]: noise changes the mean over it by 1/65 of its standard deviation."""


def recorded(network: Generator, output: Tensor, degraded: Tensor, metadata: RawMetadata | None) -> Tensor:
    """The network's output in the unit of the degraded image, both (..., C, H, W); that one is without conditioning.

    Of a network with noise_residual it has the degraded image's means, and without noise it is that image, which a
    stabilising transform and its inverse would round.
    """
    restored = unconditioned(output, metadata)
    if not network.noise_residual:
        return restored
    assert metadata is not None, "such a network is for raw images"
    noisy = (metadata.noise.shot + metadata.noise.read).sum(-1) != 0
    return torch.where(noisy[..., None, None, None], with_means_of(degraded, restored), degraded)


def with_means_of(degraded: Tensor, restored: Tensor) -> Tensor:
    """The restored image with the degraded one's mean over each area, in each plane.

    degraded, restored  (..., C, H, W) of one size, in a unit in which the noise has the mean 0, as linear raw has
    A network's small errors of brightness differ from plane to plane and show as a cast in the shadows. The mean over
    an area of 65 x 65 pixels is known better from the noisy image itself.
    """
    return restored + _means(degraded - restored)


def _means(image: Tensor) -> Tensor:
    """The mean of the area around each pixel; at the image's edges, of the part that lies in the image."""
    for kernel in ((SIDE, 1), (1, SIDE)):
        padding = kernel[0] // 2, kernel[1] // 2
        image = functional.avg_pool2d(image, kernel, stride=1, padding=padding, count_include_pad=False)
    return image
