"""The degradation of BSRGAN: seven steps in a random order, and JPEG."""

from collections.abc import Callable
from functools import partial
from math import pi
from typing import Annotated, Literal

import cv2
import numpy as np
import torch
from pydantic import Field, NonNegativeFloat
from torch import Generator

from transforms.base import Degradation, unused
from transforms.degradations.blur import Sizes
from transforms.degradations.camera import photographed
from transforms.degradations.jpeg import JpegCompression
from transforms.degradations.kernels import SHARPEST, blurred, gaussian
from transforms.degradations.noise import gaussian_noise
from transforms.degradations.resampling import imresize
from transforms.degradations.resize import Modes, resize
from transforms.noise.draws import Probability, Range, Shares, choose, choose_by_share, happens, uniform

NoiseKind = Literal["colour", "grey", "correlated"]
SHRINK, FIT = 2, 3
"""Places of the two downsamplings among the seven steps: the second gives the result its size."""
REACH = 12
"""Of the Gaussian that downsamples [px]."""


class FirstJpeg(JpegCompression):
    """JpegCompression, with the numbers of the step among the seven."""

    probability: Probability = 0.9
    """Share of the images that are compressed."""


class BsrganDegradation(Degradation):
    """Degrades the image as BSRGAN is trained on it; the result has 8 bits and is 1/scale as large.

    In random order: two blurs, two downsamplings (the second to the result's size), noise, JPEG, and the noise of a
    camera. JPEG always comes last once more.
    Source: Zhang et al., Designing a Practical Degradation Model for Deep Blind Image Super-Resolution, ICCV 2021;
    cszn/BSRGAN, utils_blindsr.degradation_bsrgan, whose camera is replaced by transforms/degradations/camera.py.
    """

    class_name: Literal["BsrganDegradation"] = "BsrganDegradation"
    scale: Annotated[int, Field(ge=1, le=8)]
    """How many times as long the clean image's sides are."""
    halving_probability: Probability = 0.25
    """At scale 4, share of the images that are halved first and then degraded at scale 2."""
    blur_sizes: Sizes = (7, 25)
    """[smallest, largest] side of the blur kernels [px], both odd."""
    anisotropic_share: Probability = 0.5
    """Share of anisotropic kernels among the blurs; the others are isotropic."""
    isotropic_sigma: Range[NonNegativeFloat] | None = None
    """[low, high] of the isotropic kernels' standard deviation [px]; null: 0 to 2 + 0.2 * scale."""
    anisotropic_variance: Range[NonNegativeFloat] | None = None
    """[low, high] of the anisotropic kernels' two variances [px^2]; null: 0 to 4 + scale."""
    resize_probability: Probability = 0.75
    """Share of the images whose first downsampling is a resizing; of the others, blurred by a Gaussian, every scale-th
    pixel is kept."""
    resize_factor: Range[Annotated[float, Field(ge=1, le=32)]] | None = None
    """[low, high] of what that resizing divides the sides by; null: 1 to 2 * scale."""
    resize_sigma: Range[NonNegativeFloat] | None = None
    """[low, high] of that Gaussian's standard deviation [px]; null: 0.1 to 0.6 * scale."""
    modes: Modes = Field(default=["area", "bilinear", "bicubic"])
    """The ways to resize, each being equally likely."""
    noise_level: Range[Annotated[int, Field(ge=0, le=255)]] = (2, 25)
    """[low, high] of the noise's standard deviation [8-bit levels], each whole number being equally likely."""
    noise_kinds: Shares[NoiseKind] = Field(
        default={
            "colour": 0.4,
            "grey": 0.4,
            "correlated": 0.2,
        }
    )
    """The kinds of noise, and how often each is to come: colour, apart in each channel; grey, the same in all;
    correlated, between the two, and always as strong as the highest noise_level lets it be."""
    jpeg: FirstJpeg = FirstJpeg()
    """The JPEG among the steps."""
    camera_probability: Probability = 0.25
    """Share of the images that get the noise of a camera."""
    final_jpeg: JpegCompression = JpegCompression()
    """The JPEG at the end."""

    def without_effect(self) -> list[str]:
        return unused(self, "only scale 4 is halved first", "halving_probability") if self.scale != 4 else []

    def degrade(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        height, width, scale = image.shape[0] // self.scale, image.shape[1] // self.scale, self.scale
        if scale == 4 and happens(self.halving_probability, rng):
            image, scale = self._halved(image, rng), 2
        order = torch.randperm(7, generator=rng).tolist()
        first, second = sorted((order.index(SHRINK), order.index(FIT)))
        order[first], order[second] = SHRINK, FIT
        steps: list[Callable[[np.ndarray, Generator], np.ndarray]] = [
            partial(self._blurred, scale=scale),
            partial(self._blurred, scale=scale),
            partial(self._shrunk, scale=scale),
            partial(self._resized, height=height, width=width),
            self._noisy,
            self.jpeg.degrade,
            self._photographed,
        ]
        for step in order:
            image = steps[step](image, rng).clip(0, 1)
        return self.final_jpeg.degrade(image, rng)

    def _halved(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        height, width = image.shape[0] // 2, image.shape[1] // 2
        if happens(0.5, rng):
            return self._resized(image, rng, height, width)
        return imresize(image, height, width).clip(0, 1).astype(np.float32)

    def _blurred(self, image: np.ndarray, rng: Generator, scale: int) -> np.ndarray:
        smallest, largest = self.blur_sizes
        size = smallest + 2 * int(torch.randint((largest - smallest) // 2 + 1, (), generator=rng))
        if happens(self.anisotropic_share, rng):
            low, high = self.anisotropic_variance or (0, 4 + scale)
            across, along = (uniform(low, high, rng) ** 0.5 for _ in range(2))
            return blurred(image, gaussian(size, across, along, uniform(0, pi, rng)))
        low, high = self.isotropic_sigma or (0, 2 + 0.2 * scale)
        sigma = uniform(low, high, rng)
        return blurred(image, gaussian(size, sigma, sigma, 0))

    def _shrunk(self, image: np.ndarray, rng: Generator, scale: int) -> np.ndarray:
        if happens(self.resize_probability, rng):
            low, high = self.resize_factor or (1, 2 * scale)
            factor = uniform(low, high, rng)
            return self._resized(image, rng, round(image.shape[0] / factor), round(image.shape[1] / factor))
        low, high = self.resize_sigma or (0.1, 0.6 * scale)
        return every_nth(image, scale, uniform(low, high, rng))

    def _resized(self, image: np.ndarray, rng: Generator, height: int, width: int) -> np.ndarray:
        return resize(image, height, width, choose(self.modes, rng))

    def _noisy(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        low, high = self.noise_level
        level = low + int(torch.randint(high - low + 1, (), generator=rng))
        kind = choose_by_share(self.noise_kinds, rng)
        if kind == "correlated":
            noise = gaussian_noise(image, False, rng) @ _correlation(rng)
            return image + np.float32(high / 255) * noise
        return image + np.float32(level / 255) * gaussian_noise(image, kind == "grey", rng)

    def _photographed(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        return photographed(image, rng) if happens(self.camera_probability, rng) else image


def every_nth(image: np.ndarray, scale: int, sigma: float) -> np.ndarray:
    """The image (H, W, 3), float32, seen through Gaussians of sigma [px] around scale * i + (scale - 1) / 2."""
    offsets = np.arange(-REACH, REACH + 1) - (scale - 1) / 2
    distances = offsets**2 - (offsets**2).min()  # so that the nearest pixels keep their weight, however small sigma is
    taps = np.exp(-distances / (2 * max(sigma, SHARPEST) ** 2))
    taps = (taps / taps.sum()).astype(np.float32)
    return cv2.sepFilter2D(image, cv2.CV_32F, taps, taps, borderType=cv2.BORDER_REFLECT_101)[::scale, ::scale]


def _correlation(rng: Generator) -> np.ndarray:
    """(3, 3): it gives white noise the covariance |U^T D U|, D diagonal and drawn from 0 to 1, U a drawn rotation."""
    scales = torch.rand(3, generator=rng, dtype=torch.float64)
    axes, _ = torch.linalg.qr(torch.rand(3, 3, generator=rng, dtype=torch.float64))
    covariance = (axes.T * scales @ axes).abs()
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    return (vectors * eigenvalues.clamp(min=0).sqrt() @ vectors.T).float().numpy()
