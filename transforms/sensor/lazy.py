"""Images that are worked out only where someone looks."""

from collections.abc import Iterator

import cv2
import numpy as np


class LazyImage:
    """An image that looks like an array of float32: a slice [top:bottom, left:right] works out that window alone."""

    shape: tuple[int, ...]
    """(H, W, ...)."""
    dtype = np.dtype(np.float32)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:, :].astype(dtype or np.float32, copy=False)

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        """window  rows and columns, without steps"""
        rows, columns = window
        top, bottom, _ = rows.indices(self.shape[0])
        left, right, _ = columns.indices(self.shape[1])
        return self.window(top, bottom, left, right)

    def strips(self, rows: int) -> Iterator[np.ndarray]:
        """All of it, so many rows at a time: the float32 of a whole photograph is four times its memory."""
        for top in range(0, self.shape[0], rows):
            yield self[top : top + rows, :]

    def window(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """The pixels [top:bottom, left:right]."""
        raise NotImplementedError


def mirrored(image: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """image[top:bottom, left:right], where the image goes on beyond its edges as its mirror image.

    It is mirrored about the outermost row or column, which keeps a mosaic's colours.
    """
    height, width = image.shape[:2]
    beyond = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
    inside = image[max(top, 0) : bottom, max(left, 0) : right]
    return cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_REFLECT_101) if any(beyond) else inside
