"""A clean photograph -> the noisy raw image that a camera would have recorded of it."""

from typing import Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Generator

from transforms.base import Transform
from transforms.cameras import GainsMode, draw_camera
from transforms.mosaicking import packed_raw
from transforms.noise import add_noise, dng_profile
from transforms.sample import Sample


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
