"""Images of any size for networks that halve theirs several times."""

from torch import Tensor
from torch.nn import functional


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W) -> the same with its last row and column repeated until H and W are multiples [pixels].

    The way back is crop. There is no limit to the repetition: an image of one pixel will do.
    """
    height, width = image.shape[-2:]
    below, right = -height % multiple, -width % multiple
    return functional.pad(image, (0, right, 0, below), mode="replicate") if below or right else image


def crop(image: Tensor, height: int, width: int) -> Tensor:
    """The upper left part of an image (..., H, W): what it was before pad_to_multiple."""
    return image[..., :height, :width]
