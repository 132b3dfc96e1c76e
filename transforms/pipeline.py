"""A chain of transforms, checked when it is built, that turns photographs and raw images into samples."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from options.errors import UserError
from transforms.base import Transform, as_stored
from transforms.clean_crop import CleanCrop, CleanCrops
from transforms.conditioning import Conditioning
from transforms.images import Image, Pair, TooSmall, check_image, layout_of
from transforms.sample import Sample
from transforms.sensor.layout import SRGB, Layout
from transforms.sensor.lazy import LazyImage
from transforms.sensor.metadata import RawMetadata, combine
from transforms.sensor.mosaic import Mosaic

ROWS = 256
"""An even number of rows prepared at a time: the float32 of a whole photograph is four times its memory."""

CROPS_AT_A_TIME = 4
"""Of a batch on the CPU, so that what is worked on stays in the processor's cache."""

Partners = Callable[[int], tuple[Image, Generator]]
"""The photograph for the mixing transform of this number in the chain, and the state from which its crops are drawn."""


@dataclass(frozen=True)
class Pipeline:
    """Transforms applied one after another; the same image and generator state give the same sample.

    image     (H, W, 3) sRGB, uint8 or uint16; or a Mosaic, which is raw already and clean; or a Pair of either, to
              which nothing is added
    partners  where other photographs come from, for a chain with a transform that mixes; of the image's kind
    What the chain is follows from what its transforms declare (transforms/base.py).
    Raises UserError for an image that the chain does not take.
    """

    transforms: tuple[Transform, ...]
    """The sections that it was built from; their JSON builds it again."""

    def __call__(self, image: Image, rng: Generator, partners: Partners | None = None) -> Sample:
        self.check(image)
        made: Any = image
        for number, step in enumerate(self.transforms):
            made = self._after(number, step, made, rng, partners)
        return made

    def clean_crop(self, image: Image, rng: Generator, partners: Partners | None = None) -> CleanCrop:
        """What is left to do on the CPU where batches are synthesised on a device: the crop, and what is drawn for it.

        Of a photograph, by a chain that is not one_at_a_time. The same generator state gives the crop, the camera and
        the noise level of the sample that a call gives; the noise of its pixels is another one.
        """
        self.check(image)
        maker = self._maker
        for number, step in enumerate(self.transforms[:maker]):
            image = self._after(number, step, image, rng, partners)
        assert not isinstance(image, Pair | Mosaic), "a chain with degraded or raw images is one_at_a_time"
        drawn = self.transforms[maker].drawn(rng)
        return CleanCrop(as_stored(image), drawn, int(torch.randint(2**63 - 1, (), generator=rng)))

    def synthesised(self, crops: CleanCrops) -> Sample:
        """The samples of these crops, on their device: as one Sample whose tensors have a leading B."""
        if crops.images.device.type != "cpu":
            return self._recorded(crops)
        return combine([self._recorded(part) for part in crops.parts(CROPS_AT_A_TIME)], torch.cat)

    def _recorded(self, crops: CleanCrops) -> Sample:
        sample = self.transforms[self._maker].record(crops)
        for step in self.transforms[self._maker + 1 :]:
            sample = step(sample, Generator())
        return sample

    def one_at_a_time(self, place: str) -> list[str]:
        """Why batches cannot be synthesised on a device: a line for each transform that stands in the way."""
        maker = self._maker
        if not self.layout.raw:
            return [f"{place}: no transform makes raw images, which alone are synthesised there"]
        return [
            f"{place}.{number}: {step.class_name} {reason}"
            for number, step in enumerate(self.transforms)
            if (reason := step.one_at_a_time if number >= maker else step.degrades and "degrades on the CPU")
        ]

    @property
    def _maker(self) -> int:
        """The number of the transform that makes samples."""
        return next(number for number, step in enumerate(self.transforms) if step.gives == "sample")

    def _after(self, number: int, step: Transform, image: Any, rng: Generator, partners: Partners | None) -> Any:
        """What the transform of this number makes of an image or sample."""
        if step.needs_partner:
            return step.mix(image, partial(self._partner, number, partners), rng)
        return step(image, rng)

    def _partner(self, number: int, partners: Partners | None) -> Image:
        """A second photograph as it comes to the transform of this number."""
        if partners is None:
            raise UserError(f"image: one given, and {self.transforms[number].class_name} mixes two; give partners too")
        image, rng = partners(number)
        for step in self.transforms[:number]:
            if not step.needs_partner:
                image = step(image, rng)
        return image

    @property
    def needs_partners(self) -> bool:
        """Whether a sample may be made of more than one photograph."""
        return any(step.needs_partner for step in self.transforms)

    @property
    def layout(self) -> Layout:
        """Of the samples, where photographs go in."""
        return next((step.layout for step in reversed(self.transforms) if step.layout), SRGB)

    @property
    def in_channels(self) -> int:
        """Channels of what the network sees: the layout's, and those that a conditioning adds."""
        return self.layout.channels + sum(step.extra_channels for step in self.transforms)

    @property
    def scale(self) -> int:
        """How many times as long the clean image's sides are as the degraded one's, where the chain makes both."""
        return prod(step.reduction for step in self.transforms)

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) [px] that every photograph is cut to; None: samples are as large as their photographs."""
        return next((step.size for step in reversed(self.transforms) if step.size), None)

    @property
    def degrades(self) -> bool:
        """Whether the degraded image differs from the clean one by this chain."""
        return any(step.degrades for step in self.transforms)

    @property
    def conditioning(self) -> tuple[Conditioning, ...]:
        """The transform of the raw images for the network: one, or none."""
        return tuple(step for step in self.transforms if isinstance(step, Conditioning))

    def check(self, image: Image) -> None:
        """Raises UserError for what is no image, an image of a kind that this chain is not for, and one too small."""
        check_image(image)
        if layout_of(image).raw and not self.layout.raw:
            raise UserError("image: a raw one given, and no transform makes raw samples; add a RgbToRawTransform")
        for step in self.transforms:
            if step.takes == "image" and layout_of(image) not in step.layouts:
                raise UserError(f"image: a raw one given, and {step.class_name} takes sRGB alone; remove it")
        if isinstance(image, Pair) and image.recorded:
            self._check_recorded(image)
        elif not self.degrades and (names := [step.class_name for step in self.transforms if step.needs_pair]):
            raise UserError(
                f"image: a clean one given, and {names[0]} needs a degraded one beside it; give pairs, or put a "
                f"degradation before {names[0]}"
            )
        needed = self.smallest_image(layout_of(image))
        if image.shape[0] < needed[0] or image.shape[1] < needed[1]:
            raise TooSmall(image.shape, needed)

    def _check_recorded(self, pair: Pair) -> None:
        if self.layout.raw and not layout_of(pair).raw:
            raise UserError(
                "image: a pair of sRGB images given, and RgbToRawTransform degrades and makes raw what is clean sRGB; "
                "remove that transform, or give the clean images alone"
            )
        for step in self.transforms:
            if step.refuses_pairs:
                raise UserError(
                    f"image: a pair given, and {step.class_name} {step.refuses_pairs}; remove that transform"
                )
            if step.turns and layout_of(pair).raw and pair.scale > 1:
                raise UserError(
                    f"image: a raw pair of unequal sizes given, whose mosaics {step.class_name} would move by a pixel "
                    f"each, so that they no longer match; remove that transform"
                )
            degraded = pair.degraded
            if step.needs_noise and isinstance(degraded, Mosaic) and not degraded.metadata.noise.known:
                raise UserError(
                    f"image: {step.class_name} needs the noise level, and this pair's file has none; "
                    f"remove {step.class_name}"
                )

    def smallest_image(self, layout: Layout = SRGB) -> tuple[int, int]:
        """(height, width) [px] of the smallest photograph, or raw image, that the chain accepts."""
        # The window of a mosaic that is turned moves by a pixel, to begin with R again: so a crop needs room around it.
        turned = layout.raw and any(step.turns for step in self.transforms)
        height, width = 1, 1
        for step in reversed(self.transforms):
            height, width = step.smallest_input(height, width)
            if turned and (step.size if self.size else step.turns):
                height, width = height + layout.cell, width + layout.cell
        return height, width

    def size_makers(self, place: str) -> str:
        """The transforms that decide smallest_image: "RandomCrop 256 x 256 (place.1) behind Downsample by 2 (place.0)".

        Empty where the chain has no crop.
        """
        crop = next((number for number, step in enumerate(self.transforms) if step.size), None)
        if crop is None:
            return ""
        size = self.transforms[crop].size
        assert size, "it was looked for"
        text = f"{self.transforms[crop].class_name} {size[0]} x {size[1]} ({place}.{crop})"
        taken = self.transforms[crop].smallest_input(1, 1)
        if taken != size:
            text += f" out of {taken[0]} x {taken[1]} or more"
        for number, step in reversed(list(enumerate(self.transforms[:crop]))):
            if (factor := step.smallest_input(1, 1)[0]) > 1:
                text += f" behind {step.class_name} by {factor} ({place}.{number})"
        return text

    @property
    def head(self) -> tuple[Transform, ...]:
        """The first transforms whose work on an image is done once for all its samples, when it is stored."""
        return tuple(takewhile(lambda step: step.stored, self.transforms))

    @property
    def tail(self) -> "Pipeline":
        """The chain behind its head: of prepare(image) it makes the sample that the chain makes of the image."""
        return Pipeline(self.transforms[len(self.head) :])

    def prepare(self, image: np.ndarray | Mosaic) -> np.ndarray | Mosaic:
        """The whole image behind the chain's head: sRGB with 8 or 16 bits, or a Mosaic. UserError as for a sample."""
        if self.head:
            self.check(image)
        for step in self.head:
            image = step(image, Generator())
        if isinstance(image, Mosaic) and isinstance(image.frame, LazyImage):
            return image._replace(frame=np.concatenate(list(image.frame.strips(ROWS))))
        if isinstance(image, LazyImage):
            return np.concatenate([as_stored(strip) for strip in image.strips(ROWS)])
        return image

    def with_size(self, side: int) -> list[Transform]:
        """The transforms with another size of the samples, by the one that decides it; UserError where none does."""
        sized = [number for number, step in enumerate(self.transforms) if step.size]
        if not sized:
            raise UserError("no transform cuts the photographs to a size; add a RandomCrop")
        return [step.with_size(side) if n == sized[-1] else step for n, step in enumerate(self.transforms)]

    def conditioned(self, degraded: Tensor, metadata: RawMetadata) -> tuple[Tensor, RawMetadata]:
        """What the network sees of a degraded raw image (..., 4, h, w), and the metadata with which
        transforms.unconditioned undoes it in what the network gives."""
        for step in self.conditioning:
            metadata = step.metadata(metadata)
            degraded = step.network_input(degraded, metadata)
        return degraded, metadata

    def for_whole_images(self) -> "Pipeline":
        """The chain that degrades a whole photograph, for the model itself to condition: without crops and turns."""
        steps = (step for step in self.transforms if not (step.moves or isinstance(step, Conditioning)))
        return Pipeline(tuple(steps))


def check_files(transforms: list[Transform], place: str) -> None:
    """Raises UserError with a line for each file that a transform needs to make samples and cannot use."""
    lines = [f"{place}.{n}.{line}" for n, step in enumerate(transforms) for line in step.file_mistakes()]
    if lines:
        raise UserError(*lines)


def check_order(transforms: list[Transform], place: str) -> None:
    """Raises UserError with a line for each transform that cannot stand where it stands."""
    mistakes = _misplaced(transforms, place) + _unfit_crops(transforms, place)
    if not transforms or not transforms[-1].ends:
        last = f"{transforms[-1].class_name} is the last" if transforms else "empty"
        mistakes.append(f'{place}: {last}; end with {{"class_name": "ToTensor2"}}, which makes the tensors')
    if mistakes:
        raise UserError(*mistakes)


def _misplaced(transforms: list[Transform], place: str) -> list[str]:
    mistakes: list[str] = []
    maker = maker_place = conditioned = degrader = None
    cropped = degraded = False
    for number, step in enumerate(transforms):
        here, name = f"{place}.{number}", step.class_name
        if step.ends:
            if number + 1 < len(transforms):
                mistakes.append(f"{here}: {name} stands before other transforms; move it to the end")
        elif step.takes == "sample":
            if maker is None:
                mistakes.append(f"{here}: {name} works on the raw image; put it behind a RgbToRawTransform")
            elif conditioned and isinstance(step, Conditioning):
                mistakes.append(f"{here}: {name} after {conditioned}, both for the noise; keep one")
            elif conditioned:
                mistakes.append(
                    f"{here}: {name} works on raw values, after {conditioned}, which changes them; move it before"
                )
            conditioned = f"{name} at {here}" if isinstance(step, Conditioning) else conditioned
        elif maker is None:
            if step.gives == "sample":
                maker, maker_place = name, here
            elif step.degrades:
                degrader = f"{name}, {here}"
            elif step.refuses_pairs and degrader:
                mistakes.append(f"{here}: {name} {step.refuses_pairs}; move it before {degrader}")
            elif step.needs_partner and degrader:
                mistakes.append(f"{here}: {name} would mix the noise of two images; move it before {degrader}")
            elif step.needs_partner and not cropped:
                mistakes.append(f"{here}: {name} takes two images of one size; put it behind a RandomCrop")
            elif step.needs_pair and not degraded and any(other.degrades for other in transforms):
                mistakes.append(
                    f"{here}: {name} exchanges parts of a degraded and a clean image, which are not different here; "
                    f"put it behind a degradation other than BicubicDownsample, or remove it"
                )
        elif step.gives == "sample":
            mistakes.append(f"{here}: a second {name}; remove it, as {maker_place} makes the image raw already")
        else:
            mistakes.append(f"{here}: {name} works on the RGB image; move it before {maker}, {maker_place}")
        cropped = cropped or step.size is not None
        degraded = degraded or (step.degrades and not step.only_resamples)
    return mistakes


def _unfit_crops(transforms: list[Transform], place: str) -> list[str]:
    """Crops that are too small for what follows, no multiple of what it takes, or oblong before a rotation."""
    mistakes, needed, multiple, swapped = [], (1, 1), 1, False
    for number, step in reversed(list(enumerate(transforms))):
        if step.size:
            given = f"{place}.{number}: {step.size[0]} x {step.size[1]} given (h x w)"
            if step.size[0] % multiple or step.size[1] % multiple:
                wanted = "even" if multiple == 2 else f"multiples of {multiple}"
                mistakes.append(f"{given}, and what follows takes multiples of {multiple}; make both {wanted}")
            if step.size[0] < needed[0] or step.size[1] < needed[1]:
                mistakes.append(f"{given}, and what follows needs {needed[0]} x {needed[1]}; enlarge this crop")
            if swapped and step.size[0] != step.size[1]:
                mistakes.append(
                    f"{given}, and a rotation after it gives images of two shapes; make the crop square or put it last"
                )
        multiple *= step.multiple * step.reduction
        swapped = step.swaps_sides or (swapped and not step.size)
        needed = step.smallest_input(*needed)
    return mistakes[::-1]
