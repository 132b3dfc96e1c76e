"""What is known of a raw image beside its pixels: its camera and its noise."""

from typing import NamedTuple

import torch
from torch import Tensor

from transforms.sensor.cameras import Camera


class NoiseProfile(NamedTuple):
    """The line variance = shot * x + read of a raw image's noise, as a DNG's NoiseProfile has it.

    x is the signal, from 0 black to 1 white.
    """

    shot: Tensor
    """(..., 4): slope for R, G1, G2, B [1]; NaN where the noise is not known."""
    read: Tensor
    """(..., 4): variance at black [1]; NaN where the noise is not known."""

    @property
    def known(self) -> bool:
        return bool(torch.isfinite(self.shot).all() and torch.isfinite(self.read).all())

    @classmethod
    def unknown(cls) -> "NoiseProfile":
        """Of one image, (4,)."""
        return cls(torch.full((4,), torch.nan), torch.full((4,), torch.nan))

    def scaled(self, gain: float) -> "NoiseProfile":
        """The noise of the image times gain."""
        return NoiseProfile(self.shot * gain, self.read * gain**2)


class RawMetadata(NamedTuple):
    """What travels with a raw image, from its file to the batch and back to a file."""

    camera: Camera
    noise: NoiseProfile
    stabilization: NoiseProfile | None = None
    """Of the Anscombe transform that its images went through; None: they went through none."""
