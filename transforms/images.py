"""What goes into a chain and from transform to transform: a photograph, a raw image, or a pair of either."""

from typing import NamedTuple, TypeVar

import numpy as np

from options.errors import UserError
from transforms.sensor.layout import RGGB, SRGB, Layout
from transforms.sensor.lazy import LazyImage
from transforms.sensor.mosaic import Mosaic

One = np.ndarray | LazyImage | Mosaic
"""sRGB (H, W, 3): uint8, uint16, or float32 from 0 to 1; or a raw image."""


class TooSmall(UserError):
    """An image is too small for a chain of transforms."""

    def __init__(self, given: tuple[int, ...], needed: tuple[int, int]):
        self.needed = needed
        """(height, width) [px] of the smallest image that the chain takes."""
        super().__init__(
            f"image: {given[0]} x {given[1]} pixels (height x width) given, and the transforms need "
            f"{needed[0]} x {needed[1]}; take a larger image or a smaller crop"
        )


class Pair(NamedTuple):
    """A degraded image and the clean one of the same scene, of one kind, whose sides may be `scale` times as long.

    Pixels match in their areas: [i, j] of the degraded image shows what the clean one shows in the scale x scale pixels
    from [scale * i, scale * j] on.
    """

    degraded: One
    clean: One
    recorded: bool
    """Whether both are recordings, to which nothing is added; else a transform degraded one, and others may go on."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, 3) or (H, W), of the clean image."""
        return self.clean.shape

    @property
    def scale(self) -> int:
        return self.clean.shape[0] // self.degraded.shape[0]

    def fitted(self) -> "Pair":
        """The pair, a clean image that is larger by less than the scale being cut at the right and bottom."""
        scale = self.scale
        height, width = (scale * side for side in self.degraded.shape[:2])
        over = self.clean.shape[0] - height, self.clean.shape[1] - width
        if over == (0, 0) or not all(0 <= pixels < scale for pixels in over):
            return self
        clean = self.clean
        return self._replace(
            clean=clean.crop(0, 0, height, width) if isinstance(clean, Mosaic) else clean[:height, :width]
        )


Image = One | Pair

Kind = TypeVar("Kind")


def layout_of(image: Image) -> Layout:
    """What a sample of this image is before any transform changes that."""
    one = image.clean if isinstance(image, Pair) else image
    return RGGB if isinstance(one, Mosaic) else SRGB


def check_image(image: Image) -> None:
    """Raises UserError for what is no sRGB photograph, no mosaic, and no pair of two that match."""
    if isinstance(image, Pair):
        check_image(image.degraded)
        check_image(image.clean)
        _check_match(image)
        return
    array = image.frame if isinstance(image, Mosaic) else image
    given = f"image: {array.dtype} {array.shape} given"
    if isinstance(image, Mosaic):
        if array.ndim != 2 or array.dtype != np.float32 or any(side % 2 for side in image.shape):
            raise UserError(f"{given}; a mosaic is (H, W), both even, in float32")
    elif array.ndim != 3 or array.shape[2] != 3 or array.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{given}; (H, W, 3) in uint8 or uint16 is needed")


def _check_match(pair: Pair) -> None:
    degraded, clean = pair.degraded.shape[:2], pair.clean.shape[:2]
    alike = layout_of(pair.degraded) == layout_of(pair.clean)
    if not alike or clean[0] % degraded[0] or (pair.scale * degraded[0], pair.scale * degraded[1]) != clean:
        raise UserError(
            f"image: a pair of {pair.degraded.shape} and {pair.clean.shape} given; both must be of one kind, and the "
            f"clean one of the same size or a whole number of times as large"
        )
