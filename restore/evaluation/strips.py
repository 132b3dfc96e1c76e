"""Pictures beside one another, for the eye: degraded | restored | clean."""

import torch
import torch.nn.functional as F
from torch import Tensor

GAP = 4  # white pixels between two pictures


def strip(pictures: list[Tensor], largest: int) -> Tensor:
    """Pictures of one size beside one another, at their own scale since shrinking would hide the noise.

    pictures  each (3, H, W) sRGB 0..1, on any device
    largest   of a longer side only the middle is shown, so many pixels of it
    Returns (3, h, w) on the CPU.
    """
    shown = [_middle(picture, largest).float().cpu() for picture in pictures]
    gap = torch.ones(3, shown[0].shape[-2], GAP)
    return torch.cat([part for picture in shown for part in (picture, gap)][:-1], dim=-1)


def stack(strips: list[Tensor]) -> Tensor:
    """Strips (3, h, w) of any sizes below one another, filled up with white to the widest."""
    width = max(row.shape[-1] for row in strips)
    rows = [F.pad(row, (0, width - row.shape[-1], 0, GAP), value=1.0) for row in strips]
    return torch.cat(rows, dim=-2)[..., :-GAP, :]


def _middle(picture: Tensor, largest: int) -> Tensor:
    height, width = picture.shape[-2:]
    top, left = max(0, height - largest) // 2, max(0, width - largest) // 2
    return picture[..., top : top + largest, left : left + largest]
