"""Poisson and Gaussian noise as a DNG's NoiseProfile gives it: variance = shot * x + read.

Source: DNG specification 1.7, NoiseProfile; Android's camera documentation, SENSOR_NOISE_PROFILE, for IsoProfile.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import Generator

from options.base import Options
from transforms.noise.base import NoiseModel
from transforms.noise.draws import PerPlane, log_uniform, per_plane
from transforms.noise.sensor import SensorNoise

Share = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1: stronger noise would leave nothing of an image from 0 to 1."""
Constant = Annotated[float, Field(ge=-1, le=1)]


class IsoProfile(Options):
    """A camera's noise by ISO speed, as Android phones state it. The four constants are numbers, or four per plane.

    shot = max(0, A iso + B), read = max(0, C iso^2 + D g^2), g = max(1, iso / max_analog_iso) being the digital gain.
    """

    A: PerPlane[Constant]
    """Slope of shot [1]."""
    B: PerPlane[Constant]
    """Offset of shot [1]."""
    C: PerPlane[Constant]
    """Variance of the noise before the analog gain, at ISO 1 [1]."""
    D: PerPlane[Constant]
    """Variance of the noise behind the analog gain [1]."""
    max_analog_iso: Annotated[PositiveFloat, Field(le=10_000_000)]
    """ISO speed above which the gain is digital."""

    def noise(self, iso: float) -> SensorNoise:
        """The noise at this ISO speed."""
        slope, offset, before, behind = (per_plane(numbers).double() for numbers in (self.A, self.B, self.C, self.D))
        digital_gain = max(1, iso / self.max_analog_iso)
        shot = (slope * iso + offset).clamp(min=0)
        read = (before * iso**2 + behind * digital_gain**2).clamp(min=0)
        return SensorNoise(shot.to(torch.float32), read.to(torch.float32))


class Dng(NoiseModel):
    """Shot and read noise: of a typical camera at the ISO speed (shot 3e-3 and read 1e-5 at ISO 12500), of a known
    camera by iso_profile, or as given."""

    class_name: Literal["dng"] = "dng"
    shot: PerPlane[Share] | None = None
    """Slope of the variance per unit of signal [1]; null for 3e-3 * iso / 12500. A number, or four per plane."""
    read: PerPlane[Share] | None = None
    """Variance at black level [1]; null for 1e-5 * (iso / 12500)^2. A number, or four per plane."""
    iso_profile: IsoProfile | None = None
    """A camera's noise by ISO speed, in place of shot and read."""
    jitter: Annotated[float, Field(ge=1, le=100)] = 1.0
    """Largest factor by which shot and read of an image are stronger or weaker than that, each drawn log-uniformly: of
    a general model, 3 covers cameras of all makes. 1: none."""

    @model_validator(mode="after")
    def _says_it_once(self) -> "Dng":
        if self.iso_profile and (self.shot is not None or self.read is not None):
            raise ValueError("iso_profile and shot or read given; keep iso_profile, or the numbers")
        return self

    @property
    def heeds_iso(self) -> bool:
        return self.iso_profile is not None or self.shot is None or self.read is None

    def draw(self, iso: float, rng: Generator) -> SensorNoise:
        noise = self._typical(iso)
        if self.jitter == 1:
            return noise
        shot, read = (log_uniform(1 / self.jitter, self.jitter, rng) for _ in range(2))
        return SensorNoise(noise.shot * shot, noise.read * read)

    def _typical(self, iso: float) -> SensorNoise:
        if self.iso_profile:
            return self.iso_profile.noise(iso)
        # Shot noise grows as the gain, read noise as its square.
        gain = iso / 12500
        shot = 3e-3 * gain if self.shot is None else self.shot
        read = 1e-5 * gain**2 if self.read is None else self.read
        return SensorNoise(per_plane(shot), per_plane(read))
