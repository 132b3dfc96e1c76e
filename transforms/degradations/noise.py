"""Noise of finished pictures, which no longer has the statistics of a sensor."""

from typing import Literal

import cv2
import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Generator

from transforms.base import Degradation, unused
from transforms.noise.draws import NumberOrRange, Probability, happens, one_of
from transforms.noise.poisson import add_shot_and_read_noise


class PictureNoise(Degradation):
    """Adds noise to sRGB values: white and Gaussian, or Poisson's. As it stands, that of the denoising benchmarks.

    Source: Zhang et al., Beyond a Gaussian Denoiser (DnCNN), TIP 2017, for sigma; Wang et al., Real-ESRGAN, for the
    rest. Values below 0 and above 1 are kept unless `clipped`, as the benchmarks keep them.
    """

    class_name: Literal["PictureNoise"] = "PictureNoise"
    sigma: NumberOrRange[NonNegativeFloat] = 25
    """Standard deviation of Gaussian noise [8-bit levels], or [low, high] from which it is drawn uniformly."""
    poisson_share: Probability = 0
    """Share of the images whose noise is Poisson's instead: as of so many photons at white as the image has levels,
    rounded up to a power of two."""
    poisson_scale: NumberOrRange[PositiveFloat] = (0.05, 3)
    """How many times as strong Poisson noise is made."""
    grey_probability: Probability = 0
    """Share of the images whose three channels get the same noise."""
    clipped: bool = False
    """Whether what leaves 0 to 1 is clipped, as it is in a file."""

    def without_effect(self) -> list[str]:
        match self.poisson_share:
            case 0:
                return unused(self, "poisson_share is 0", "poisson_scale")
            case 1:
                return unused(self, "poisson_share is 1", "sigma")
        return []

    def degrade(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        is_poisson, is_grey = happens(self.poisson_share, rng), happens(self.grey_probability, rng)
        if is_poisson:
            seen = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] if is_grey else image
            noise = one_of(self.poisson_scale, rng) * poisson_noise(seen, rng)
        else:
            noise = one_of(self.sigma, rng) / 255 * gaussian_noise(image, is_grey, rng)
        noisy = image + noise.astype(np.float32, copy=False)
        return noisy.clip(0, 1) if self.clipped else noisy


def gaussian_noise(image: np.ndarray, is_grey: bool, rng: Generator) -> np.ndarray:
    """White noise of standard deviation 1 for an image (H, W, 3), float32: (H, W, 3), or (H, W, 1) if it is grey."""
    return torch.randn((*image.shape[:2], 1 if is_grey else 3), generator=rng).numpy()


def poisson_noise(image: np.ndarray, rng: Generator) -> np.ndarray:
    """What photon noise adds to an image (H, W, C), 0 to 1, rounded to 8 bits: float32.

    White is 2^ceil(log2(levels)) photons, where levels is the number of different values in the image.
    """
    levels = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
    count = np.count_nonzero(np.bincount(levels.ravel(), minlength=256))
    photons = float(2 ** int(np.ceil(np.log2(count))))
    signal = torch.from_numpy(levels.astype(np.float32) / 255)
    photon, read = torch.tensor(1 / photons), torch.tensor(0.0)
    return (add_shot_and_read_noise(signal, photon, read, rng) - signal).numpy()
