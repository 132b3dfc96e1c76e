"""What travels with a raw image, from its file to the batch, to the network's answer and back to a file."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from transforms.sensor.cameras import Camera

GREENS_SWAPPED = [0, 2, 1, 3]


class NoiseProfile(NamedTuple):
    """A raw image's noise in each of R, G1, G2, B: variance = shot * x + read, where x is 0 at black and 1 at white.

    Source: DNG specification 1.7, NoiseProfile.
    """

    shot: Tensor
    """(..., 4) slope of the variance [1]; NaN where the noise is not known."""
    read: Tensor
    """(..., 4) variance at black [1]; NaN where the noise is not known."""

    @classmethod
    def unknown(cls) -> "NoiseProfile":
        return cls(torch.full((4,), torch.nan), torch.full((4,), torch.nan))

    @property
    def known(self) -> bool:
        return not bool(self.shot.isnan().any() or self.read.isnan().any())

    def scaled(self, gain: float) -> "NoiseProfile":
        """The noise of the image times this gain."""
        return NoiseProfile(self.shot * gain, self.read * gain**2)


class Stabilization(NamedTuple):
    """The Anscombe transform that an image went through, and what black and white became: all (..., 4)."""

    shot: Tensor
    read: Tensor
    """Of the noise that it makes equally strong, both positive."""
    black: Tensor
    white: Tensor
    """Means of the transform over the noise of these signals. The image was then scaled so that they are 0 and 1."""


class RawMetadata(NamedTuple):
    """The camera and the noise of a raw image, or of a batch of them, each tensor with the batch's leading shape."""

    camera: Camera
    noise: NoiseProfile
    stabilization: Stabilization | None = None
    """None: the images are as recorded."""

    def turned(self) -> "RawMetadata":
        """Of the image turned by a quarter: the green in the rows of R becomes the green in the rows of B."""
        return self._replace(noise=NoiseProfile(*(planes[..., GREENS_SWAPPED] for planes in self.noise)))


def map_tensors(record: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A record (named tuples of tensors, other values and further records) with each of its tensors changed."""
    if isinstance(record, Tensor):
        return change(record)
    return type(record)(*(map_tensors(field, change) for field in record)) if hasattr(record, "_fields") else record


def combine(records: Sequence[Any], how: Callable[[list[Tensor]], Tensor]) -> Any:
    """One record of several alike, each of its tensors being combined, as by torch.stack. Other values are the same in
    all, and the first is taken."""
    first = records[0]
    if isinstance(first, Tensor):
        return how(list(records))
    if hasattr(first, "_fields"):
        return type(first)(*(combine(column, how) for column in zip(*records, strict=True)))
    return first
