"""The table of the charts: of each its clean raw image, what is measured of it, and its plot."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from restore.chart.edge import PLANES, measure_edge
from restore.chart.measures import FREQUENCIES, GREY_STOP, measure_patches, measure_ramp, measure_waves
from restore.chart.patterns import (
    STRENGTHS,
    Pattern,
    edge_raw,
    patches_raw,
    ramp_raw,
    star,
    sweep,
    waves_raw,
    zone_plate,
)
from restore.chart.plots import edge_plot, patches_plot, ramp_plot, sweep_plot, waves_plot

FAINT = 3
"""The band of the sweep that stands for faint detail: it has an eighth of the chart's contrast."""

Images = dict[str, Tensor]
"""The images "degraded", "restored" and "clean" of a chart, packed (4, size / 2, size / 2)."""
Measured = dict[str, Any]
"""What was measured of each image, by its name."""


class Chart(NamedTuple):
    """A chart, how it is measured, and how that is drawn."""

    title: str
    shows: str
    """What its plot shows: one line."""
    raw: Callable[[int, float], Tensor]
    """Side [px] and contrast -> the clean raw image."""
    measure: Callable[[Images, float], Measured]
    """The images and the contrast -> what was measured."""
    plot: Callable[[Measured, float], bytes]
    """What was measured and the contrast -> the content of a PNG file."""


def summary(measured: dict[str, Measured]) -> dict[str, dict[str, float]]:
    """The few numbers that stand for all, of each image: measured is by the names of CHARTS.

    mtf50         of green [cycles/px]
    faint_detail  what is left of the clean image's modulation in the sweep, at an eighth of the chart's contrast, the
                  mean of 0.1 to 0.3 cycles/px [1]
    grey_noise    standard deviation of green in mid grey, in units of the grey
    correlation_length    distance at which the autocorrelation of the noise falls to 1/e [px]
    delta_e, delta_e_max  mean and largest colour error of the patches [CIE DE2000]
    """
    fine = abs(FREQUENCIES - 0.2) <= 0.1
    clean = measured["sweep"]["clean"][FAINT][fine]
    return {
        image: {
            "mtf50": measured["edge"][image]["G"].mtf50,
            "faint_detail": (measured["sweep"][image][FAINT][fine] / clean).mean(),
            "grey_noise": measured["ramp"][image].noise[GREY_STOP],
            "correlation_length": measured["ramp"][image].correlation_length,
            "delta_e": measured["patches"][image].delta_e.mean(),
            "delta_e_max": measured["patches"][image].delta_e.max(),
        }
        for image in measured["edge"]
    }


def _edges(images: Images, contrast: float) -> Measured:
    return {image: {colour: measure_edge(raw, colour) for colour in PLANES} for image, raw in images.items()}


def _waves(pattern: Pattern, images: Images, contrast: float) -> Measured:
    return {image: measure_waves(raw, pattern, contrast) for image, raw in images.items()}


def _sweeps(images: Images, contrast: float) -> Measured:
    """(6, 16) of each image: a row for each of STRENGTHS."""
    return {
        image: np.array([measure_waves(raw, sweep, contrast, strength) for strength in STRENGTHS])
        for image, raw in images.items()
    }


def _ramps(images: Images, contrast: float) -> Measured:
    return {image: measure_ramp(raw, images["clean"]) for image, raw in images.items()}


def _patches(images: Images, contrast: float) -> Measured:
    return {image: measure_patches(raw, images["clean"]) for image, raw in images.items()}


CHARTS = {
    "edge": Chart(
        "Slanted edge",
        "Left: the edge's profile. Right: how much of each frequency is left; MTF50 is where the curve crosses 0.5.",
        edge_raw,
        _edges,
        lambda measured, contrast: edge_plot({image: colours["G"] for image, colours in measured.items()}),
    ),
    "star": Chart(
        "Siemens star",
        "Modulation by frequency, lines in all directions; the clean curve falls by the lens and the pixel alone.",
        partial(waves_raw, star),
        partial(_waves, star),
        lambda measured, contrast: waves_plot(measured),
    ),
    "zone_plate": Chart(
        "Zone plate",
        "Modulation by frequency; rings around another place than the middle are aliases.",
        partial(waves_raw, zone_plate),
        partial(_waves, zone_plate),
        lambda measured, contrast: waves_plot(measured),
    ),
    "sweep": Chart(
        "Frequency sweep",
        "What is left of waves by frequency and contrast: a denoiser loses those that the noise hides.",
        partial(waves_raw, sweep),
        _sweeps,
        sweep_plot,
    ),
    "ramp": Chart(
        "Grey ramp",
        "Left: noise by brightness. Right: its autocorrelation, a peak at 0 of fine grain and wide of blotches.",
        lambda size, contrast: ramp_raw(size),
        _ramps,
        lambda measured, contrast: ramp_plot(measured),
    ),
    "patches": Chart(
        "Colour patches",
        "How far the mean colour of each patch is from the clean one; below 1 it is not seen.",
        lambda size, contrast: patches_raw(size),
        _patches,
        lambda measured, contrast: patches_plot(measured),
    ),
}
