"""Sensor noise by the DNG model.

Source: DNG specification 1.7, NoiseProfile: variance = shot * x + read for the linear value x, 0 black to 1 white.
"""

import torch
from torch import Generator, Tensor


def dng_profile(iso: float) -> tuple[float, float]:
    """(shot, read) of a fair camera at this ISO speed: shot noise grows as the gain, read noise as its square."""
    gain = iso / 12500
    return 3e-3 * gain, 1e-5 * gain**2


def add_noise(clean: Tensor, shot: float, read: float, rng: Generator) -> Tensor:
    """Gaussian noise of variance shot * clean + read. Nothing is clipped: values below 0 are as a sensor gives them.

    clean  any shape, linear, 0 = black level to 1 = white level; the result has its shape and unit
    """
    deviation = (clean * shot + read).sqrt_()
    return torch.randn(clean.shape, generator=rng).mul_(deviation).add_(clean)
