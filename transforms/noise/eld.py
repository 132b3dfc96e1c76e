"""The noise of five real cameras in the dark: shot, read and row noise, quantisation and colour bias.

Source: Wei et al., A Physics-based Noise Formation Model for Extreme Low-light Raw Denoising, CVPR 2020, and the
parameters published with it (github.com/Vandermode/ELD, MIT licence), of which eld_cameras.json is a tidy copy.
"""

import json
from functools import cache
from math import exp, log
from pathlib import Path
from statistics import mean
from typing import Literal, NamedTuple

import torch
from torch import Generator

from transforms.noise.base import NoiseModel
from transforms.noise.draws import choose, normal, per_plane, uniform
from transforms.noise.sensor import SensorNoise
from transforms.noise.tukey_lambda import unit_deviation

CAMERAS = Path(__file__).with_name("eld_cameras.json")
FULL_SCALE = 15871  # [DN]: 14 bits less the black level


class Line(NamedTuple):
    """A camera's noise at every gain: ln of its scale [DN] is normal with mean slope * ln gain + bias."""

    slope: float
    bias: float
    sd: float


class EldCamera(NamedTuple):
    """A calibrated camera. The two lists have one entry for each ISO speed that was calibrated."""

    gain_at_iso_100: float
    """[DN/e-]; in proportion to the ISO speed."""
    gaussian: Line
    """Standard deviation of the read noise, fitted with a Gaussian distribution."""
    tukey: Line
    """Scale of the read noise, fitted with a Tukey-lambda distribution."""
    row: Line
    """Standard deviation of the row noise."""
    tukey_shapes: list[float]
    colour_bias: list[list[float]]
    """[DN] of R, G1, G2, B."""


class Eld(NoiseModel):
    """The noise of a calibrated camera at the ISO speed. Above ISO 6400 it is extrapolated.

    `iso` [100, 6400] draws the gain as the paper does: log-uniform between the least and the greatest.
    """

    class_name: Literal["eld"] = "eld"
    camera: Literal["CanonEOS5D4", "CanonEOS700D", "CanonEOS70D", "NikonD850", "SonyA7S2", "virtual"] | None = None
    """The camera; null: one of the five, drawn for each image; virtual: a camera whose gain and strength of each kind
    of noise are drawn between the smallest and the greatest of the five."""
    read_noise: Literal["tukey", "gaussian"] = "tukey"
    """Distribution of the read noise. Tukey-lambda fits the measurements best: it has more outliers."""

    def draw(self, iso: float, rng: Generator) -> SensorNoise:
        known = eld_cameras()
        if self.camera == "virtual":
            cameras = list(known.values())
        else:
            cameras = [known[self.camera] if self.camera else choose(list(known.values()), rng)]
        log_gain = _between([log(camera.gain_at_iso_100 * iso / 100) for camera in cameras], rng)
        read = per_plane(_scale([getattr(camera, self.read_noise) for camera in cameras], log_gain, rng))
        row = _scale([camera.row for camera in cameras], log_gain, rng)
        camera = choose(cameras, rng)
        shape = None
        if self.read_noise == "tukey":
            shape = per_plane(choose(camera.tukey_shapes, rng))
            read = read * unit_deviation(shape)
        return SensorNoise(
            shot=per_plane(exp(log_gain) / FULL_SCALE),
            read=torch.square(read / FULL_SCALE),
            tukey_shape=shape,
            row_noise=per_plane(row / FULL_SCALE),
            step=per_plane(1 / FULL_SCALE),
            colour_bias=per_plane(tuple(choose(camera.colour_bias, rng))) / FULL_SCALE,
        )


@cache
def eld_cameras() -> dict[str, EldCamera]:
    """The five calibrated cameras by name."""
    cameras = {}
    for name, values in json.loads(CAMERAS.read_text(encoding="utf-8")).items():
        lines = {kind: Line(**values[kind]) for kind in ("gaussian", "tukey", "row")}
        cameras[name] = EldCamera(**{**values, **lines})
    return cameras


def _between(values: list[float], rng: Generator) -> float:
    return uniform(min(values), max(values), rng)


def _scale(lines: list[Line], log_gain: float, rng: Generator) -> float:
    """The scale [DN] at this gain, drawn between the lines of these cameras."""
    centre = _between([line.slope * log_gain + line.bias for line in lines], rng)
    return exp(normal(centre, mean(line.sd for line in lines), rng))
