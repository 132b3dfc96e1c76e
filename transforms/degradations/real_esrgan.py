"""The degradation of Real-ESRGAN: blur, resizing, noise and JPEG, twice, and at the end what sharpening leaves."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveFloat
from torch import Generator

from transforms.base import Degradation, as_stored, unit_range
from transforms.degradations.blur import Blur, Cutoff, Kernel, Sigma
from transforms.degradations.jpeg import JpegCompression
from transforms.degradations.noise import PictureNoise
from transforms.degradations.resize import Direction, RandomSize
from transforms.degradations.sharpening import sharpened
from transforms.noise.draws import NumberOrRange, Probability, Range, Shares, happens


class FirstNoise(PictureNoise):
    """PictureNoise, with the numbers of the first stage."""

    sigma: Sigma = (1, 30)
    """Standard deviation of Gaussian noise [8-bit levels], or [low, high]."""
    poisson_share: Probability = 0.5
    """Share of the images whose noise is Poisson's instead."""
    grey_probability: Probability = 0.4
    """Share of the images whose three channels get the same noise."""
    clipped: bool = True
    """Whether what leaves 0 to 1 is clipped."""


class SecondNoise(FirstNoise):
    """PictureNoise, with the numbers of the second stage."""

    sigma: Sigma = (1, 25)
    """Standard deviation of Gaussian noise [8-bit levels], or [low, high]."""
    poisson_scale: NumberOrRange[PositiveFloat] = (0.05, 2.5)
    """How many times as strong Poisson noise is made."""


class SecondBlur(Blur):
    """Blur, with the numbers of the second stage."""

    probability: Probability = 0.8
    """Share of the images that are blurred."""
    sigma: Sigma = (0.2, 1.5)
    """Standard deviation [px], or [low, high]."""


class SecondSize(RandomSize):
    """RandomSize, with the numbers of the second stage."""

    directions: Shares[Direction] = Field(default={"up": 0.3, "down": 0.4, "keep": 0.3})
    """How often the image is made larger and smaller than the result, and just as large."""
    up_factor: Range[Annotated[float, Field(ge=1, le=8)]] = (1, 1.2)
    """[low, high] from which the factor is drawn where it is made larger."""
    down_factor: Range[Annotated[float, Field(gt=0, le=1)]] = (0.3, 1)
    """The same where it is made smaller."""


class FinalBlur(Blur):
    """Blur, with the numbers of the last step, which leaves ringing and overshoot as sharpening does."""

    probability: Probability = 0.8
    """Share of the images that are blurred."""
    kernels: Shares[Kernel] = Field(default={"sinc": 1.0})
    """The kinds to draw from, and how often each is to come in relation to the others."""
    sinc_cutoff: Range[Cutoff] = (1 / 3, 1)
    """[low, high] of the sinc kernels' cut-off [of the Nyquist frequency, pi rad/px]."""


class RealEsrganDegradation(Degradation):
    """Degrades the image as Real-ESRGAN is trained on it; the result has 8 bits and is 1/scale as large.

    First stage: blur, resizing, noise, JPEG. Second stage: blur, resizing in relation to the result's size, noise; then
    resizing to the result's size, a sinc filter and JPEG, or JPEG before the two, each half of the time.
    Source: Wang et al., Real-ESRGAN, ICCV Workshops 2021; xinntao/Real-ESRGAN, options/train_realesrgan_x4plus.yml.
    """

    class_name: Literal["RealEsrganDegradation"] = "RealEsrganDegradation"
    scale: Annotated[int, Field(ge=1, le=8)]
    """How many times as long the clean image's sides are."""
    sharpen_target: bool = False
    """Whether the image to restore to, of which the degraded one is made, is sharpened by an unsharp mask first. As
    published, the pixel and feature losses compare with the sharpened image and the discriminator with the plain."""
    blur: Blur = Blur()
    """The first stage's blur."""
    resize: RandomSize = RandomSize()
    """The first stage's resizing."""
    noise: FirstNoise = FirstNoise()
    """The first stage's noise."""
    jpeg: JpegCompression = JpegCompression()
    """The first stage's JPEG."""
    second_blur: SecondBlur = SecondBlur()
    """The second stage's blur."""
    second_resize: SecondSize = SecondSize()
    """The second stage's resizing; its modes are those of the last resizing, too."""
    second_noise: SecondNoise = SecondNoise()
    """The second stage's noise."""
    final_blur: FinalBlur = FinalBlur()
    """The sinc filter at the end."""
    final_jpeg: JpegCompression = JpegCompression()
    """The second stage's JPEG."""

    def without_effect(self) -> list[str]:
        parts = {name: getattr(self, name) for name in type(self).model_fields}
        parts = {name: part for name, part in parts.items() if isinstance(part, Degradation | RandomSize)}
        return [f"{name}.{line}" for name, part in parts.items() for line in part.without_effect()]

    def target(self, clean: np.ndarray) -> np.ndarray:
        return as_stored(sharpened(unit_range(clean))) if self.sharpen_target else clean

    def degrade(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        height, width = image.shape[0] // self.scale, image.shape[1] // self.scale
        image = self.blur.degrade(image, rng)
        image = self.resize.resized(image, image.shape[0], image.shape[1], rng)
        image = self.noise.degrade(image, rng)
        image = self.jpeg.degrade(image, rng)
        image = self.second_blur.degrade(image, rng)
        image = self.second_resize.resized(image, height, width, rng)
        image = self.second_noise.degrade(image, rng)
        jpeg_first = happens(0.5, rng)
        if jpeg_first:
            image = self.final_jpeg.degrade(image, rng)
        image = self.second_resize.to_size(image, height, width, rng)
        image = self.final_blur.degrade(image, rng)
        if not jpeg_first:
            image = self.final_jpeg.degrade(image, rng)
        return np.rint(image.clip(0, 1) * 255) / np.float32(255)
