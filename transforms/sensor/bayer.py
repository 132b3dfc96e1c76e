"""The four phases of the Bayer mosaic, and how each is made RGGB, the only phase that networks get.

A pattern is named by the colours of the mosaic's first two rows: "GRBG" is G R over B G.
Source: Liu et al., Learning Raw Image Denoising with Bayer Pattern Unification and Bayer Preserving Augmentation,
CVPR Workshops 2019: crop in training, reflect when restoring; flip and rotate the mosaic, never its packed planes.
"""

from collections.abc import Callable
from typing import Literal, TypeVar, get_args

import numpy as np
from torch import Tensor

Pattern = Literal["RGGB", "GRBG", "GBRG", "BGGR"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)

Array = TypeVar("Array", np.ndarray, Tensor)


def unify(mosaic: Array, pattern: Pattern) -> Array:
    """The part of a mosaic (..., H, W) that begins with R and has even sides, as a view: for training."""
    top, left = first_red(pattern)
    height, width = mosaic.shape[-2:]
    return mosaic[..., top : height - (height - top) % 2, left : width - (width - left) % 2]


def unify_padded(mosaic: np.ndarray, pattern: Pattern) -> tuple[np.ndarray, tuple[slice, slice]]:
    """A mosaic (..., H, W) that begins with R and has even sides, and contains all of this one: for restoring.

    Returns the padded mosaic and the window [rows, columns] of it that is the original: restored[..., *window] cuts it
    back. H and W are 2 or more. The mosaic is seen mirrored about its outermost row or column, which keeps every site's
    colour.
    """
    sides = zip(first_red(pattern), mosaic.shape[-2:], strict=True)
    margins = [(before, (before + side) % 2) for before, side in sides]
    padded = np.pad(mosaic, [(0, 0)] * (mosaic.ndim - 2) + margins, mode="reflect")
    rows, columns = (slice(before, before + side) for (before, _), side in zip(margins, mosaic.shape[-2:], strict=True))
    return padded, (rows, columns)


def rearrange(
    mosaic: np.ndarray, pattern: Pattern, move: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, Pattern]:
    """A mosaic (H, W) flipped, rotated or transposed, and the pattern of the result.

    move  such as np.fliplr, np.rot90 or np.transpose
    """
    height, width = mosaic.shape
    # A small array of the colours, whose sides are even or odd like the mosaic's, changes its phase in the same way.
    colours = np.tile(np.array(list(pattern)).reshape(2, 2), (2, 2))[: 2 + height % 2, : 2 + width % 2]
    moved = "".join(move(colours)[:2, :2].flat)
    return move(mosaic), next(pattern for pattern in PATTERNS if pattern == moved)


def first_red(pattern: Pattern) -> tuple[int, int]:
    """Row and column of the first R."""
    return divmod(pattern.index("R"), 2)
