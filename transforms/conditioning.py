"""Transforms of the raw images for the network, and their inverses for its output."""

from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from transforms.base import Stage, Transform
from transforms.sample import Sample
from transforms.sensor.anscombe import algebraic_inverse, anscombe, exact_unbiased_inverse, expected_anscombe
from transforms.sensor.layout import RGGB, Layout
from transforms.sensor.metadata import RawMetadata, Stabilization

LEAST_SHOT, LEAST_READ = 1e-6, 1e-12
"""Less noise than any sensor has: where a sample has less, the transform is computed for these."""
LEAST_RATIO = 0.01
"""Smallest shot / read: below it float32 cannot resolve the transform. Raising shot to it changes the variance at white
by 1 %."""
LEAST_DEVIATION = 1e-5
"""Of the noise [1], where something is counted in units of it: about a step of 16 bits."""


class Conditioning(Transform):
    """A transform of the raw sample that stands between RgbToRawTransform and ToTensor2.

    It changes the network's input and target: `unconditioned_degraded` and `unconditioned` undo it.
    Images are (..., 4, h, w), and metadata have the same leading shape.
    """

    takes: ClassVar[Stage] = "sample"
    gives: ClassVar[Stage] = "sample"
    layouts: ClassVar[frozenset[Layout]] = frozenset({RGGB})

    @property
    def one_at_a_time(self) -> None:
        return None

    @property
    def needs_noise(self) -> bool:
        return True

    def __call__(self, sample: Sample, rng: Generator) -> Sample:
        assert sample.metadata is not None, "a raw sample has metadata"
        metadata = self.metadata(sample.metadata)
        return Sample(
            self.network_input(sample.degraded, metadata), self.target(sample.clean, metadata), metadata, sample.layout
        )

    def metadata(self, metadata: RawMetadata) -> RawMetadata:
        """The sample's metadata, and in it what is needed to undo this transform."""
        return metadata

    def network_input(self, degraded: Tensor, metadata: RawMetadata) -> Tensor:
        """The network's input for a degraded raw image."""
        raise NotImplementedError

    def target(self, clean: Tensor, metadata: RawMetadata) -> Tensor:
        """The network's target for a clean raw image."""
        return clean


class VarianceStabilization(Conditioning):
    """Makes the noise equally strong everywhere: the generalised Anscombe transform with the sample's own noise.

    Black becomes 0 and white 1. The degraded image goes through the transform; the clean one becomes the
    mean of the transform over the noise, whose exact unbiased inverse is the clean image again. A restored image is
    transformed back automatically wherever it is measured, shown or written.
    Source: transforms/sensor/anscombe.py.
    """

    class_name: Literal["VarianceStabilization"] = "VarianceStabilization"
    noise_level: bool = False
    """Adds for each plane a further channel with the noise's standard deviation after the transform, the same number
    everywhere, since the transform takes away how strong the noise is. A network with noise_residual needs it."""

    @property
    def extra_channels(self) -> int:
        return RGGB.channels if self.noise_level else 0

    def metadata(self, metadata: RawMetadata) -> RawMetadata:
        shot, read = metadata.noise.shot, metadata.noise.read.clamp(min=LEAST_READ)
        shot = torch.maximum(shot.clamp(min=LEAST_SHOT), read * LEAST_RATIO)
        black, white = expected_anscombe(torch.stack([torch.zeros_like(shot), torch.ones_like(shot)]), shot, read)
        return metadata._replace(stabilization=Stabilization(shot, read, black, white))

    def network_input(self, degraded: Tensor, metadata: RawMetadata) -> Tensor:
        noise, dark, bright = _stabilization(metadata)
        stabilized = (anscombe(degraded, *noise) - dark) / (bright - dark)
        if not self.noise_level:
            return stabilized
        return torch.cat([stabilized, noise_deviation(degraded, metadata).expand_as(degraded)], dim=-3)

    def target(self, clean: Tensor, metadata: RawMetadata) -> Tensor:
        noise, dark, bright = _stabilization(metadata)
        return (expected_anscombe(clean, *noise) - dark) / (bright - dark)


class NoiseLevelMap(Conditioning):
    """Tells the network how strong the noise is: a further channel for each plane with its standard deviation.

    It is computed from the degraded image, as the clean one is unknown when restoring: sqrt(shot * max(x, 0) + read).
    Source: Brooks et al., Unprocessing Images for Learned Raw Denoising, CVPR 2019, section 4.
    """

    class_name: Literal["NoiseLevelMap"] = "NoiseLevelMap"

    @property
    def extra_channels(self) -> int:
        return RGGB.channels

    def network_input(self, degraded: Tensor, metadata: RawMetadata) -> Tensor:
        return torch.cat([degraded, noise_deviation(degraded, metadata)], dim=-3)


def noise_deviation(image: Tensor, metadata: RawMetadata) -> Tensor:
    """Standard deviation of the noise in each pixel of a raw image, by the image itself: 0 where there is no noise.

    image     (..., 4, h, w): a network's input, target or output, conditioned as the metadata say
    Returns (..., 4, h, w), or (..., 4, 1, 1) for a stabilised image, whose noise is the same everywhere.
    """
    shot, read = (values[..., None, None] for values in metadata.noise)
    if metadata.stabilization is None:
        return (shot * image.clamp(min=0) + read).sqrt()
    (assumed_shot, assumed_read), dark, bright = _stabilization(metadata)
    # The transform makes it 1 of the noise that it assumes, which is more than there is where there is next to none.
    share = (shot / 2 + read) / (assumed_shot / 2 + assumed_read)
    return share.sqrt() / (bright - dark)


def unconditioned_degraded(degraded: Tensor, metadata: RawMetadata | None, layout: Layout) -> Tensor:
    """A degraded image as recorded (..., channels, h, w), from the network's input (..., in_channels, h, w).

    Values so far below black that the Anscombe transform clips them become the smallest value that it keeps.
    An image that was not conditioned is returned unchanged.
    """
    image = degraded[..., : layout.channels, :, :]
    if metadata is None or metadata.stabilization is None:
        return image
    noise, dark, bright = _stabilization(metadata)
    return algebraic_inverse(dark + image * (bright - dark), *noise)


def unconditioned(image: Tensor, metadata: RawMetadata | None) -> Tensor:
    """A restored image, or a sample's clean one, in the unit in which it was recorded. Differentiable."""
    if metadata is None or metadata.stabilization is None:
        return image
    noise, dark, bright = _stabilization(metadata)
    return exact_unbiased_inverse(dark + image.float() * (bright - dark), *noise)


def _stabilization(metadata: RawMetadata) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
    """(shot, read) of the transform, and what black and white become. Each (..., 4, 1, 1)."""
    assert metadata.stabilization is not None, "VarianceStabilization sets it"
    shot, read, black, white = (values[..., None, None] for values in metadata.stabilization)
    return (shot, read), black, white
