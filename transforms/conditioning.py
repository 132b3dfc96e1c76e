"""What a raw network is shown instead of plain raw, and the way back from what it answers."""

from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from transforms.base import Transform
from transforms.sample import Sample
from transforms.sensor.anscombe import algebraic_inverse, anscombe, exact_unbiased_inverse, expected_anscombe

Facts = dict[str, Tensor]

PLANES = 4
STABILIZED_BY = "stabilized_by"
"""The fact (..., 2, 4) of a stabilised sample: shot and read of the transform that its images went through."""
LEAST_SHOT, LEAST_READ = 1e-6, 1e-12
"""Less noise than any sensor has: where a sample has none, the transform is that of these."""
LEAST_RATIO = 0.01
"""Of shot to read, that float32 can tell the transform's values apart; the variance at white is then off by 1 %."""


class Conditioning(Transform):
    """A transform of the raw sample that stands between RgbToRawTransform and ToTensor2.

    It changes what the network sees, not what was recorded: `degraded_to_raw` and `restored_to_raw` undo it.
    Images are (..., 4, h, w), and facts have the same leading shape.
    """

    extra_channels: ClassVar[int] = 0
    """Channels that it adds to the degraded image."""

    def __call__(self, sample: Sample, rng: Generator) -> Sample:
        facts = self.facts(sample.facts)
        return Sample(self.shown(sample.degraded, facts), self.target(sample.clean, facts), facts)

    def facts(self, facts: Facts) -> Facts:
        """The facts of the sample, with what undoing it takes."""
        return facts

    def shown(self, degraded: Tensor, facts: Facts) -> Tensor:
        """What the network sees of a degraded raw image."""
        raise NotImplementedError

    def target(self, clean: Tensor, facts: Facts) -> Tensor:
        """What the network is to answer where this is the clean raw image."""
        return clean


class VarianceStabilization(Conditioning):
    """Makes the noise equally strong everywhere: the generalised Anscombe transform with the sample's own noise.

    Black becomes 0 and white 1. The degraded image goes through the transform; the clean one becomes what the
    transform's mean over the noise is, so that the exact unbiased inverse of it is the clean image again. A restored
    image goes back the same way, by itself, wherever it is measured, shown or written.
    Source: transforms/sensor/anscombe.py.
    """

    class_name: Literal["VarianceStabilization"] = "VarianceStabilization"

    def facts(self, facts: Facts) -> Facts:
        read = facts["read"].clamp(min=LEAST_READ)
        profile = torch.maximum(facts["shot"].clamp(min=LEAST_SHOT), read * LEAST_RATIO), read
        return {**facts, STABILIZED_BY: torch.stack(profile, dim=-2)}

    def shown(self, degraded: Tensor, facts: Facts) -> Tensor:
        noise, dark, bright = _stabilization(facts)
        return (anscombe(degraded, *noise) - dark) / (bright - dark)

    def target(self, clean: Tensor, facts: Facts) -> Tensor:
        noise, dark, bright = _stabilization(facts)
        return (expected_anscombe(clean, *noise) - dark) / (bright - dark)


class NoiseLevelMap(Conditioning):
    """Tells the network how strong the noise is: four more channels with its standard deviation at each pixel.

    It is worked out from the degraded image, as the clean one is not known in use: sqrt(shot * max(x, 0) + read).
    Source: Brooks et al., Unprocessing Images for Learned Raw Denoising, CVPR 2019, section 4.
    """

    class_name: Literal["NoiseLevelMap"] = "NoiseLevelMap"
    extra_channels: ClassVar[int] = PLANES

    def shown(self, degraded: Tensor, facts: Facts) -> Tensor:
        shot, read = (facts[name][..., None, None] for name in ("shot", "read"))
        deviation = (shot * degraded.clamp(min=0) + read).sqrt()
        return torch.cat([degraded, deviation], dim=-3)


def degraded_to_raw(degraded: Tensor, facts: Facts) -> Tensor:
    """What the camera recorded of a conditioned sample (..., 4 or 8, h, w): linear raw (..., 4, h, w).

    Values so far below black that the Anscombe transform has no root for them come back as the least that it has.
    An image that was not conditioned comes back as it is.
    """
    if STABILIZED_BY not in facts:
        return degraded[..., :PLANES, :, :]
    noise, dark, bright = _stabilization(facts)
    return algebraic_inverse(dark + degraded * (bright - dark), *noise)


def restored_to_raw(restored: Tensor, facts: Facts) -> Tensor:
    """Linear raw (..., 4, h, w) of what the network answered, or of a sample's clean image. Differentiable."""
    if STABILIZED_BY not in facts:
        return restored
    noise, dark, bright = _stabilization(facts)
    return exact_unbiased_inverse(dark + restored.float() * (bright - dark), *noise)


def _stabilization(facts: Facts) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
    """(shot, read) of the transform, and what black and white become: means over the noise. Each (..., 4, 1, 1)."""
    shot, read = (values[..., None, None] for values in facts[STABILIZED_BY].unbind(-2))
    dark, bright = (expected_anscombe(torch.full_like(shot, signal), shot, read) for signal in (0, 1))
    return (shot, read), dark, bright
