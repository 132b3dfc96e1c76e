"""More texture than a clean photograph has, and less: what few photographs do not show."""

from math import sqrt
from typing import Annotated, ClassVar, Literal

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Generator

from transforms.base import Transform, unit_range
from transforms.images import Image, Pair
from transforms.noise.draws import Probability, Range, happens, log_uniform, uniform
from transforms.sensor.layout import SRGB, Layout
from transforms.sensor.mosaic import Mosaic


class Texture(Transform):
    """Changes the texture of a share of the clean photographs. A subclass has defaults, and the method `change`."""

    layouts: ClassVar[frozenset[Layout]] = frozenset({SRGB})
    refuses_pairs: ClassVar[str | None] = "would change its clean image alone"
    training_only: ClassVar[bool] = True

    probability: Probability

    def __call__(self, image: Image, rng: Generator) -> Image:
        assert not isinstance(image, Pair | Mosaic), "Pipeline.check refuses them"
        return self.change(unit_range(image), rng) if happens(self.probability, rng) else image

    def change(self, picture: np.ndarray, rng: Generator) -> np.ndarray:
        """sRGB (H, W, 3), float32 from 0 to 1, both ways."""
        raise NotImplementedError


class Grain(Texture):
    """Adds random texture, as of film grain, sand or cloth, to a clean photograph: it is to be kept.

    Photographs that were made for their looks are smoother than most that are to be restored. A denoiser that has only
    seen those takes all fine texture for noise, and harms images whose noise is weak. With grain, a denoiser that is
    told how strong the noise is learns to leave stronger texture alone. The texture is Gaussian noise, blurred by up to
    a pixel. A part of it is the same in R, G and B; how large that part is, is drawn uniformly.
    """

    class_name: Literal["Grain"] = "Grain"
    probability: Probability = 0.5
    """Share of the photographs that get it."""
    deviation: Range[Annotated[float, Field(gt=0, le=1)]] = (0.003, 0.04)
    """[low, high] from which its standard deviation is drawn, its logarithm being uniform [of sRGB's white]."""

    def change(self, picture: np.ndarray, rng: Generator) -> np.ndarray:
        deviation, common, sigma = log_uniform(*self.deviation, rng), uniform(0, 1, rng), uniform(0, 1, rng)
        shared, own = (torch.randn((*picture.shape[:2], planes), generator=rng).numpy() for planes in (1, 3))
        grain: np.ndarray = sqrt(common) * shared + sqrt(1 - common) * own
        if sigma > 0.25:  # a narrower blur changes nothing
            blurred = np.asarray(cv2.GaussianBlur(grain, (5, 5), sigma), np.float32)
            grain = blurred / blurred.std()
        return np.clip(picture + deviation * grain, 0, 1)


class Defocus(Texture):
    """Blurs a clean photograph, as a lens out of focus does, so that it is smooth: a Gaussian.

    Smooth areas show best what noise is left. Where crops are chosen for their detail (RandomResizedCrop), a denoiser
    sees few of them, and leaves blotches in skies, walls and dark frames.
    """

    class_name: Literal["Defocus"] = "Defocus"
    probability: Probability = 0.2
    """Share of the photographs that are blurred."""
    sigma: Range[Annotated[float, Field(gt=0, le=64)]] = (2.0, 16.0)
    """[low, high] from which the Gaussian's standard deviation is drawn, its logarithm being uniform [px]."""

    def change(self, picture: np.ndarray, rng: Generator) -> np.ndarray:
        return cv2.GaussianBlur(picture, (0, 0), log_uniform(*self.sigma, rng))
