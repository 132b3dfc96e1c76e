"""White Gaussian noise, and a mix of it with a camera's noise."""

from typing import Literal

from torch import Generator

from transforms.noise.base import NoiseModel
from transforms.noise.dng import Dng, Share
from transforms.noise.draws import choose, per_plane, uniform
from transforms.noise.sensor import SensorNoise


class Gaussian(NoiseModel):
    """Noise that is equally strong in every pixel."""

    class_name: Literal["gaussian"] = "gaussian"
    sigma: Share = 0.02
    """Standard deviation [1]; 0.02 is about that of a typical camera's middle grey at ISO 12500."""

    @property
    def heeds_iso(self) -> bool:
        return False

    def draw(self, iso: float, rng: Generator) -> SensorNoise:
        return SensorNoise(per_plane(0), per_plane(self.sigma**2))


class Mixed(NoiseModel):
    """For a denoiser that is not told the noise level. Each image gets one of three kinds, equally likely: the noise of
    a typical camera at iso * factor, white Gaussian noise of sigma * factor, or both. factor is uniform, 1 to 1.5."""

    class_name: Literal["mixed"] = "mixed"
    sigma: Share = 0.02
    """Standard deviation [1] of the white Gaussian noise."""

    def draw(self, iso: float, rng: Generator) -> SensorNoise:
        factor = uniform(1, 1.5, rng)
        camera = Dng().draw(iso * factor, rng)
        white = Gaussian(sigma=self.sigma * factor).draw(iso, rng)
        kind = choose(["camera", "white", "both"], rng)
        if kind == "both":
            return SensorNoise(camera.shot, camera.read + white.read)
        return camera if kind == "camera" else white
