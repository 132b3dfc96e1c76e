"""Augmentations that mix two images into one training sample: two photographs, or the two images of a pair.

A network on little data learns its photographs by heart; such samples make it see more than there is. Leave them out
where data is plenty or the network small: it has to learn the mixtures too. They are for transforms_train alone.

Source: Yoo, Ahn and Sohn, Rethinking Data Augmentation for Image Super-resolution, CVPR 2020. The defaults are those of
the code that they published; their probability was 1 for large super-resolution networks, 0.6 for denoising and JPEG
removal, and 0.2 for a small network. They applied one augmentation to each batch: where several stand in a chain,
give each a part of the probability.
"""

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from scipy.special import betaincinv
from torch import Generator

from transforms.base import Transform, as_stored, unit_range
from transforms.degradations.resampling import imresize
from transforms.images import Image, One, Pair
from transforms.noise.draws import Probability, happens, normal, uniform
from transforms.sensor.layout import SRGB, Layout

SPREAD = 0.01
"""Standard deviation of a rectangle's sides, as a share of the image's."""

Side = Annotated[float, Field(gt=0, le=1)]


class Mixing(Transform):
    """Mixes another photograph of the training into the image; both have gone through the transforms before it.

    It stands behind a crop, which makes both of one size, and before whatever degrades: so the mixture is degraded, and
    its noise is that of any other sample. Recorded pairs have their noise already: both images of a pair are mixed
    alike with those of another pair. Raw images are refused: each has the colours and the noise of its own camera.
    """

    layouts: ClassVar[frozenset[Layout]] = frozenset({SRGB})
    needs_partner: ClassVar[bool] = True
    training_only: ClassVar[bool] = True

    probability: Probability = 1.0
    """Share of the samples that are mixed; the others stay as they are. For denoising 0.6 was published."""


class Mixup(Mixing):
    """The weighted mean of two photographs, of their sRGB values, as of two exposures of one frame.

    Use it on few photographs. Do not use it to learn the noise of recorded pairs: the mean of two noisy images has
    less noise than either, down to 0.71 times; CutMix keeps it.
    """

    class_name: Literal["Mixup"] = "Mixup"
    alpha: PositiveFloat = 1.2
    """The photograph's weight is drawn from the beta distribution with both parameters alpha: near 0 one of the two
    hardly shows, at 1 every weight is equally likely, above 1 weights near a half are likelier."""

    def mix(self, image: Image, partner: Callable[[], Image], rng: Generator) -> Image:
        if not happens(self.probability, rng):
            return image
        weight = np.float32(betaincinv(self.alpha, self.alpha, uniform(0, 1, rng)))
        return _each(
            image,
            partner(),
            lambda one, other, _: as_stored(weight * unit_range(one) + (1 - weight) * unit_range(other)),
        )


class CutMix(Mixing):
    """A rectangle of the photograph is replaced by the same rectangle of another one.

    It leaves every pixel as it was, its noise too, so that it suits recorded pairs; only the seams are new. Use it on
    few photographs, and leave it out where seams harm, as with very small crops.
    """

    class_name: Literal["CutMix"] = "CutMix"
    side: Side = 0.7
    """How long the rectangle's sides are, as a share of the image's; drawn with a standard deviation of 0.01."""

    def mix(self, image: Image, partner: Callable[[], Image], rng: Generator) -> Image:
        if not happens(self.probability, rng):
            return image
        window = _rectangle(image.degraded if isinstance(image, Pair) else image, self.side, rng)
        return _each(image, partner(), lambda one, other, scale: _replaced(one, other, _scaled(window, scale)))


class CutBlur(Transform):
    """In the degraded image a rectangle is replaced by the clean one's, or all but a rectangle; the clean image stays.

    So the network learns where to restore, and how much, and leaves alone what is sharp already. Use it where inputs
    are good in part: photographs out of focus behind their subject, compression that differs, real pairs.
    As published it gives the enlarged image to a network that takes images of the clean size: so it is here at scale 1,
    and at a larger scale it is another thing. The network takes the small image, in which no clean pixel has a place;
    the clean image is then made smaller with MATLAB's bicubic kernel, and the network learns where there is blur, noise
    and compression, not where to enlarge. Where bicubic downsampling is all that degrades, nothing would change, and it
    is refused. Raw images are refused: what follows has to know their noise.
    """

    layouts: ClassVar[frozenset[Layout]] = frozenset({SRGB})
    needs_pair: ClassVar[bool] = True
    training_only: ClassVar[bool] = True

    class_name: Literal["CutBlur"] = "CutBlur"
    probability: Probability = 1.0
    """Share of the samples in which parts are exchanged. For denoising and JPEG removal 0.6 was published."""
    side: Side = 0.7
    """How long the rectangle's sides are, as a share of the image's; drawn with a standard deviation of 0.01."""

    def __call__(self, image: Pair, rng: Generator) -> Pair:
        if not happens(self.probability, rng):
            return image
        degraded, clean = unit_range(image.degraded), unit_range(image.clean)
        if image.scale > 1:
            clean = imresize(clean, *degraded.shape[:2]).clip(0, 1).astype(np.float32)
        window = _rectangle(degraded, self.side, rng)
        outer, inner = (degraded, clean) if happens(0.5, rng) else (clean, degraded)
        return image._replace(degraded=_replaced(outer, inner, window))


Window = tuple[slice, slice]
"""Rows and columns."""


def _rectangle(image: One, side: float, rng: Generator) -> Window:
    """A rectangle whose sides are this share of the image's, each position being equally likely."""
    share = min(max(normal(side, SPREAD, rng), 0), 1)
    lengths = [int(length * share) for length in image.shape[:2]]
    starts = [
        int(torch.randint(whole - length + 1, (), generator=rng))
        for whole, length in zip(image.shape[:2], lengths, strict=True)
    ]
    rows, columns = (slice(start, start + length) for start, length in zip(starts, lengths, strict=True))
    return rows, columns


def _scaled(window: Window, scale: int) -> Window:
    rows, columns = (slice(scale * part.start, scale * part.stop) for part in window)
    return rows, columns


def _replaced(image: One, other: One, window: Window) -> np.ndarray:
    """The image with the other one's pixels in the window."""
    pixels, others = np.asarray(image), np.asarray(other)
    if pixels.dtype != others.dtype:
        pixels, others = (as_stored(unit_range(one)) for one in (pixels, others))
    result = pixels.copy()
    result[window] = others[window]
    return result


def _each(image: Image, partner: Image, change: Callable[[One, One, int], One]) -> Image:
    """The image changed by its partner; of a pair both. The number is how many times larger the image is."""
    if isinstance(image, Pair) and isinstance(partner, Pair):
        return image._replace(
            degraded=change(image.degraded, partner.degraded, 1), clean=change(image.clean, partner.clean, image.scale)
        )
    assert not isinstance(image, Pair), "a pair is mixed with a pair"
    assert not isinstance(partner, Pair), "a photograph is mixed with a photograph"
    return change(image, partner, 1)
