"""The eight orientations of an image, by which a network's answers are averaged.

A network sees a scene's mirror image as another scene and errs in another way, so that the mean is nearer to the truth.
Source: Timofte et al., Seven Ways to Improve Example-Based Single Image Super-Resolution, CVPR 2016.
"""

from collections.abc import Callable, Sequence

import numpy as np

UPRIGHT, TRANSPOSED = 0, 4
ORIENTATIONS = range(8)


def mean_over(orientations: Sequence[int], restored: Callable[[int], np.ndarray]) -> np.ndarray:
    """The mean of restored(orientation), each an image (..., H, W) in its orientation, float32: turned upright."""
    first, *others = orientations
    total = upright(restored(first), first).copy()
    for orientation in others:
        total += upright(restored(orientation), orientation)
    return total / np.float32(len(orientations))


def turned(orientation: int) -> bool:
    """Whether rows become columns."""
    return orientation >= TRANSPOSED


def oriented(image: np.ndarray, orientation: int) -> np.ndarray:
    """An image (..., H, W) in this orientation, as a view: rows and columns exchanged or not, and then mirrored."""
    if turned(orientation):
        image = np.swapaxes(image, -1, -2)
    return _mirrored(image, orientation)


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """The inverse of oriented."""
    image = _mirrored(image, orientation)
    return np.swapaxes(image, -1, -2) if turned(orientation) else image


def _mirrored(image: np.ndarray, orientation: int) -> np.ndarray:
    return image[..., :: -1 if orientation & 1 else 1, :: -1 if orientation & 2 else 1]
