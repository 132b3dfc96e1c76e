"""What the charts without an edge show: the modulation of waves, the noise of a ramp, the colours of patches."""

from typing import NamedTuple

import numpy as np
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from restore.chart.edge import PLANES, crossing
from restore.chart.patterns import COLUMNS, GREY, ROWS, STOPS, Pattern, places
from restore.evaluation.metrics import bias
from transforms.sensor.cameras import NEUTRAL
from transforms.sensor.layout import RGGB
from transforms.sensor.unprocessing import process

EDGES = np.geomspace(0.03, 0.5, 17)
FREQUENCIES = np.sqrt(EDGES[1:] * EDGES[:-1])
"""The middle of each step of frequency in which waves are measured [cycles/px]."""
LONGEST_LAG = 48
"""Of the autocorrelation [px]."""
GREY_STOP = round(-STOPS[0] - 0.5)
"""Of the ramp, the stop whose middle is GREY."""


class RampNoise(NamedTuple):
    """How an image of a ramp differs from the clean one."""

    light: np.ndarray
    """(stops,) mean light of each stop of the ramp, 1 being white."""
    noise: np.ndarray
    """(stops,) standard deviation of green there, in units of the light."""
    bias: np.ndarray
    """(stops,) how much brighter green is there on average, in units of the light."""
    lag: np.ndarray
    """(n,) distance of two sites of a plane, from 0 [px]."""
    along_rows: np.ndarray
    """(n,) autocorrelation of the residual at that distance, 1 at 0; NaN of an image without residual."""
    along_columns: np.ndarray

    @property
    def correlation_length(self) -> float:
        """Where the mean of both autocorrelations falls to 1/e, by linear interpolation [px]: at 1.26 of white noise,
        which is 0 from the next site on, and later of coarser noise. NaN where it does not fall so far."""
        return crossing(self.lag, (self.along_rows + self.along_columns) / 2, np.exp(-1))


class PatchColours(NamedTuple):
    """How the colours of the patches differ from the clean ones; of 24, in the order of PATCHES."""

    srgb: np.ndarray
    """(24, 3) of the patches' means, rendered, 0 to 1."""
    delta_e: np.ndarray
    """(24,) CIE DE2000 of these from the clean ones'."""
    bias: np.ndarray
    """(4,) how much brighter each of R, G1, G2, B is on average, in units of its mean."""


def measure_waves(raw: Tensor, pattern: Pattern, contrast: float, strength: float = 1.0) -> np.ndarray:
    """The modulation of green in a packed raw image (4, h, h) of a sinusoidal chart, at FREQUENCIES: (16,).

    It is the amplitude, in units of the light's before the lens, of the wave that fits the image best among those in
    phase with the chart. Noise alone has 0 on average, since it has no such phase; a wave that has moved has less.

    strength  of the waves that are measured, as the pattern has it
    """
    steps = len(FREQUENCIES)
    sums = np.zeros((5, steps))
    for plane in PLANES["G"]:
        values = raw[plane].double().cpu().numpy()
        waves = pattern(*places(plane, 2 * raw.shape[-1]), 2 * raw.shape[-1])
        step = np.searchsorted(EDGES, waves.frequency) - 1
        chosen = (step >= 0) & (step < steps) & (waves.strength == strength)
        seen, wave = values[chosen], np.cos(waves.phase[chosen])
        for row, terms in enumerate((np.ones_like(seen), wave, wave * wave, seen, wave * seen)):
            sums[row] += np.bincount(step[chosen], terms, steps)
    count, wave, square, seen, product = sums
    slope = (count * product - wave * seen) / (count * square - wave * wave)
    return slope / (GREY * contrast * strength)


def measure_ramp(raw: Tensor, clean: Tensor) -> RampNoise:
    """Compares an image of the ramp with the clean one, both packed (4, h, h).

    All sites of a column have the same light: their mean tells the bias, and the rest is noise. For the autocorrelation
    each column of each plane is divided by its standard deviation, so that no brightness outweighs others.
    """
    error = (raw - clean).double().cpu().numpy()
    mean = error.mean(1, keepdims=True)
    residual = error - mean
    green = list(PLANES["G"])
    stops = np.arange(raw.shape[-1]) * round(STOPS[1] - STOPS[0]) // raw.shape[-1]

    def by_stop(columns: np.ndarray) -> np.ndarray:
        return np.bincount(stops, columns) / np.bincount(stops)

    light = by_stop(clean[green].double().mean((0, 1)).cpu().numpy())
    deviation = np.sqrt(by_stop((residual[green] ** 2).mean((0, 1))))
    along_rows, along_columns = autocorrelation(residual / np.maximum(residual.std(1, keepdims=True), 1e-12))
    lag = RGGB.cell * np.arange(len(along_rows))
    brighter = by_stop(mean[green, 0].mean(0))
    return RampNoise(light, deviation / light, brighter / light, lag, along_rows, along_columns)


def autocorrelation(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The autocorrelation of planes (n, h, w) of mean 0 along their rows and along their columns, the planes' mean.

    Each is (lags,), at distances of 0, 1, ... sites up to LONGEST_LAG px: 1 at 0, and NaN of planes of zeros.
    """
    lags = range(LONGEST_LAG // RGGB.cell + 1)
    height, width = planes.shape[-2:]
    rows = [(planes[..., : width - lag] * planes[..., lag:]).mean() for lag in lags]
    columns = [(planes[:, : height - lag] * planes[:, lag:]).mean() for lag in lags]
    power = rows[0] or np.nan
    return np.array(rows) / power, np.array(columns) / power


def measure_patches(raw: Tensor, clean: Tensor) -> PatchColours:
    """Compares the colours of an image of the patches with the clean ones, both packed (4, h, h).

    Each patch is averaged in linear raw, within its middle half, and the mean is rendered.
    """
    srgb, meant = patch_colours(raw), patch_colours(clean)
    return PatchColours(srgb, deltaE_ciede2000(rgb2lab(meant), rgb2lab(srgb)), bias(raw, clean).numpy())


def patch_colours(raw: Tensor) -> np.ndarray:
    """(24, 3) sRGB, 0 to 1: the rendered means of the patches in a packed raw image (4, h, h)."""
    height, width = raw.shape[-2] // ROWS, raw.shape[-1] // COLUMNS
    means = []
    for row, column in np.ndindex(ROWS, COLUMNS):
        top, left = raw.shape[-2] * row // ROWS + height // 4, raw.shape[-1] * column // COLUMNS + width // 4
        means.append(raw[:, top : top + height // 2, left : left + width // 2].mean((1, 2)))
    red, green, other_green, blue = torch.stack(means, dim=1).cpu()
    colours = torch.stack([red, (green + other_green) / 2, blue])[:, None]
    return process(colours, NEUTRAL.rgb_to_camera, NEUTRAL.white_balance)[:, 0].T.double().numpy()
