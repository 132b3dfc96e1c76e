"""A raw file and its restored mosaic: what all writers of raw files and pictures take."""

from typing import NamedTuple

import numpy as np

from restore.camera.raw_file import RawFile, sites
from transforms.sensor.bayer import Pattern
from transforms.sensor.metadata import NoiseProfile


class RestoredRaw(NamedTuple):
    """A raw file and what a model made of it.

    Both mosaics have the same outer edges, so that every area of the source is s times as far from them and as large.
    """

    source: RawFile
    mosaic: np.ndarray
    """(s * H, s * W) float32, linear, 0 black, 1 white, not clipped: the visible area restored at s times each side."""
    pattern: Pattern
    """Of the mosaic."""
    strength: float
    """0 to 1: how much of what the model changes was applied."""
    noise: NoiseProfile
    """Of the source."""
    noise_from: str
    """Where the noise was taken from."""
    noise_left: float | None
    """Variance of the noise left / of the source's noise; None where it is not known."""

    @property
    def scale(self) -> int:
        """s."""
        return len(self.mosaic) // len(self.source.data)


def noise_left(
    linear: np.ndarray, restored: np.ndarray, source: RawFile, noise: NoiseProfile, strength: float
) -> float:
    """Variance of the noise left in (1 - strength) * linear + strength * restored / variance of the noise.

    linear, restored  the mosaic before and after the model, (H, W)
    The noise of a restored image is taken to be uncorrelated with what was removed, as it is of the best estimate: the
    variances of what was removed and of what is left then add up to that of the noise.
    """
    removed = expected = 0.0
    for (row, column), shot, read in zip(sites(source.pattern), *(values.tolist() for values in noise), strict=True):
        signal = linear[row::2, column::2]
        removed += float(np.square(signal - restored[row::2, column::2]).sum(dtype=np.float64))
        expected += float((shot * signal.clip(min=0) + read).sum(dtype=np.float64))
    share = min(1.0, removed / expected) if expected > 0 else 1.0
    return 1 - (2 * strength - strength**2) * share
