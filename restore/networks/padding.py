"""Padding for networks that halve the size of their images several times."""

from torch import Tensor
from torch.nn import functional


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W) with its last row and column repeated until H and W are multiples of `multiple` [pixels].

    Its inverse is crop. Images of any size can be padded, also one of a single pixel.
    """
    height, width = image.shape[-2:]
    below, right = -height % multiple, -width % multiple
    return functional.pad(image, (0, right, 0, below), mode="replicate") if below or right else image


def mirror_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """As pad_to_multiple, mirrored at its last row and column."""
    height, width = image.shape[-2:]
    return mirrored(image, -height % multiple, -width % multiple)


def mirrored(image: Tensor, below: int, right: int) -> Tensor:
    """(B, C, H, W) -> (B, C, H + below, W + right), mirrored at its last row and column, which are not doubled; where
    that does not reach, as of a single pixel, the last ones are repeated."""
    height, width = image.shape[-2:]
    across, down = min(right, width - 1), min(below, height - 1)
    if across or down:
        image = functional.pad(image, (0, across, 0, down), mode="reflect")
    return functional.pad(image, (0, right - across, 0, below - down), mode="replicate")


def mirrored_around(image: Tensor, margin: int) -> Tensor:
    """(B, C, H, W) -> (B, C, H + 2 margin, W + 2 margin), mirrored as by `mirrored` on all four sides."""
    for _ in range(2):
        image = mirrored(image.flip(-2, -1), margin, margin)
    return image


def crop(image: Tensor, height: int, width: int) -> Tensor:
    """The upper left part of an image (..., H, W): what it was before pad_to_multiple."""
    return image[..., :height, :width]
