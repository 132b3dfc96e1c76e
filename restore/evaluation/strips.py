"""Pictures side by side for comparison: degraded | restored | clean."""

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transforms.sensor.unprocessing import linear_to_srgb, srgb_to_linear

GAP = 4  # white pixels between two pictures
DARK = 0.2  # linear light; below it, at a picture's brightest spots, it is shown brighter
BRIGHT = 0.8  # linear light that the brightest spots of a dark picture come to at most
SPOTS = 0.01  # share of a picture's values that are its brightest spots
BLACK = 1e-5  # sRGB; what is not brighter shows nothing at any factor
LARGEST_GAIN = 2**12
FONT, TEXT_SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.4


def strip(pictures: list[Tensor], largest: int) -> Tensor:
    """Pictures of one scene side by side. None is reduced in size, since that would hide the noise.

    pictures  each (3, H, W) sRGB 0..1, on any device. A smaller one is enlarged to the size of the largest by repeating
              pixels, so that the same place in each picture shows the same place of the scene
    largest   longest side shown [pixels]; of a longer side the middle is cut out
    Returns (3, h, w) on the CPU. Where the last picture, the cleanest, is dark, all are made brighter by one factor of
    linear light, a power of two, which is written on the last.
    """
    height, width = (max(picture.shape[side] for picture in pictures) for side in (-2, -1))
    shown = [_middle(picture, height, width, largest).float().cpu() for picture in pictures]
    if (gain := display_gain(shown[-1])) > 1:
        shown = [brightened(picture, gain) for picture in shown]
        shown[-1] = _labelled(shown[-1], f"x{gain}")
    gap = torch.ones(3, shown[0].shape[-2], GAP)
    return torch.cat([part for picture in shown for part in (picture, gap)][:-1], dim=-1)


def stack(strips: list[Tensor]) -> Tensor:
    """Strips (3, h, w) of any sizes below one another, padded with white to the width of the widest."""
    width = max(row.shape[-1] for row in strips)
    rows = [F.pad(row, (0, width - row.shape[-1], 0, GAP), value=1.0) for row in strips]
    return torch.cat(rows, dim=-2)[..., :-GAP, :]


def display_gain(picture: Tensor) -> int:
    """The factor of linear light by which a dark picture (3, h, w), sRGB 0..1, is to be shown; 1 for any other."""
    values = picture.flatten()
    spot = values.kthvalue(max(1, round((1 - SPOTS) * values.numel()))).values
    brightest = float(srgb_to_linear(spot))
    if spot <= BLACK or brightest >= DARK:
        return 1
    return min(2 ** math.floor(math.log2(BRIGHT / brightest)), LARGEST_GAIN)


def brightened(picture: Tensor, gain: int) -> Tensor:
    """A picture, sRGB 0..1, at so many times its linear light; of 1 as it is."""
    return linear_to_srgb((gain * srgb_to_linear(picture)).clamp(0, 1)) if gain > 1 else picture


def _labelled(picture: Tensor, text: str) -> Tensor:
    """The picture with a small text, white on black, in its upper left corner."""
    (width, height), below = cv2.getTextSize(text, FONT, TEXT_SIZE, 1)
    label = np.zeros((height + below + 4, width + 6), np.uint8)
    cv2.putText(label, text, (3, height + 2), FONT, TEXT_SIZE, 255, 1, cv2.LINE_AA)
    shown = torch.from_numpy(label).float()[: picture.shape[-2], : picture.shape[-1]] / 255
    picture[..., : shown.shape[0], : shown.shape[1]] = shown
    return picture


def _middle(picture: Tensor, height: int, width: int, largest: int) -> Tensor:
    """The middle of a picture (3, h, w) as it would be enlarged to (3, height, width) by repeating pixels."""
    rows, columns = _nearest(picture.shape[-2], height, largest), _nearest(picture.shape[-1], width, largest)
    return picture[..., rows.to(picture.device), :][..., columns.to(picture.device)]


def _nearest(length: int, enlarged: int, largest: int) -> Tensor:
    """A side of `length` pixels is enlarged to `enlarged`: the source index of each of the middle `largest` pixels."""
    start = max(0, enlarged - largest) // 2
    places = torch.arange(start, min(start + largest, enlarged))
    return (2 * places + 1) * length // (2 * enlarged)  # the source pixel that contains the centre of this one
