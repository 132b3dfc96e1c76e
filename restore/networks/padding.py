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


def crop(image: Tensor, height: int, width: int) -> Tensor:
    """The upper left part of an image (..., H, W): what it was before pad_to_multiple."""
    return image[..., :height, :width]
