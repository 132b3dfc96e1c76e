"""A chain of transforms, checked when it is built, that turns photographs into samples."""

from dataclasses import dataclass

import numpy as np
from torch import Generator

from options.mistakes import UserError
from transforms.base import Crop, Transform
from transforms.geometry import RandomRotate
from transforms.raw import RgbToRawTransform
from transforms.sample import Sample, ToTensor2


@dataclass(frozen=True)
class Pipeline:
    """Transforms applied one after another; the same image and generator state give the same sample.

    image   (H, W, 3) sRGB, uint8 or uint16
    Raises UserError for another kind of array, and for an image that is smaller than smallest_image().
    """

    options: tuple[Transform, ...]
    """The sections that it was built from; their JSON builds it again."""

    def __call__(self, image: np.ndarray, rng: Generator) -> Sample:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.uint16):
            raise UserError(f"image: {image.dtype} {image.shape} given; (H, W, 3) in uint8 or uint16 is needed")
        height, width = self.smallest_image()
        if image.shape[0] < height or image.shape[1] < width:
            raise UserError(
                f"image: {image.shape[0]} x {image.shape[1]} pixels (height x width) given, and the transforms need "
                f"{height} x {width}; take a larger image or a smaller crop"
            )
        for transform in self.options:
            image = transform(image, rng)
        return image

    @property
    def out_channels(self) -> int:
        """Channels of the samples: 4 for packed raw, 3 for sRGB."""
        return 4 if any(isinstance(transform, RgbToRawTransform) for transform in self.options) else 3

    def smallest_image(self) -> tuple[int, int]:
        """(height, width) [px] of the smallest photograph that the chain accepts."""
        size = (1, 1)
        for transform in reversed(self.options):
            size = transform.smallest_input(*size)
        return size

    def without_crops(self) -> "Pipeline":
        """The same chain for whole images."""
        return Pipeline(tuple(transform for transform in self.options if not isinstance(transform, Crop)))


def check_order(transforms: list[Transform], place: str) -> None:
    """Raises UserError with a line for each transform that cannot stand where it stands."""
    mistakes = _misplaced(transforms, place) + _unfit_crops(transforms, place)
    if not transforms or not isinstance(transforms[-1], ToTensor2):
        last = f"{transforms[-1].class_name} is the last" if transforms else "empty"
        mistakes.append(f'{place}: {last}; end with {{"class_name": "ToTensor2"}}, which makes the tensors')
    if mistakes:
        raise UserError(*mistakes)


def _misplaced(transforms: list[Transform], place: str) -> list[str]:
    mistakes, to_raw = [], None
    for number, transform in enumerate(transforms):
        here, name = f"{place}.{number}", transform.class_name
        if isinstance(transform, ToTensor2):
            if number + 1 < len(transforms):
                mistakes.append(f"{here}: {name} stands before other transforms; move it to the end")
        elif to_raw is None:
            to_raw = f"{place}.{number}" if isinstance(transform, RgbToRawTransform) else None
        elif isinstance(transform, RgbToRawTransform):
            mistakes.append(f"{here}: a second {name}; remove it, as {to_raw} makes the image raw already")
        else:
            mistakes.append(f"{here}: {name} works on the RGB image; move it before RgbToRawTransform, {to_raw}")
    return mistakes


def _unfit_crops(transforms: list[Transform], place: str) -> list[str]:
    """Crops that are too small for what follows, odd before a mosaic, or oblong before a rotation."""
    mistakes, needed, mosaic, rotated = [], (1, 1), False, False
    for number, transform in reversed(list(enumerate(transforms))):
        if isinstance(transform, Crop):
            given = f"{place}.{number}: {transform.h} x {transform.w} given (h x w)"
            if mosaic and (transform.h % 2 or transform.w % 2):
                mistakes.append(f"{given}, and a mosaic has even sides; make both even")
            if transform.h < needed[0] or transform.w < needed[1]:
                mistakes.append(f"{given}, and what follows needs {needed[0]} x {needed[1]}; enlarge this crop")
            if rotated and transform.h != transform.w:
                mistakes.append(
                    f"{given}, and a rotation after it gives images of two shapes; make the crop square or put it last"
                )
        mosaic = mosaic or isinstance(transform, RgbToRawTransform)
        rotated = isinstance(transform, RandomRotate) or (rotated and not isinstance(transform, Crop))
        needed = transform.smallest_input(*needed)
    return mistakes[::-1]
