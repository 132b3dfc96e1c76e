"""The shape of the Tukey lambda distribution of read noise. Below 0.14 its tails are heavier than a Gaussian's.

Its quantile function is (p^shape - (1 - p)^shape) / shape. Source: Wei et al., A Physics-based Noise Formation Model
for Extreme Low-light Raw Denoising (ELD), CVPR 2020, who fit the shape with a probability plot as well.
"""

import numpy as np
from scipy.optimize import minimize_scalar

GAUSSIAN = 0.14
"""The shape that is nearest to a Gaussian."""
SHAPES = (-0.3, 0.4)
"""Range of the search. Below -0.3 the variance comes from few outliers, rarer than 24 random bits can draw."""
TOLERANCE = 0.03
"""A shape no further than this from GAUSSIAN is taken for Gaussian: the difference is not visible in an image."""
GRID = 2**16
"""Points at which the density is computed."""


def tukey_shape(differences: np.ndarray) -> float | None:
    """The shape with the highest probability plot correlation coefficient (PPCC); None where the noise is Gaussian.

    differences  (n,), each of two values with the noise whose shape is wanted; any unit. A difference is free of the
                 fixed pattern noise of a single frame. It is not Tukey lambda distributed itself, so it is compared
                 with the difference of two Tukey lambda values.
    """
    ordered = np.sort(differences)
    probabilities = (np.arange(ordered.size) + 0.5) / ordered.size

    def one_minus_ppcc(shape: float) -> float:
        return 1 - np.corrcoef(ordered, _difference_quantiles(shape, probabilities))[0, 1]

    shape = float(minimize_scalar(one_minus_ppcc, bounds=SHAPES, method="bounded", options={"xatol": 1e-3}).x)
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
