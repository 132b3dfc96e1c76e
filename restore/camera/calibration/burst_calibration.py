"""A camera's noise from the levels of brightness of a burst: the photon transfer line, with or without dark frames."""

import numpy as np

from options.errors import UserError
from restore.camera.calibration.burst import Burst
from restore.camera.calibration.photon_transfer import (
    CLIPPED,
    FEWEST,
    QUANTISATION,
    Calibration,
    DarkNoise,
    Line,
    coarse_noise,
    dark_noise,
    fit_line,
    poor_fit,
)

NARROW = 4
"""The brightest level must be so many times as bright as the darkest, or the line is not told from others."""
DOUBTFUL_GAIN, DOUBTFUL_READ_NOISE = 0.03, 0.1
"""Standard errors, relative, that are worth a warning."""
NOT_TOLD = (
    "without dark frames a burst does not tell row noise (it is counted as read noise), the distribution of the read "
    "noise (Gaussian is written) and whether the files' black level is right; --darks tells them"
)


def calibrate_burst(burst: Burst) -> Calibration:
    """Fits gain and noise to the levels of a burst.

    With dark frames, read and row noise and the black level are theirs, and the line goes through their point. Without,
    its value at black is the read noise, row noise being a part of it.
    Raises UserError where a colour has no line.
    """
    used = burst.levels.dark < CLIPPED
    signal, variance = burst.levels.mean - burst.black, burst.levels.variance
    dark = None
    if burst.darks is not None and burst.shape_samples is not None:
        dark = dark_noise(burst.darks, burst.shape_samples)
    lines = []
    for n, channel in enumerate(burst.channels):
        chosen = used[:, n]
        if chosen.sum() < FEWEST:
            raise UserError(f"burst: {channel} is black nearly everywhere; give frames with brighter parts")
        lines.append(_line(signal[chosen, n], variance[chosen, n], None if dark is None else dark.dark_noise[n] ** 2))
        if not lines[-1].slope > 0:
            raise UserError(
                f"burst: the variance does not rise with the brightness in {channel} ({lines[-1].slope:.3g} DN/e-); "
                f"give a scene with dark and bright parts, in frames as the camera recorded them"
            )
    result = Calibration(
        gain=np.array([line.slope for line in lines]),
        used=used,
        warnings=[],
        **(dark or _from_lines(lines, burst.black))._asdict(),
    )
    for n, channel in enumerate(burst.channels):
        chosen = used[:, n]
        departures = np.abs(variance / result.variance(burst.levels.mean) - 1)[chosen, n]
        if dark is None:  # whose point else makes the range wide
            result.warnings.extend(_range(channel, signal[chosen, n]))
        result.warnings.extend(_errors(channel, lines[n], known=dark is not None))
        result.warnings.extend(poor_fit(channel, departures))
        result.warnings.extend(coarse_noise(channel, result.dark_noise[n]))
    return result


def _line(signal: np.ndarray, variance: np.ndarray, at_black: float | None) -> Line:
    line = fit_line(signal, variance, at_black)
    if line.intercept >= 0:
        return line
    return fit_line(signal, variance, 0.0)._replace(intercept_error=line.intercept_error)


def _from_lines(lines: list[Line], black: np.ndarray) -> DarkNoise:
    at_black = np.array([line.intercept for line in lines])
    return DarkNoise(
        black_level=black,
        dark_noise=np.sqrt(at_black),
        read_noise=np.sqrt((at_black - QUANTISATION).clip(min=0)),
        row_noise=np.zeros_like(at_black),
        tukey_shape=None,
    )


def _range(channel: str, signal: np.ndarray) -> list[str]:
    darkest, brightest = signal.min(), signal.max()
    if brightest >= NARROW * darkest:
        return []
    return [
        f"{channel}: all is between {darkest:.0f} and {brightest:.0f} DN above black, too narrow a range for a line; "
        f"photograph a scene with deep shadows and bright parts"
    ]


def _errors(channel: str, line: Line, known: bool) -> list[str]:
    lines = []
    if (error := line.slope_error / line.slope) > DOUBTFUL_GAIN:
        lines.append(f"{channel}: the gain is known to {error:.0%} alone; give more frames, or larger ones")
    if not known and line.intercept_error > 2 * DOUBTFUL_READ_NOISE * line.intercept:
        highest = np.sqrt(line.intercept + 2 * line.intercept_error)
        lines.append(
            f"{channel}: the read noise is hidden by the photon noise: all that is known is that it is below "
            f"{highest:.3g} DN; give --darks, or a scene with deeper shadows"
        )
    return lines
