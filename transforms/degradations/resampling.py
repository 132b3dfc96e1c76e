"""MATLAB's imresize with its bicubic kernel: how the field's low-resolution images are made, and its baseline.

Source: Keys, Cubic convolution interpolation for digital image processing, 1981, with a = -0.5; MATLAB stretches the
kernel where it makes an image smaller, so that it sees all pixels.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.sparse import csr_array

Border = Literal["symmetric", "replicate"]
"""Beyond its edges an image is seen mirrored, the outermost pixel twice; or its outermost pixel is repeated."""


def imresize(
    image: np.ndarray, height: int, width: int, border: Border = "symmetric", rounded: bool = False
) -> np.ndarray:
    """The image (H, W, C), 0 to 1, at height x width: float64, first down the columns and then along the rows.

    rounded  as MATLAB resizes uint8: to 8 bits before, between and after. Without it values may leave 0 to 1 a little
    """
    values = _levels(image * 255) if rounded else image
    for side in (height, width):
        weights = _weights(values.shape[0], side, border)
        resized = (weights @ values.reshape(values.shape[0], -1)).reshape(side, *values.shape[1:])
        values = (_levels(resized) if rounded else resized).swapaxes(0, 1)
    return values / 255 if rounded else values


def _levels(values: np.ndarray) -> np.ndarray:
    """The nearest of the levels 0 to 255, halves being rounded up. Float64: sums of them by the weights are exact."""
    return np.floor(values.astype(np.float64) + 0.5).clip(0, 255)


@lru_cache(maxsize=64)
def _weights(before: int, after: int, border: Border) -> csr_array:
    """What each of the pixels before counts for in each of those after: (after, before), each row's sum being 1."""
    step = before / after
    stretch = max(step, 1)
    centres = (np.arange(after) + 0.5) * step - 0.5
    first = np.floor(centres - 2 * stretch).astype(int)
    pixels = first[:, None] + np.arange(int(np.ceil(4 * stretch)) + 2)
    weights = cubic((pixels - centres[:, None]) / stretch)
    weights /= weights.sum(1, keepdims=True)
    if border == "symmetric":
        mirrored = pixels % (2 * before)
        seen = np.minimum(mirrored, 2 * before - 1 - mirrored)
    else:
        seen = pixels.clip(0, before - 1)
    rows = np.broadcast_to(np.arange(after)[:, None], seen.shape)
    return csr_array((weights.ravel(), (rows.ravel(), seen.ravel())), shape=(after, before))


def cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -0.5 at this distance [px]."""
    t = np.abs(distance)
    near, far = (1.5 * t - 2.5) * t**2 + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
    return np.where(t <= 1, near, np.where(t <= 2, far, 0))
