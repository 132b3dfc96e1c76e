"""The plots of what was measured on the charts, each the content of a PNG file."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter

from restore.chart import edge, measures
from restore.chart.edge import REACH, Edge
from restore.chart.measures import PatchColours, RampNoise
from restore.chart.patterns import PATCHES, STRENGTHS

INCHES, DPI = (10, 4.2), 120
STYLES: dict[str, dict[str, Any]] = {
    "degraded": {"color": "#e65100", "lw": 1.0, "marker": ".", "ms": 5},
    "restored": {"color": "#1565c0", "lw": 1.8},
    "clean": {"color": "#263238", "lw": 1.2, "ls": "--"},
}
"""Of the curve of each image."""
SHOWN = 5
"""The profile of the edge is drawn so far to either side of it [px]."""
LEAST_DELTA_E = 1.0
"""The axis of colour errors reaches at least this far: smaller ones are not seen."""


def edge_plot(measured: Mapping[str, Edge]) -> bytes:
    """The profile of the edge, and the modulation transfer."""
    figure, (profiles, transfers) = _figure(2)
    for image, result in measured.items():
        near = np.abs(result.distance) <= min(SHOWN, REACH)
        profiles.plot(result.distance[near], result.profile[near], **STYLES[image], label=image)
        transfers.plot(edge.FREQUENCIES, result.mtf, **{**STYLES[image], "marker": ""}, label=_mtf50(image, result))
    _frequency_axis(transfers, "modulation transfer (MTF)")
    transfers.legend(fontsize=9, frameon=False)
    transfers.set(xlim=(0, 1), ylim=(0, 1.25))
    for line in (transfers.axhline, transfers.axvline):
        line(0.5, color="grey", lw=0.6)
    profiles.set(xlabel="distance across the edge [px]", ylabel="green [1 = white]")
    return _png(figure)


def waves_plot(measured: Mapping[str, np.ndarray]) -> bytes:
    """The modulation by frequency; each array is of measures.FREQUENCIES."""
    figure, (axes,) = _figure(1)
    for image, modulation in measured.items():
        axes.plot(measures.FREQUENCIES, modulation, **STYLES[image], label=image)
    _frequency_axis(axes, "modulation, 1 = that of the light")
    axes.legend(fontsize=9, frameon=False)
    axes.set_ylim(min(0, *(values.min() for values in measured.values())), 1.2)
    return _png(figure)


def sweep_plot(measured: Mapping[str, np.ndarray], contrast: float) -> bytes:
    """What is left of the clean image's modulation by frequency, for each contrast: arrays (contrasts, frequencies)."""
    figure, panels = _figure(2)
    for axes, image in zip(panels, ("degraded", "restored"), strict=True):
        for band, strength in enumerate(STRENGTHS):
            kept = measured[image][band] / measured["clean"][band]
            colour = (0.08, 0.22, 0.45, 1 - 0.75 * band / (len(STRENGTHS) - 1))
            axes.plot(
                measures.FREQUENCIES, kept, color=colour, lw=1.8, label=f"contrast {100 * contrast * strength:.2g} %"
            )
        axes.axhline(1, color="grey", lw=0.6)
        _frequency_axis(axes, f"{image}: modulation / clean modulation")
        axes.set_ylim(-0.1, 1.4)
    panels[0].legend(fontsize=9, frameon=False, loc="lower left")
    return _png(figure)


def ramp_plot(measured: Mapping[str, RampNoise]) -> bytes:
    """The noise by light, and the autocorrelation of what is left of it."""
    figure, (levels, correlations) = _figure(2)
    for image in ("degraded", "restored"):
        noise, style = measured[image], STYLES[image]
        levels.plot(noise.light, 100 * noise.noise, **{**style, "marker": "."}, label=image)
        for name, line, values in (("rows", "-", noise.along_rows), ("columns", ":", noise.along_columns)):
            line_style = {**style, "ls": line, "marker": ""}
            correlations.plot(noise.lag, values, **line_style, label=f"{image}, along {name}")
    levels.set(xscale="log", yscale="log", xlabel="light [1 = white]", ylabel="noise of green [% of the light]")
    levels.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    levels.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    correlations.set(xlabel="distance [px]", ylabel="autocorrelation of the residual", ylim=(-0.2, 1.02))
    correlations.axhline(0, color="grey", lw=0.6)
    for axes in (levels, correlations):
        axes.legend(fontsize=9, frameon=False)
    return _png(figure)


def patches_plot(measured: Mapping[str, PatchColours]) -> bytes:
    """The colour error of each patch: a bar of the restored image, in the patch's colour, a dot of the degraded one."""
    figure, (axes,) = _figure(1)
    place = np.arange(len(PATCHES))
    degraded, restored = measured["degraded"].delta_e, measured["restored"].delta_e
    axes.bar(place, restored, color=measured["clean"].srgb, edgecolor="#263238", lw=0.6, label="restored")
    axes.plot(place, degraded, "o", ms=6, mfc="white", mec="#263238", label="degraded")
    axes.set_ylim(0, max(LEAST_DELTA_E, 1.1 * degraded.max(), 1.1 * restored.max()))
    axes.set_ylabel("colour error [DE2000]")
    axes.set_xticks(place, list(PATCHES), rotation=55, ha="right", rotation_mode="anchor", fontsize=9)
    axes.legend(fontsize=9, frameon=False)
    return _png(figure)


def _figure(panels: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for one in axes:
        one.grid(alpha=0.25, lw=0.6)
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _frequency_axis(axes: Axes, name: str) -> None:
    axes.set(xlim=(0, 0.5), xlabel="frequency [cycles/px]", ylabel=name)


def _mtf50(image: str, result: Edge) -> str:
    return f"{image}: MTF50 {result.mtf50:.3f}" if np.isfinite(result.mtf50) else image


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
