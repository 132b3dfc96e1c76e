"""The blocks of a burst of frames: which of them are static, and how their variance over time goes with brightness."""

from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from options.errors import UserError
from restore.camera.calibration.photon_transfer import HIGHEST, Pairs, fit_line

BLOCK = 8
"""Side of a block in the plane of one colour [px]."""
BINS = 24
"""Levels of brightness, at most; each has as many blocks."""
FEWEST_BLOCKS = 20
"""Of a level."""
QUIET = 0.25
"""Share of the blocks of one brightness that is taken for free of motion at first."""
FAR = 5
"""Blocks whose variance is further from the line are left out [standard deviations]."""
STATIC = 0.5
"""Share of the blocks that must be near the line, in each colour."""
TOGETHER = 1.5
"""The variance of the mean of 2 x 2 pixels is a quarter of a pixel's where noise makes it, little more of row noise,
and up to all of it where a texture moves. What is larger than a quarter by more than this factor is no noise."""


class Blocks(NamedTuple):
    """Blocks of each plane, each array (C, k)."""

    mean: np.ndarray
    """[DN]."""
    variance: np.ndarray
    """Over time [DN^2]."""
    pooled_variance: np.ndarray
    """Of the mean of 2 x 2 pixels over time [DN^2]."""
    at_zero: np.ndarray
    """Share of values at 0."""
    saturates: np.ndarray
    """Whether any value is at white."""


def static_levels(blocks: Blocks, white: float, black: np.ndarray, frames: int) -> tuple[Pairs, np.ndarray]:
    """The levels of brightness of the static blocks, and the share of blocks (C,) that is not static."""
    freedom = (frames - 1) * BLOCK**2
    usable = ~blocks.saturates & (blocks.mean - black[:, None] <= HIGHEST * (white - black[:, None]))
    static = []
    for channel, chosen in enumerate(usable):
        if chosen.sum() < 3 * FEWEST_BLOCKS:
            raise UserError(
                f"burst: {int(chosen.sum())} blocks of {BLOCK} x {BLOCK} pixels of one colour do not saturate, and "
                f"{3 * FEWEST_BLOCKS} are needed; give larger frames, or expose less"
            )
        if not blocks.variance[channel, chosen].any():
            raise UserError("burst: the frames do not differ; give different ones, as the camera recorded them")
        mean, variance = blocks.mean[channel, chosen], blocks.variance[channel, chosen]
        static.append(_static(mean - black[channel], variance, freedom))
    left_out = np.array([1 - kept.mean() for kept in static])
    if (worst := left_out.max()) > 1 - STATIC:
        raise UserError(
            f"burst: the frames do not match: {worst:.0%} of the picture changes from frame to frame; give frames of a "
            f"scene without motion, from a tripod"
        )
    for channel, (chosen, kept) in enumerate(zip(usable, static, strict=True)):
        pooled, single = (values[channel, chosen][kept].sum() for values in (blocks.pooled_variance, blocks.variance))
        if 4 * pooled > TOGETHER * single:
            raise UserError(
                "burst: the frames do not match: neighbouring pixels change together from frame to frame; give frames "
                "of a scene without motion, from a tripod, as the camera recorded them"
            )
    count = min(BINS, min(int(kept.sum()) for kept in static) // FEWEST_BLOCKS)
    columns = []
    for channel, (chosen, kept) in enumerate(zip(usable, static, strict=True)):
        table = np.stack([blocks.mean, blocks.variance, blocks.at_zero])[:, channel, chosen][:, kept]
        parts = np.array_split(table[:, np.argsort(table[0])], count, axis=1)
        columns.append([part.mean(1) for part in parts])
    mean, variance, at_zero = np.transpose(columns, (2, 1, 0))
    return Pairs(mean, variance, np.zeros_like(mean), at_zero, np.zeros_like(mean)), left_out


def _static(signal: np.ndarray, variance: np.ndarray, freedom: int) -> np.ndarray:
    """(k,): which blocks are near the line, from their signal and variance (k,).

    freedom  degrees of freedom of each variance, whose standard deviation is sqrt(2 / freedom) of itself
    """
    order = np.argsort(signal)
    parts = np.array_split(order, min(BINS, len(signal) // FEWEST_BLOCKS))
    quiet = [np.quantile(variance[part], QUIET) * freedom / chi2.ppf(QUIET, freedom) for part in parts]
    line = fit_line(np.array([signal[part].mean() for part in parts]), np.array(quiet))
    far = FAR * np.sqrt(2 / freedom)
    for _ in range(3):
        expected = (line.slope * signal + line.intercept).clip(min=1e-12)
        near = np.abs(variance / expected - 1) < far
        if near.sum() < 3 * FEWEST_BLOCKS:
            break
        kept = [part[near[part]] for part in parts]
        kept = [part for part in kept if part.size]
        line = fit_line(
            np.array([signal[part].mean() for part in kept]), np.array([variance[part].mean() for part in kept])
        )
    return near
