"""A clean photograph -> the noisy raw image that a camera would have recorded of it."""

from functools import cache
from typing import Literal

import cv2
import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Generator

from transforms.base import Transform
from transforms.cameras import Camera, GainsMode, draw_camera
from transforms.noise import add_noise, dng_profile
from transforms.sample import Sample
from transforms.unprocessing import HIGHLIGHTS, srgb_to_linear


class RgbToRawTransform(Transform):
    """Unprocesses an sRGB image to an RGGB mosaic (clean), and adds sensor noise to it (degraded).

    The camera is drawn anew for each image, as transforms/cameras.py says; its facts go with the sample.
    An odd last row or column is left out. Source: Brooks et al. 2019; see transforms/unprocessing.py.
    """

    class_name: Literal["RgbToRawTransform"] = "RgbToRawTransform"
    iso: PositiveInt = 12500
    """ISO speed; sets the noise where shot and read do not."""
    noise_model: Literal["dng"] = "dng"
    """dng: Gaussian noise of variance shot * x + read, x being 0 at black level and 1 at white level."""
    shot: NonNegativeFloat | None = None
    """Slope of the variance per unit of signal [1]; null for 3e-3 * iso / 12500."""
    read: NonNegativeFloat | None = None
    """Variance at black level [1]; null for 1e-5 * (iso / 12500)^2."""
    wb_gains_mode: GainsMode = "normal"
    """How the white balance is drawn: uniform, normal, fixed, or none, which leaves every channel at gain 1."""

    def __call__(self, image: np.ndarray, rng: Generator) -> Sample:
        camera = draw_camera(self.wb_gains_mode, rng)
        clean = torch.from_numpy(packed_raw(np.asarray(image), camera))
        default_shot, default_read = dng_profile(self.iso)
        shot = default_shot if self.shot is None else self.shot
        read = default_read if self.read is None else self.read
        degraded = add_noise(clean, shot, read, rng)
        facts = {**camera._asdict(), "shot": torch.tensor(shot), "read": torch.tensor(read)}
        return Sample(degraded, clean, facts)

    def smallest_input(self, height: int, width: int) -> tuple[int, int]:
        return max(height, 4), max(width, 4)  # as the demosaicing needs


def packed_raw(image: np.ndarray, camera: Camera) -> np.ndarray:
    """transforms.unprocessing.unprocess, then the mosaic, packed: the same numbers made fast for one image on a CPU.

    image   (H, W, 3) sRGB: uint8, uint16, or float32 from 0 to 1
    result  (4, H // 2, W // 2) float32: R, G1, G2, B, 0 = black level to 1 = white level
    The tone curve is a table, so float32 is taken to the nearest of 65536 levels: that is off by less than 1e-4 in raw
    up to 0.995 in sRGB, and by more close to white, where the curve is steep. Integers are exact.
    """
    if image.dtype == np.float32:
        scaled = image * np.float32(65535)
        scaled += np.float32(0.5)
        image = scaled.astype(np.uint16)
    linear = _tone_table(np.iinfo(image.dtype).max + 1).take(image)
    matrix = camera.rgb_to_camera.numpy()
    red, green, blue = np.moveaxis(cv2.transform(linear, matrix), -1, 0)
    mean = cv2.transform(linear, matrix.mean(0, keepdims=True))
    # From here on as transforms.unprocessing.camera_to_raw.
    gains = camera.white_balance.numpy()[[0, 1, 1, 2], None, None]
    protection = _at_sites(mean, mean, mean, mean)
    protection -= np.float32(HIGHLIGHTS)
    np.maximum(protection, 0, out=protection)
    protection *= protection
    protection *= np.maximum(gains - 1, 0) / np.float32((1 - HIGHLIGHTS) ** 2)
    protection += 1
    raw = _at_sites(red, green, green, blue)
    raw *= protection
    raw /= gains
    return np.clip(raw, 0, 1, out=raw)


def _at_sites(*planes: np.ndarray) -> np.ndarray:
    """Of four planes (H, W): the first at the mosaic's R sites, the second at G1 ...: (4, H // 2, W // 2)."""
    height, width = planes[0].shape[0] // 2 * 2, planes[0].shape[1] // 2 * 2
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    return np.stack([plane[row:height:2, column:width:2] for plane, (row, column) in zip(planes, corners, strict=True)])


@cache
def _tone_table(levels: int) -> np.ndarray:
    return srgb_to_linear(torch.linspace(0, 1, levels, dtype=torch.float64)).float().numpy()
