"""A chain of transforms, checked when it is built, that turns photographs and raw images into samples."""

from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from torch import Generator

from options.errors import UserError
from transforms.base import Crop, Transform
from transforms.conditioning import Conditioning
from transforms.downsample import Downsample, Downsampled
from transforms.geometry import RandomFlip, RandomRotate
from transforms.rgb_to_raw import RgbToRawTransform
from transforms.sample import Sample, ToTensor2
from transforms.sensor.lazy import LazyImage
from transforms.sensor.mosaic import Image, Mosaic, Pair, is_raw
from transforms.sensor.mosaicking import to_16_bits

TURNING = (RandomFlip, RandomRotate)
ROWS = 256
"""An even number of rows prepared at a time."""


@dataclass(frozen=True)
class Pipeline:
    """Transforms applied one after another; the same image and generator state give the same sample.

    image   (H, W, 3) sRGB, uint8 or uint16; or a Mosaic, which is raw already and clean; or a Pair of either, to which
            nothing is added
    A raw image is flipped and turned before all else: that takes pixels off its edges, and so crops keep their size.
    Raises UserError for an image that the chain does not take.
    """

    options: tuple[Transform, ...]
    """The sections that it was built from; their JSON builds it again."""

    def __call__(self, image: Image, rng: Generator) -> Sample:
        self.check(image)
        for transform in self._steps(is_raw(image)):
            image = transform(image, rng)
        return image

    def check(self, image: Image) -> None:
        """Raises UserError for what is no image, an image of a kind that this chain is not for, and one too small."""
        raw, paired = is_raw(image), isinstance(image, Pair)
        _check_arrays(image)
        if raw and self.out_channels != 4:
            raise UserError("image: a raw one given, and no transform makes raw samples; add a RgbToRawTransform")
        if paired and not raw and self.out_channels == 4:
            raise UserError(
                "image: a pair of sRGB images given, and RgbToRawTransform degrades and makes raw what is clean sRGB; "
                "remove that transform, or give the clean images alone"
            )
        if paired and any(isinstance(transform, Downsample) for transform in self.options):
            raise UserError("image: a pair given, and Downsample would average its noise away; remove that transform")
        if self.conditioning and paired and image.degraded.noise is None:
            name = self.conditioning[0].class_name
            raise UserError(f"image: a pair of unknown noise given, and {name} has to know it; remove that")
        height, width = self.smallest_image(raw)
        if image.shape[0] < height or image.shape[1] < width:
            raise UserError(
                f"image: {image.shape[0]} x {image.shape[1]} pixels (height x width) given, and the transforms need "
                f"{height} x {width}; take a larger image or a smaller crop"
            )

    @property
    def out_channels(self) -> int:
        """Channels of the samples: 4 for packed raw, 3 for sRGB."""
        return 4 if any(isinstance(transform, RgbToRawTransform) for transform in self.options) else 3

    @property
    def in_channels(self) -> int:
        """Channels of what the network sees: those of the samples, and those that a conditioning adds."""
        return self.out_channels + sum(step.extra_channels for step in self.conditioning)

    @property
    def conditioning(self) -> tuple[Conditioning, ...]:
        """What the network is shown instead of plain raw: one transform, or none."""
        return tuple(step for step in self.options if isinstance(step, Conditioning))

    def smallest_image(self, raw: bool = False) -> tuple[int, int]:
        """(height, width) [px] of the smallest photograph, or raw image, that the chain accepts."""
        height, width = 1, 1
        for transform in reversed(self._steps(raw)):
            height, width = transform.smallest_input(height, width)
            if raw and isinstance(transform, TURNING):
                height, width = height + 2, width + 2
        return height, width

    @property
    def head(self) -> tuple[Transform, ...]:
        """The first transforms that draw nothing: their work on an image may be done once for all its samples."""
        return tuple(takewhile(lambda transform: isinstance(transform, Downsample), self.options))

    @property
    def tail(self) -> "Pipeline":
        """The chain behind its head: of prepare(image) it makes the sample that the chain makes of an sRGB image."""
        return Pipeline(self.options[len(self.head) :])

    def prepare(self, image: np.ndarray | Mosaic) -> np.ndarray | Mosaic:
        """The whole image behind the chain's head: sRGB with 16 bits, or a Mosaic. UserError as for a sample of it."""
        if self.head:
            self.check(image)
        for transform in self.head:
            image = transform(image, Generator())
        if isinstance(image, Downsampled):
            return np.concatenate([to_16_bits(strip) for strip in image.strips(ROWS)])
        if isinstance(image, Mosaic) and isinstance(image.values, LazyImage):
            return image._replace(values=np.concatenate(list(image.values.strips(ROWS))))
        return image

    def without(self, *kinds: type[Transform]) -> "Pipeline":
        """The same chain without the transforms of these kinds."""
        return Pipeline(tuple(transform for transform in self.options if not isinstance(transform, kinds)))

    def _steps(self, raw: bool) -> list[Transform]:
        """In the order in which they are applied."""
        return sorted(self.options, key=lambda transform: raw and not isinstance(transform, TURNING))


def _check_arrays(image: Image) -> None:
    """Raises UserError for what is no sRGB photograph, no mosaic, and no pair of two that match."""
    if isinstance(image, Pair):
        for one in image:
            _check_arrays(one)
        first, second = ((is_raw(one), one.shape) for one in image)
        if first != second:
            raise UserError(f"image: a pair of {first[1]} and {second[1]} given; both must be of one kind and size")
        return
    array = image.values if isinstance(image, Mosaic) else image
    given = f"image: {array.dtype} {array.shape} given"
    if isinstance(image, Mosaic):
        if array.ndim != 2 or array.shape[0] % 2 or array.shape[1] % 2 or array.dtype != np.float32:
            raise UserError(f"{given}; a mosaic is (H, W), both even, in float32")
    elif array.ndim != 3 or array.shape[2] != 3 or array.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{given}; (H, W, 3) in uint8 or uint16 is needed")


def check_order(transforms: list[Transform], place: str) -> None:
    """Raises UserError with a line for each transform that cannot stand where it stands."""
    mistakes = _misplaced(transforms, place) + _unfit_crops(transforms, place)
    if not transforms or not isinstance(transforms[-1], ToTensor2):
        last = f"{transforms[-1].class_name} is the last" if transforms else "empty"
        mistakes.append(f'{place}: {last}; end with {{"class_name": "ToTensor2"}}, which makes the tensors')
    if mistakes:
        raise UserError(*mistakes)


def _misplaced(transforms: list[Transform], place: str) -> list[str]:
    mistakes, to_raw, conditioned = [], None, None
    for number, transform in enumerate(transforms):
        here, name = f"{place}.{number}", transform.class_name
        if isinstance(transform, ToTensor2):
            if number + 1 < len(transforms):
                mistakes.append(f"{here}: {name} stands before other transforms; move it to the end")
        elif isinstance(transform, Conditioning):
            if to_raw is None:
                mistakes.append(f"{here}: {name} works on the raw image; put it behind a RgbToRawTransform")
            elif conditioned:
                mistakes.append(f"{here}: {name} after {conditioned}, both for the noise; keep one")
            conditioned = f"{name} at {here}"
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
