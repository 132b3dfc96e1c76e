"""The noise of a raw tile, estimated by operations that a graph can hold, for programs that do not tell it.

The method is that of restore/camera/noise_estimate.py: in small blocks the noise is measured by differences that a
slope does not change, and at each brightness the quietest blocks show it.
"""

import torch
from scipy.stats import chi2
from torch import Tensor, nn

from restore.camera.noise_estimate import BINS, BLOCK, CLIPPED, FREEDOM, LEAST, QUIET
from transforms.conditioning import LEAST_READ, LEAST_SHOT

UNUSABLE = 1e9
"""In place of the mean or the variance of a block that tells nothing, which sorts behind all others."""


class NoiseEstimate(nn.Module):
    """shot and read of a tile, (1, 4, H, W) -> 2 x (4,), the same numbers for all planes, finite for any finite tile.

    It is written with sides that are known when the graph is made; H and W are multiples of 8, together 400 blocks or
    more.
    """

    def forward(self, tile: Tensor) -> tuple[Tensor, Tensor]:
        levels, variances, weights = _bins(tile)
        # The line that fits best where each variance is known to the same share of itself: least squares, each weighed
        # with 1 / variance^2, about the means, so that float32 is enough where a tile has one brightness alone.
        weights = weights * (variances.min() / variances).square()
        total = weights.sum().clamp(min=1e-9)
        level, variance = (weights * levels).sum() / total, (weights * variances).sum() / total
        spread = (weights * (levels - level).square()).sum().clamp(min=1e-20)
        slope = (weights * (levels - level) * (variances - variance)).sum() / spread
        at_black = variance - slope * level
        # Neither may be negative; where one would be, the other alone fits best.
        through_black = (weights * levels * variances).sum() / (weights * levels.square()).sum().clamp(min=1e-20)
        shot = torch.where(at_black < 0, through_black, slope.clamp(min=0))
        read = torch.where(slope < 0, variance, at_black.clamp(min=0))
        usable = weights.sum() > 0
        shot, read = (torch.where(usable, found, 0.0) for found in (shot, read))
        # Of a tile without noise, as one that is clipped all over, the least that a conditioning computes with.
        return shot.clamp(min=LEAST_SHOT).expand(4), read.clamp(min=LEAST_READ).expand(4)


def _bins(tile: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of the blocks of each brightness: their mean, the variance of the noise, and 1, or 0 where too few tell it."""
    height, width = tile.shape[-2:]
    whole = tile.reshape(4, height // BLOCK, BLOCK // 2, 2, width // BLOCK, BLOCK // 2, 2)
    top_left, top_right = whole[:, :, :, 0, :, :, 0], whole[:, :, :, 0, :, :, 1]
    bottom_left, bottom_right = whole[:, :, :, 1, :, :, 0], whole[:, :, :, 1, :, :, 1]
    means = whole.mean((2, 3, 5, 6)).flatten()
    variances = ((top_left - top_right - bottom_left + bottom_right) / 2).square().mean((2, 4)).flatten()
    usable = (means < CLIPPED) & (variances > 0)
    size = len(means) // min(BINS, len(means) // LEAST)
    order = torch.where(usable, means, UNUSABLE).argsort()[: len(means) // size * size]
    means, variances, usable = (values[order].view(-1, size) for values in (means, variances, usable.float()))
    count = usable.sum(1)
    levels = ((means * usable).sum(1) / count.clamp(min=1)).clamp(min=0)
    quiet = torch.where(usable > 0, variances, UNUSABLE).sort(1).values
    place = (QUIET * (count - 1)).clamp(min=0).long()
    found = quiet.gather(1, place[:, None])[:, 0] * (FREEDOM / float(chi2.ppf(QUIET, FREEDOM)))
    return levels, found, (count >= LEAST).float()
