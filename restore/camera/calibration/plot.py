"""The photon transfer plot: variance against signal, and below it the deviation from the expected variance."""

import io
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = {"R": "#c62828", "G1": "#2e7d32", "G2": "#00897b", "B": "#1565c0", "grey": "#37474f"}
MARKERS = {"R": "o", "G1": "s", "G2": "D", "B": "^", "grey": "o"}
INCHES = (8, 7)
DPI = 150
LEAST_RANGE = 3
"""The axis of the residuals reaches at least this far up and down [%]."""


class Curve(NamedTuple):
    """One channel's levels, each array (n,)."""

    channel: str
    legend: str
    signal: np.ndarray
    """Mean - black [DN]."""
    measured: np.ndarray
    """Variance [DN^2]."""
    expected: np.ndarray
    """Variance that the measured one is compared with [DN^2]."""
    used: np.ndarray
    """Whether a level is used; the others are drawn hollow."""


def photon_transfer_plot(title: str, expectation: str, curves: list[Curve], origins: np.ndarray) -> bytes:
    """The content of a PNG file with the curves.

    expectation  what `expected` is, e.g. "fitted line"
    origins      (curves,) expected variance of each curve at black [DN^2], where its line begins
    """
    figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    for curve, origin in zip(curves, origins, strict=True):
        colour, marker = COLOURS[curve.channel], MARKERS[curve.channel]
        used, order = curve.used, np.argsort(curve.signal[curve.used])
        upper.plot(
            np.append(0, curve.signal[used][order]), np.append(origin, curve.expected[used][order]), color=colour, lw=1
        )
        residual = 100 * (curve.measured / curve.expected - 1)
        for axes, values in ((upper, curve.measured), (lower, residual)):
            axes.plot(curve.signal[used], values[used], marker, ms=4.5, color=colour, label=curve.legend)
            axes.plot(curve.signal[~used], values[~used], marker, ms=4.5, color=colour, mfc="none")
    upper.plot([], [], color="grey", lw=1, label=expectation)
    if not all(curve.used.all() for curve in curves):
        upper.plot([], [], "o", ms=4.5, color="grey", mfc="none", label="left out")
    residuals = np.concatenate([100 * np.abs(curve.measured / curve.expected - 1)[curve.used] for curve in curves])
    reach = max(LEAST_RANGE, 1.15 * residuals.max())
    lower.set_ylim(-reach, reach)
    lower.axhline(0, color="grey", lw=0.8)
    handles, names = upper.get_legend_handles_labels()
    figure.legend(
        handles, names, title=title, title_fontsize=12, fontsize=9, loc="outside upper center", ncols=2, frameon=False
    )
    upper.set_ylabel("temporal variance [DN²]")
    lower.set_ylabel(f"deviation from\n{expectation} [%]")
    lower.set_xlabel("signal above black level [DN]")
    for axes in (upper, lower):
        axes.grid(alpha=0.25, lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
