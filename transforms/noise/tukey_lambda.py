"""The Tukey-lambda distribution: longer tails than Gaussian for shapes below 0.14, shorter ones above.

Source: Joiner and Rosenblatt, Some properties of the range in samples from Tukey's symmetric lambda distributions,
Journal of the American Statistical Association 66, 1971. Quantile: (p^shape - (1 - p)^shape) / shape.
"""

import torch
from torch import Generator, Tensor

LEAST_SHAPE = 1e-4
"""Shapes closer to 0, where the formulas are 0 / 0, count as this one: their quantiles differ by a ten-thousandth."""


def tukey_lambda(size: torch.Size, shape: Tensor, rng: Generator) -> Tensor:
    """Numbers of mean 0 and standard deviation 1. shape is that of the distribution: it broadcasts to size, and is
    -0.3 or above. Below that, outliers too rare for 24 random bits would make up a part of the variance."""
    shape = _not_0(shape)
    # rand gives 0 but never 1. 0 becomes half a step of the random numbers, so that both logarithms are finite.
    probability = torch.rand(size, generator=rng, device=rng.device).clamp_(min=2**-25)
    upper = torch.log1p(-probability).mul_(shape).expm1_()
    return probability.log_().mul_(shape).expm1_().sub_(upper).div_(shape * unit_deviation(shape))


def unit_deviation(shape: Tensor) -> Tensor:
    """The standard deviation of the distribution of scale 1, whose quantile is the formula above."""
    shape = _not_0(shape).double()
    ratio = torch.exp(2 * torch.lgamma(shape + 1) - torch.lgamma(2 * shape + 2))
    return (2 / shape.square() * (1 / (1 + 2 * shape) - ratio)).sqrt().float()


def _not_0(shape: Tensor) -> Tensor:
    return torch.where(shape.abs() < LEAST_SHAPE, LEAST_SHAPE, shape)
