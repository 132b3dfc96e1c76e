"""The shape of read noise: the Tukey lambda distribution, whose tails are heavier than a Gaussian's below shape 0.14.

Its quantile function is (p^shape - (1 - p)^shape) / shape. Source: Wei et al., A Physics-based Noise Formation Model
for Extreme Low-light Raw Denoising (ELD), CVPR 2020, who find the shape by the probability plot too.
"""

import numpy as np
from scipy.optimize import minimize_scalar

GAUSSIAN = 0.14  # the shape that is nearest to a Gaussian
SHAPES = (-0.3, 0.4)  # below -0.3 a few outliers make the variance, more than 24 random bits can give
TOLERANCE = 0.03  # a shape this near to GAUSSIAN makes no difference that a picture shows
GRID = 2**16


def tukey_shape(differences: np.ndarray) -> float | None:
    """The shape whose probability plot is straightest (PPCC), or None where a Gaussian does as well.

    differences  (n,) of two values each, both with the noise whose shape is wanted; any unit. A difference is free of
                 the fixed pattern that a single frame shows, but is not Tukey lambda distributed itself, so that it is
                 compared with the difference of two such values.
    """
    ordered = np.sort(differences)
    probabilities = (np.arange(ordered.size) + 0.5) / ordered.size

    def crookedness(shape: float) -> float:
        return 1 - np.corrcoef(ordered, _difference_quantiles(shape, probabilities))[0, 1]

    shape = float(minimize_scalar(crookedness, bounds=SHAPES, method="bounded", options={"xatol": 1e-3}).x)
    return None if abs(shape - GAUSSIAN) < TOLERANCE else shape


def _difference_quantiles(shape: float, probabilities: np.ndarray) -> np.ndarray:
    """Quantiles of the difference of two independent Tukey lambda values, by convolution of their density."""
    odds = np.linspace(-25, 25, GRID)  # evenly spaced in log odds, so that both tails are resolved
    p, q = 1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(odds))
    values = (p**shape - q**shape) / shape if shape else odds
    reach = values[-1] * 1.01
    x = np.linspace(-reach, reach, GRID)
    density = np.interp(x, values, 1 / (p ** (shape - 1) + q ** (shape - 1)), left=0, right=0)
    spectrum = np.fft.rfft(density, 2 * GRID)
    sums = np.clip(np.fft.irfft(spectrum**2)[:-1], 0, None)  # the density is symmetric: a difference is a sum
    distribution = np.cumsum(sums) - sums / 2
    return np.interp(probabilities, distribution / sums.sum(), 2 * np.linspace(-reach, reach, sums.size))
