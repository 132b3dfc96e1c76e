"""The test charts: the light that falls on a sensor, as functions of the place, and the clean raw image of it.

Places x and y are in pixels of the sensor, from the middle of the chart to the right and down; light is linear, 1 being
white. Each pixel records the mean of the light on its square, after a lens that blurs as a Gaussian does.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import erf
from torch import Tensor

from transforms.sensor.cameras import NEUTRAL
from transforms.sensor.layout import RGGB
from transforms.sensor.mosaicking import packed_raw, packed_raw_of_light

GREY = 0.18
"""Mean light of the charts: that of the grey card in a photograph exposed for it."""
LENS_BLUR = 0.5
"""Standard deviation of the lens's blur [px]: real lenses have about 0.3 to 0.8."""
EDGE_ANGLE = 5.0
"""Of the edge against the columns of the sensor [degrees], as in ISO 12233."""
SWEEP = (0.02, 0.5)
"""Frequencies at the left and the right end of the sweep [cycles/px]."""
STRENGTHS = tuple(2.0**-band for band in range(6))
"""Of the bands of the sweep, from the top: what each has of the chart's contrast [1]."""
STOPS = (-6.5, 1.5)
"""Light at the left and the right end of the ramp [stops from GREY]."""
POINTS, WEIGHTS = np.polynomial.legendre.leggauss(4)

# sRGB of the ColorChecker Classic, row by row, as X-Rite publishes them.
PATCHES = {
    "dark skin": (115, 82, 68),
    "light skin": (194, 150, 130),
    "blue sky": (98, 122, 157),
    "foliage": (87, 108, 67),
    "blue flower": (133, 128, 177),
    "bluish green": (103, 189, 170),
    "orange": (214, 126, 44),
    "purplish blue": (80, 91, 166),
    "moderate red": (193, 90, 99),
    "purple": (94, 60, 108),
    "yellow green": (157, 188, 64),
    "orange yellow": (224, 163, 46),
    "blue": (56, 61, 150),
    "green": (70, 148, 73),
    "red": (175, 54, 60),
    "yellow": (231, 199, 31),
    "magenta": (187, 86, 149),
    "cyan": (8, 133, 161),
    "white": (243, 243, 242),
    "neutral 8": (200, 200, 200),
    "neutral 6.5": (160, 160, 160),
    "neutral 5": (122, 122, 121),
    "neutral 3.5": (85, 85, 85),
    "black": (52, 52, 52),
}
ROWS, COLUMNS = 4, 6
"""Of the patches."""


class Waves(NamedTuple):
    """A sinusoidal chart at some places: its light is GREY (1 + contrast * strength * cos(phase)) before the lens."""

    phase: np.ndarray
    """[rad]."""
    frequency: np.ndarray
    """[cycles/px]."""
    strength: np.ndarray
    """What the place has of the chart's contrast [1]."""


Pattern = Callable[[np.ndarray, np.ndarray, int], Waves]
"""x and y [px] and the chart's side [px] -> the waves there."""


def star(x: np.ndarray, y: np.ndarray, size: int) -> Waves:
    """The sinusoidal Siemens star of ISO 12233: the same number of cycles on each circle."""
    cycles = size // 12
    radius = np.hypot(x, y) + 1e-9
    return Waves(cycles * np.arctan2(y, x), cycles / (2 * np.pi * radius), np.ones_like(radius))


def zone_plate(x: np.ndarray, y: np.ndarray, size: int) -> Waves:
    """Rings whose frequency grows with the radius, to 0.5 cycles/px at the middle of the chart's sides."""
    square = x * x + y * y
    return Waves(np.pi * square / size, np.sqrt(square) / size, np.ones_like(square))


def sweep(x: np.ndarray, y: np.ndarray, size: int) -> Waves:
    """Upright lines whose frequency grows from left to right, each band below with half the contrast."""
    low, high = SWEEP
    growth = np.log(high / low)
    frequency = low * np.exp(growth * (x / size + 0.5))
    row = np.round(y + (size - 1) / 2).astype(int)
    strength = np.array(STRENGTHS)[row * len(STRENGTHS) // size]
    return Waves(2 * np.pi * frequency * size / growth, frequency, strength)


def waves_raw(pattern: Pattern, size: int, contrast: float, blur: float = LENS_BLUR) -> Tensor:
    """The clean raw image (4, size / 2, size / 2) of a sinusoidal chart.

    contrast  (brightest - darkest) / (brightest + darkest) light before the lens, 0 to 1
    blur      of the lens, a Gaussian [px]; it lowers the contrast of waves by exp(-2 (pi blur frequency)^2)
    """

    def light(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        phase, frequency, strength = pattern(x, y, size)
        return GREY * (1 + contrast * strength * np.exp(-2 * (np.pi * blur * frequency) ** 2) * np.cos(phase))

    return _grey_raw(light, size)


def edge_raw(size: int, contrast: float, blur: float = LENS_BLUR, angle: float = EDGE_ANGLE) -> Tensor:
    """The clean raw image of a slanted edge, dark on the left; size, contrast and blur are those of waves_raw.

    angle  against the columns [degrees]
    """
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return _grey_raw(lambda x, y: GREY * (1 + contrast * erf((x * cosine - y * sine) / (np.sqrt(2) * blur))), size)


def ramp_raw(size: int) -> Tensor:
    """The clean raw image of a grey ramp, whose light doubles at equal distances from left to right."""
    low, high = STOPS
    return _grey_raw(lambda x, y: GREY * 2 ** (low + (high - low) * (x / size + 0.5)), size)


def patches_raw(size: int) -> Tensor:
    """The clean raw image of 4 rows of 6 colour patches, which renders to the sRGB of PATCHES."""
    rows, columns = (np.arange(size) * count // size for count in (ROWS, COLUMNS))
    colours = np.array(list(PATCHES.values()), np.uint8)
    return torch.from_numpy(packed_raw(colours[rows[:, None] * COLUMNS + columns], NEUTRAL))


def places(plane: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the sites of one of the planes R, G1, G2, B: each (size / 2, size / 2) [px]."""
    row, column = RGGB.sites[plane]
    side = np.arange(0, size, RGGB.cell) - (size - 1) / 2
    x, y = np.meshgrid(side + column, side + row)
    return x, y


def _grey_raw(light: Callable[[np.ndarray, np.ndarray], np.ndarray], size: int) -> Tensor:
    """The raw image of grey light, integrated over each pixel by Gauss and Legendre's quadrature of 4 x 4 points."""
    side = np.arange(size) - (size - 1) / 2
    recorded = np.zeros((size, size))
    for down, row_weight in zip(POINTS / 2, WEIGHTS / 2, strict=True):
        for across, column_weight in zip(POINTS / 2, WEIGHTS / 2, strict=True):
            x, y = np.meshgrid(side + across, side + down)
            recorded += row_weight * column_weight * light(x, y)
    grey = np.repeat(recorded.astype(np.float32)[..., None], 3, axis=2)
    return torch.from_numpy(packed_raw_of_light(grey, NEUTRAL))
