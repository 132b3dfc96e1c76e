"""Sharpness by the slanted-edge method, on the sites of one colour of a mosaic, without demosaicing.

Source: ISO 12233:2017, e-SFR: the place of the edge in each row, a line through these, the edge's profile in steps of a
quarter of a pixel from all rows, its derivative under a Hamming window, the Fourier transform. Each site of the colour
goes into the profile at its own distance from the edge. So frequencies are in cycles per pixel of the sensor, though
the sites of a colour are two pixels apart.
"""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from restore.chart.patterns import places

PLANES = {"R": (0,), "G": (1, 2), "B": (3,)}
"""The planes of a packed raw image in which each colour is recorded."""
STEP = 0.25
"""Of the edge's profile [px]."""
REACH = 24
"""The profile goes so far to either side of the edge [px]."""
WINDOWS = (None, 24, 8)
"""The edge is sought in whole rows, then so far to either side of where it was found [px]: noise far from it would hide
a faint edge."""
FREQUENCIES = np.linspace(0, 1, 201)
"""[cycles/px]."""


Plane = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Values, x and y of a plane's sites, (h, w) each."""


class Edge(NamedTuple):
    """What was measured of an edge."""

    distance: np.ndarray
    """(n,) from the edge, across it [px]."""
    profile: np.ndarray
    """(n,) the mean of the sites at that distance, in the unit of the raw image."""
    mtf: np.ndarray
    """Modulation transfer at FREQUENCIES across the edge, 1 at 0; of the pixel and all before and after it."""
    mtf50: float
    """The lowest frequency at which it is 0.5 [cycles/px]; NaN without one, or without an edge, where mtf is NaN too
    and the profile empty."""


def measure_edge(raw: Tensor, colour: str = "G") -> Edge:
    """Measures the edge in a packed raw image (4, h, h): nearly upright, darker on its left.

    colour  "R", "G" or "B"
    """
    planes = [(raw[plane].double().cpu().numpy(), *places(plane, 2 * raw.shape[-1])) for plane in PLANES[colour]]
    line = _line(planes)
    if line is None:
        nothing = np.full(len(FREQUENCIES), np.nan)
        return Edge(np.zeros(0), np.zeros(0), nothing, float("nan"))
    centre, slope = line
    distance = np.concatenate([((x - centre - slope * y) / np.hypot(1, slope)).ravel() for _, x, y in planes])
    bins, profile = _profile(distance, np.concatenate([values.ravel() for values, _, _ in planes]))
    mtf = _mtf(bins, profile)
    return Edge(bins, profile, mtf, crossing(FREQUENCIES, mtf, 0.5))


def crossing(frequency: np.ndarray, curve: np.ndarray, level: float) -> float:
    """Where a curve first falls to a level, by linear interpolation; NaN where it does not."""
    below = np.flatnonzero(curve <= level)
    if not below.size or below[0] == 0:
        return float("nan")
    after = below[0]
    share = (curve[after - 1] - level) / (curve[after - 1] - curve[after])
    return float(frequency[after - 1] + share * (frequency[after] - frequency[after - 1]))


def _line(planes: list[Plane]) -> tuple[float, float] | None:
    """centre and slope of the edge, x = centre + slope * y; None where there is none with room on both sides."""
    centre, slope = 0.0, 0.0
    half = len(planes[0][0])
    for window in WINDOWS:
        places_found, rows = [], []
        for values, x, y in planes:
            offset = (x[:, 1:] + x[:, :-1]) / 2 - (centre + slope * y[:, :1])
            derivative = np.diff(values, axis=1) * _hamming(offset, window or np.abs(offset).max())
            # The mean step of all rows, since noise may leave the step of one near 0.
            step = derivative.sum(1).mean()
            if step <= 0:
                return None
            rows.append(y[:, 0])
            places_found.append(centre + slope * y[:, 0] + (derivative * offset).sum(1) / step)
        slope, centre = np.polyfit(np.concatenate(rows), np.concatenate(places_found), 1)
        if abs(centre) + abs(slope) * half > half - REACH:
            return None
    return centre, slope


def _profile(distance: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The means of the values by distance, in steps of STEP; an empty step is interpolated between its neighbours."""
    count = int(REACH / STEP)
    step = np.round(distance / STEP).astype(int) + count
    inside = (step >= 0) & (step <= 2 * count)
    sites = np.bincount(step[inside], minlength=2 * count + 1)
    sums = np.bincount(step[inside], values[inside], minlength=2 * count + 1)
    bins = STEP * np.arange(-count, count + 1)
    filled = sites > 0
    return bins, np.interp(bins, bins[filled], sums[filled] / sites[filled])


def _mtf(distance: np.ndarray, profile: np.ndarray) -> np.ndarray:
    spread = (profile[2:] - profile[:-2]) * _hamming(distance[1:-1], REACH)
    spectrum = np.abs(np.exp(-2j * np.pi * np.outer(FREQUENCIES, distance[1:-1])) @ spread)
    # The difference over two steps and the mean within one lower the spectrum as these do.
    return spectrum / spectrum[0] / (np.sinc(2 * STEP * FREQUENCIES) * np.sinc(STEP * FREQUENCIES))


def _hamming(offset: np.ndarray, reach: float) -> np.ndarray:
    return np.where(np.abs(offset) <= reach, 0.54 + 0.46 * np.cos(np.pi * offset / reach), 0)
