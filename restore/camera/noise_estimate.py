"""The noise of a single raw file, estimated from the file itself, where nothing else tells it.

In small blocks the noise is measured by differences that a slope does not change. Texture only adds to them, so that at
each brightness the quietest blocks show the noise. After Foi et al., Practical Poissonian-Gaussian noise modeling and
fitting for single-image raw-data, IEEE Transactions on Image Processing 2008, with quantiles in place of its
segmentation.
"""

import numpy as np
import torch
from scipy.optimize import nnls
from scipy.stats import chi2

from restore.camera.raw_file import RawFile, sites
from transforms.sensor.metadata import NoiseProfile

BLOCK = 8
"""Side of a block in the plane of one colour [px]."""
FREEDOM = BLOCK * BLOCK // 4
"""Differences of a block: one of each 2 x 2 pixels, so that they are independent."""
QUIET = 0.03
"""Share of the blocks of one brightness that counts as free of texture."""
BINS = 24
LEAST = 50
"""Blocks of a bin, at least."""
CLIPPED = 0.9
"""Mean above which blocks may be clipped; white is 1."""


def estimate_noise(source: RawFile) -> NoiseProfile:
    """The noise of a raw file, the same line for all colours; unknown where it has too few pixels or shows no noise.

    The finer the texture and the weaker the noise, the more it is overestimated: in pictures of half a megapixel the
    standard deviation by up to 15 % at shot = 3e-3 (read 1e-5), and 25 % at 1e-3 (1e-6).
    """
    mosaic = source.linear()
    blocks = [_blocks(mosaic[row::2, column::2]) for row, column in sites(source.pattern)]
    means, variances = np.concatenate(blocks, axis=1)
    usable = (means < CLIPPED) & (variances > 0)
    means, variances = means[usable], variances[usable]
    bins = min(BINS, len(means) // LEAST)
    if bins < 2:
        return NoiseProfile.unknown()
    parts = np.array_split(np.argsort(means), bins)
    levels = np.array([means[part].mean() for part in parts]).clip(min=0)
    quiet = np.array([np.quantile(variances[part], QUIET) for part in parts]) * FREEDOM / chi2.ppf(QUIET, FREEDOM)
    # The line that fits best where each variance is known to the same share of itself.
    (shot, read), _ = nnls(np.stack([levels, np.ones(bins)], axis=1) / quiet[:, None], np.ones(bins))
    return NoiseProfile(torch.full((4,), float(shot)), torch.full((4,), float(read)))


def _blocks(plane: np.ndarray) -> np.ndarray:
    """(2, blocks) mean and variance of the noise of each block."""
    height, width = (side // BLOCK for side in plane.shape)
    whole = plane[: height * BLOCK, : width * BLOCK].reshape(height, BLOCK // 2, 2, width, BLOCK // 2, 2)
    (top_left, top_right), (bottom_left, bottom_right) = whole.transpose(2, 5, 0, 3, 1, 4)
    differences = (top_left - top_right - bottom_left + bottom_right) / 2
    return np.stack([whole.mean((1, 2, 4, 5)), np.square(differences).mean((2, 3))]).reshape(2, -1)
