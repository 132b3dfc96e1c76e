"""A camera's noise from its own frames: photon transfer from pairs of flats, read and row noise from dark frames.

The variance of photon noise is proportional to the signal, so that the slope of variance against mean is the gain:
variance = gain * (mean - black) + dark variance. A pair's difference holds the noise twice and neither the scene nor
the fixed pattern. Source: EMVA Standard 1288, release 3.0, sections 2.2 and 6.

Frames are (C, h, w) [DN]: the planes R, G1, G2, B of a Bayer mosaic, or the one plane of a grey camera.
"""

from typing import NamedTuple

import numpy as np

from options.errors import UserError
from restore.camera.calibration.tukey_lambda import tukey_shape

HIGHEST = 0.8
"""Largest usable mean / white level: above it frames begin to clip."""
CLIPPED = 1e-3
"""A frame with at least this share of values at 0 or white counts as clipped; hot pixels are fewer."""
DRIFT = 0.05
"""Largest change of the light between the frames of a pair, relative to the signal."""
FEWEST = 3
"""Levels of light without which no line is fitted."""
ENOUGH = 6
"""Levels of light without which the quality of the fit cannot be judged."""
POOR = 0.05
"""A variance further from the line, relative to it, is worth a warning."""
QUANTISATION = 1 / 12
"""Variance of rounding to whole DN [DN^2]."""
COARSE = 6 * QUANTISATION
"""Below this dark variance the noise is hidden by rounding [DN^2]."""
HUBER = 1.345
"""Levels further from the line than so many robust standard deviations get a smaller weight."""
SHAPE_SAMPLES = 2**20
"""Differences from which the shape of the read noise is fitted, at most."""


class Pairs(NamedTuple):
    """Statistics of n pairs of frames, each array (n, C)."""

    mean: np.ndarray
    """Of both frames [DN]."""
    variance: np.ndarray
    """Temporal variance of one frame [DN^2]."""
    row_variance: np.ndarray
    """The part of the variance that all values of a row share [DN^2]. Without row noise it is around 0, and may be
    below."""
    dark: np.ndarray
    """Share of values at 0, in the frame with more of them."""
    bright: np.ndarray
    """Share of values at white or above, in the frame with more of them."""


class Calibration(NamedTuple):
    """A camera's noise at one ISO speed, each array (C,)."""

    gain: np.ndarray
    """[DN/e-]."""
    read_noise: np.ndarray
    """Without row noise and quantisation [DN rms]."""
    row_noise: np.ndarray
    """[DN rms]."""
    dark_noise: np.ndarray
    """All temporal noise of a dark frame: read noise, row noise and quantisation [DN rms]."""
    black_level: np.ndarray
    """[DN]."""
    tukey_shape: float | None
    """Of the read noise; None where it is Gaussian."""
    used: np.ndarray
    """(n, C): whether the line was fitted to this flat."""
    warnings: list[str]

    def variance(self, mean: np.ndarray) -> np.ndarray:
        """(n, C) of the fitted line [DN^2] at these means (n, C) [DN]."""
        return self.gain * (mean - self.black_level) + self.dark_noise**2


class Line(NamedTuple):
    """variance = slope * signal + intercept, and the standard errors of both."""

    slope: float
    """[DN/e-]."""
    intercept: float
    """[DN^2]."""
    slope_error: float
    intercept_error: float


class DarkNoise(NamedTuple):
    """What dark frames tell: the fields of these names of a Calibration."""

    black_level: np.ndarray
    dark_noise: np.ndarray
    read_noise: np.ndarray
    row_noise: np.ndarray
    tukey_shape: float | None


def measure_pair(first: np.ndarray, second: np.ndarray, white: float, black: np.ndarray | None = None) -> Pairs:
    """Statistics of a pair of frames (C, h, w) of one exposure: a row of Pairs, each array (C,).

    white  white level [DN]
    black  for flats: black level (C,) [DN]. Their light may differ a little, so both are scaled to their common mean;
           else the scene would not cancel in the difference. None for dark frames
    Raises ValueError if the means of flats differ by more than DRIFT and their noise.
    """
    frames = [first, second]
    dark, bright = (
        np.max([at_end.mean((1, 2)) for at_end in ends], axis=0)
        for ends in ([frame <= 0 for frame in frames], [frame >= white for frame in frames])
    )
    means = np.stack([_mean(frame) for frame in frames])
    mean = means.mean(0)
    if black is not None:
        frames = [_scaled(frame, black, one, mean) for frame, one in zip(frames, means, strict=True)]
    difference = frames[0] - frames[1]
    difference -= _mean(difference)[:, None, None]
    variance = _mean(difference**2) / 2
    if black is not None:
        allowed = DRIFT * (mean - black) + np.sqrt(variance)
        if (np.abs(means[0] - means[1]) > allowed).any():
            levels = [", ".join(f"{value:.1f}" for value in one) for one in means]
            raise ValueError(f"their means are {levels[0]} and {levels[1]} DN")
    rows = difference.mean(2, dtype=np.float64)
    width = difference.shape[2]
    # Analysis of variance: the variance of the rows' means is the row noise, and 1 / width of the variance in a row.
    within = (variance - (rows**2).mean(1) / 2) * width / (width - 1)
    return Pairs(mean, variance, variance - within, dark, bright)


def shape_samples(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n,) differences of a pair of dark frames (C, h, w) without row noise, each plane with standard deviation 1."""
    difference = first - second
    difference -= difference.mean(2, keepdims=True)
    return (difference / difference.std((1, 2), keepdims=True)).ravel()


def calibrate(flats: Pairs, darks: Pairs, samples: np.ndarray, white: float, channels: list[str]) -> Calibration:
    """Fits gain and noise to the pairs of flats and of dark frames.

    samples   (n,) of shape_samples, from some of the dark pairs
    white     white level [DN]
    channels  names of the C planes
    Raises UserError if the flats have too few levels between black and HIGHEST of white, or no photon noise.
    """
    dark = dark_noise(darks, samples)
    signal, used = flats.mean - dark.black_level, usable(flats, darks, white)
    _refuse_too_few_levels(signal, used, channels)
    gain = np.array(
        [
            fit_line(signal[chosen, n], flats.variance[chosen, n], float(dark.dark_noise[n] ** 2)).slope
            for n, chosen in enumerate(used.T)
        ]
    )
    for channel, slope in zip(channels, gain, strict=True):
        if not slope > 0:
            raise UserError(
                f"flats: the variance does not rise with the level in {channel} ({slope:.3g} DN/e-); "
                f"give pairs of different frames, as the camera recorded them"
            )
    result = Calibration(gain=gain, used=used, warnings=[], **dark._asdict())
    result.warnings.extend(_warnings(result, flats, darks, channels))
    return result


def dark_noise(darks: Pairs, samples: np.ndarray) -> DarkNoise:
    """What pairs of dark frames tell; samples are those of calibrate."""
    variance, row_variance = darks.variance.mean(0), darks.row_variance.mean(0).clip(min=0)
    hidden = (variance < COARSE).any()
    return DarkNoise(
        black_level=darks.mean.mean(0),
        dark_noise=np.sqrt(variance),
        read_noise=np.sqrt((variance - row_variance - QUANTISATION).clip(min=0)),
        row_noise=np.sqrt(row_variance),
        tukey_shape=None if hidden else tukey_shape(samples[:: -(-samples.size // SHAPE_SAMPLES)]),
    )


def usable(flats: Pairs, darks: Pairs, white: float) -> np.ndarray:
    """(n, C): the flats between the dark frames' noise and HIGHEST of white [DN] that do not clip."""
    black, noise = darks.mean.mean(0), np.sqrt(darks.variance.mean(0))
    signal = flats.mean - black
    return (signal > noise) & (signal <= HIGHEST * (white - black)) & (flats.bright < CLIPPED) & (flats.dark < CLIPPED)


def stack(pairs: list[Pairs]) -> Pairs:
    """Rows of (C,) -> one table with arrays (n, C)."""
    return Pairs(*(np.stack(column) for column in zip(*pairs, strict=True)))


def _mean(planes: np.ndarray) -> np.ndarray:
    return planes.mean((1, 2), dtype=np.float64)


def _scaled(frame: np.ndarray, black: np.ndarray, mean: np.ndarray, common: np.ndarray) -> np.ndarray:
    """The frame (C, h, w) with its light scaled so that its mean (C,) becomes the common one [DN]."""
    with np.errstate(divide="ignore", invalid="ignore"):  # of a flat that is as dark as the dark frames
        ratio = np.nan_to_num((common - black) / (mean - black), nan=1).clip(1 - DRIFT, 1 + DRIFT)
    offset = black * (1 - ratio)
    return frame * ratio[:, None, None].astype(np.float32) + offset[:, None, None].astype(np.float32)


def fit_line(signal: np.ndarray, variance: np.ndarray, intercept: float | None = None) -> Line:
    """The line variance = slope * signal + intercept, by least squares, reweighted.

    signal     (n,) [DN]
    variance   (n,) [DN^2]
    intercept  where it is known, as dark frames know it much better than any flat; None: it is fitted too
    The uncertainty of a variance is proportional to it, so residuals are taken relative to the line. Beyond HUBER
    robust deviations they get Huber's smaller weights.
    """
    columns = [signal] if intercept is not None else [signal, np.ones_like(signal)]
    design, known = np.stack(columns, axis=1), intercept or 0.0
    weight = np.ones_like(signal)
    for _ in range(20):
        normal = design.T * weight @ design
        solution = np.linalg.solve(normal, design.T @ (weight * (variance - known)))
        line = np.abs(design @ solution + known).clip(min=1e-12)
        residual = np.abs(variance / line - 1)
        spread = 1.4826 * np.median(residual) + 1e-12
        weight = np.minimum(1, HUBER * spread / residual.clip(min=1e-12)) / line**2
    errors = spread * np.sqrt(np.diag(np.linalg.inv(normal)))
    if intercept is not None:
        return Line(float(solution[0]), intercept, float(errors[0]), 0.0)
    return Line(*solution.tolist(), *errors.tolist())


def _refuse_too_few_levels(signal: np.ndarray, used: np.ndarray, channels: list[str]) -> None:
    for channel, values, chosen in zip(channels, signal.T, used.T, strict=True):
        if (levels := _levels(values[chosen])) < FEWEST:
            raise UserError(
                f"flats: {levels} of the {FEWEST} levels of light that a line needs lie between black and "
                f"{HIGHEST:.0%} of white in {channel}; take pairs at other exposures too, {ENOUGH} or more"
            )


def _levels(signal: np.ndarray) -> int:
    """The number of different exposures: those that differ by less than DRIFT count once."""
    ordered = np.sort(signal)
    return int(ordered.size > 0) + int((np.diff(ordered) > DRIFT * ordered[1:]).sum())


def _warnings(result: Calibration, flats: Pairs, darks: Pairs, channels: list[str]) -> list[str]:
    lines = []
    if len(darks.mean) == 1:
        lines.append("one pair of dark frames alone; the row noise above all wants four or more")
    departures = np.abs(flats.variance / result.variance(flats.mean) - 1)
    for n, channel in enumerate(channels):
        used = result.used[:, n]
        if (clipped := int(((flats.bright >= CLIPPED) | (flats.dark >= CLIPPED))[:, n].sum())) > 0:
            lines.append(f"{channel}: {clipped} of {used.size} pairs of flats clip; they are left out")
        if (levels := _levels((flats.mean - result.black_level)[used, n])) < ENOUGH:
            lines.append(f"{channel}: {levels} levels of light; only with {ENOUGH} or more can the fit be judged")
        lines.extend(poor_fit(channel, departures[used, n]))
        if (share := darks.dark[:, n].max()) >= CLIPPED:
            lines.append(
                f"{channel}: {share:.1%} of the dark frames' values are 0: this camera clips at black, "
                f"and noise and black level are off; take them with a black offset"
            )
        lines.extend(coarse_noise(channel, result.dark_noise[n]))
    return lines


def poor_fit(channel: str, departures: np.ndarray) -> list[str]:
    """A warning where variances are far from the line: (n,) their distance, relative to the line."""
    if not (poor := int((departures > POOR).sum())):
        return []
    return [
        f"{channel}: the line misses {poor} of {departures.size} variances by more than {POOR:.0%}; "
        f"look at the plot: a curve means processed data, single points light that flickers"
    ]


def coarse_noise(channel: str, noise: float) -> list[str]:
    """A warning where the dark noise [DN rms] is too small to be measured."""
    if noise**2 >= COARSE:
        return []
    return [
        f"{channel}: dark noise of {noise:.2f} DN is hidden by rounding to whole DN; "
        f"take its value as an upper limit, or calibrate at a higher ISO"
    ]
