"""The noise of an image sensor: what it is made of, and adding it to a clean raw image.

Sources: DNG specification 1.7, NoiseProfile, for variance = shot * x + read; Wei et al., A Physics-based Noise
Formation Model for Extreme Low-light Raw Denoising, CVPR 2020, for everything else.
"""

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from transforms.noise.poisson import add_shot_and_read_noise
from transforms.noise.tukey_lambda import tukey_lambda
from transforms.sensor.metadata import NoiseProfile, map_tensors


class SensorNoise(NamedTuple):
    """The noise of a raw image or of a batch of them: one number for each plane R, G1, G2, B, all of shape (..., 4).

    Signals are linear, 0 = black level, 1 = white level.
    """

    shot: Tensor
    """Slope of the variance per unit of signal [1]; it is also the signal of one electron."""
    read: Tensor
    """Variance of the read noise [1], without row noise and quantisation."""
    tukey_shape: Tensor | None = None
    """Shape of the read noise's Tukey-lambda distribution, -0.3 or above; None: it is Gaussian."""
    row_noise: Tensor | None = None
    """Standard deviation [1] of what all pixels of a row have in common; None: 0."""
    step: Tensor | None = None
    """Step of the quantisation [1]; None: there is none."""
    colour_bias: Tensor | None = None
    """Offset of the black level [1]; None: 0."""

    def profile(self) -> NoiseProfile:
        """The line variance = shot * x + read, read being the whole variance at black level."""
        read = self.read
        if self.row_noise is not None:
            read = read + self.row_noise.square()
        if self.step is not None:
            read = read + self.step.square() / 12
        return NoiseProfile(self.shot, read)


def add_noise(clean: Tensor, noise: SensorNoise, rng: Generator) -> Tensor:
    """What the sensor records of a clean raw image. Nothing is clipped: values below 0 are as a sensor gives them.

    clean  (..., 4, h, w) float32, linear, 0 = black level to 1 = white level; the result has its shape and unit
    noise  (..., 4), of the same leading shape, or of one that broadcasts to it; on the CPU, so that nothing waits for
           the device of clean, or there
    rng    on the device of clean
    A signal of 0 or below has no shot noise.
    """
    noise = map_tensors(noise, lambda values: values[..., None, None])
    gaussian = noise.read if noise.tukey_shape is None else torch.zeros_like(noise.read)
    degraded = add_shot_and_read_noise(clean, noise.shot, gaussian, rng)
    noise = map_tensors(noise, lambda values: values.to(clean, non_blocking=True))
    if noise.tukey_shape is not None:
        degraded += noise.read.sqrt() * tukey_lambda(clean.shape, noise.tukey_shape, rng)
    if noise.row_noise is not None:
        degraded += row_noise(clean, noise.row_noise, rng)
    if noise.step is not None:
        # Uniform, as in the ELD model: so rounding errors are distributed where other noise is half a step or more.
        degraded += noise.step * (torch.rand(clean.shape, generator=rng, device=clean.device) - 0.5)
    if noise.colour_bias is not None:
        degraded += noise.colour_bias
    return degraded


def row_noise(image: Tensor, deviation: Tensor, rng: Generator) -> Tensor:
    """What all pixels of a row have in common: Gaussian, (..., 4, h, 1).

    image      (..., 4, h, w), whose rows, device and type it is for
    deviation  (..., 4, 1, 1) standard deviation, in the image's unit
    """
    # R and G1 lie in one row of the mosaic, G2 and B in the next.
    rows = torch.randn((*image.shape[:-3], 2, image.shape[-2], 1), generator=rng, device=image.device)
    return deviation * rows.repeat_interleave(2, dim=-3)
