"""Pictures side by side for comparison: degraded | restored | clean."""

import torch
import torch.nn.functional as F
from torch import Tensor

GAP = 4  # white pixels between two pictures


def strip(pictures: list[Tensor], largest: int) -> Tensor:
    """Pictures of one scene side by side. None is reduced in size, since that would hide the noise.

    pictures  each (3, H, W) sRGB 0..1, on any device. A smaller one is enlarged to the size of the largest by repeating
              pixels, so that the same place in each picture shows the same place of the scene
    largest   longest side shown [pixels]; of a longer side the middle is cut out
    Returns (3, h, w) on the CPU.
    """
    height, width = (max(picture.shape[side] for picture in pictures) for side in (-2, -1))
    shown = [_middle(picture, height, width, largest).float().cpu() for picture in pictures]
    gap = torch.ones(3, shown[0].shape[-2], GAP)
    return torch.cat([part for picture in shown for part in (picture, gap)][:-1], dim=-1)


def stack(strips: list[Tensor]) -> Tensor:
    """Strips (3, h, w) of any sizes below one another, padded with white to the width of the widest."""
    width = max(row.shape[-1] for row in strips)
    rows = [F.pad(row, (0, width - row.shape[-1], 0, GAP), value=1.0) for row in strips]
    return torch.cat(rows, dim=-2)[..., :-GAP, :]


def _middle(picture: Tensor, height: int, width: int, largest: int) -> Tensor:
    """The middle of a picture (3, h, w) as it would be enlarged to (3, height, width) by repeating pixels."""
    rows, columns = _nearest(picture.shape[-2], height, largest), _nearest(picture.shape[-1], width, largest)
    return picture[..., rows.to(picture.device), :][..., columns.to(picture.device)]


def _nearest(length: int, enlarged: int, largest: int) -> Tensor:
    """A side of `length` pixels is enlarged to `enlarged`: the source index of each of the middle `largest` pixels."""
    start = max(0, enlarged - largest) // 2
    places = torch.arange(start, min(start + largest, enlarged))
    return (2 * places + 1) * length // (2 * enlarged)  # the source pixel that contains the centre of this one
