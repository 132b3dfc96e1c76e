"""Shot and read noise drawn as Brooks et al. draw them.

Source: Brooks et al., Unprocessing Images for Learned Raw Denoising, CVPR 2019, section 3.1. Logarithms are natural.
"""

from math import exp, log
from typing import Literal

from torch import Generator

from transforms.noise.base import NoiseModel
from transforms.noise.draws import log_uniform, normal, per_plane
from transforms.noise.sensor import SensorNoise


class Unprocessing(NoiseModel):
    """ln shot uniform from ln 1e-4 to ln 0.012; ln read normal about 2.18 ln shot + 1.20, with a deviation of 0.26."""

    class_name: Literal["unprocessing"] = "unprocessing"

    @property
    def heeds_iso(self) -> bool:
        return False

    def draw(self, iso: float, rng: Generator) -> SensorNoise:
        shot = log_uniform(1e-4, 0.012, rng)
        read = exp(normal(2.18 * log(shot) + 1.20, 0.26, rng))
        return SensorNoise(per_plane(shot), per_plane(read))
