"""The generalised Anscombe transform: noise of any variance line made noise of standard deviation 1, and back.

For a signal z of variance shot * z + read. Below, D is what the transform gives, and a signal is 0 at black level.
Sources: Starck, Murtagh and Bijaoui, Image Processing and Data Analysis, 1998, equation 2.8, for the transform;
Makitalo and Foi, Optimal inversion of the generalized Anscombe transformation for Poisson-Gaussian noise, IEEE
Transactions on Image Processing 22, 2013, for the inverse in closed form.
All functions take tensors that broadcast against one another, shot and read being positive.
"""

from math import sqrt

import torch
from torch import Tensor

ROOT = sqrt(1.5)
STEPS = 6  # of Newton's method: float32 is exhausted after five, also at the darkest signals


def anscombe(signal: Tensor, shot: Tensor, read: Tensor) -> Tensor:
    """D = 2 / shot * sqrt(shot * signal + 3/8 shot^2 + read), 0 where the root is of less."""
    return 2 / shot * (shot * signal + _offset(shot, read)).clamp(min=0).sqrt()


def algebraic_inverse(stabilized: Tensor, shot: Tensor, read: Tensor) -> Tensor:
    """The signal whose transform this is. Of a mean of D it makes too dark a signal, since the transform is concave."""
    return shot * stabilized.square() / 4 - _offset(shot, read) / shot


def exact_unbiased_inverse(stabilized: Tensor, shot: Tensor, read: Tensor) -> Tensor:
    """The signal, at least 0, of which noise makes D with this mean: what a denoised D means."""
    darkest = expected_anscombe(torch.zeros_like(shot), shot, read)  # below it the closed form rises again
    reciprocal = 1 / torch.maximum(stabilized, darkest)
    return (algebraic_inverse(1 / reciprocal, shot, read) + shot * _correction(reciprocal)).clamp(min=0)


def expected_anscombe(signal: Tensor, shot: Tensor, read: Tensor) -> Tensor:
    """The mean of D over the noise of a clean signal, at least 0: what exact_unbiased_inverse is the inverse of."""
    signal = signal.clamp(min=0)
    # Newton's method for algebraic_inverse(D) + shot * correction(1 / D) = signal, begun on its flat side.
    stabilized = anscombe(signal, shot, read)
    for _ in range(STEPS):
        reciprocal = 1 / stabilized
        excess = algebraic_inverse(stabilized, shot, read) + shot * _correction(reciprocal) - signal
        slope = shot * (stabilized / 2 - reciprocal.square() * _correction_slope(reciprocal))
        stabilized = stabilized - excess / slope
    return stabilized


def _offset(shot: Tensor, read: Tensor) -> Tensor:
    return 0.375 * shot.square() + read


def _correction(reciprocal: Tensor) -> Tensor:
    """What the exact unbiased inverse adds to the algebraic one [electrons], by 1 / D."""
    return 0.25 + reciprocal * (ROOT / 4 + reciprocal * (-11 / 8 + reciprocal * (5 / 8 * ROOT)))


def _correction_slope(reciprocal: Tensor) -> Tensor:
    return ROOT / 4 + reciprocal * (-11 / 4 + reciprocal * (15 / 8 * ROOT))
