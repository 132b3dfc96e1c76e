"""What else is wrong with raw images than the noise of their pixels: wrong levels, hot pixels, row noise."""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Generator, Tensor

from transforms.base import Stage, Transform
from transforms.noise.draws import Range, log_uniform, uniform
from transforms.noise.sensor import row_noise
from transforms.sample import Sample
from transforms.sensor.layout import RGGB, Layout
from transforms.sensor.metadata import NoiseProfile


class SensorDefects(Transform):
    """Defects that real raw files have and simulated ones lack: wrong levels, hot pixels, row noise.

    It stands behind RgbToRawTransform and before VarianceStabilization or NoiseLevelMap. Each defect is off unless
    given. The noise that is told with the sample becomes that of the defective image, hot pixels aside. Recorded pairs
    get the same defects.
    """

    takes: ClassVar[Stage] = "sample"
    gives: ClassVar[Stage] = "sample"
    layouts: ClassVar[frozenset[Layout]] = frozenset({RGGB})

    class_name: Literal["SensorDefects"] = "SensorDefects"
    black_jitter: Annotated[float, Field(ge=0, le=0.1)] = 0
    """The black level in use is wrong by up to this [of white above black], drawn uniformly for each image, and the
    same for its four planes, as of most cameras. Both images are shifted, as both would be read with it. Of the five
    cameras of eld black is wrong by up to 0.0004; ansel-denoise is trained with 0.002."""
    white_jitter: Annotated[float, Field(ge=0, le=1)] = 0
    """The white level in use is wrong by a factor from 1 / (1 + white_jitter) to 1 + white_jitter, its logarithm being
    uniform; likewise in both images. ansel-denoise is trained with about 0.08; raw decoders may be
    wrong by more for single cameras."""
    hot_pixels: Annotated[float, Field(ge=0, le=0.1)] = 0
    """Share of the degraded image's pixels that are brighter than they ought to be, by a share of what is left to
    white, each share being equally likely. Count them in a dark frame of a long exposure; 0.0001 is one pixel in
    each 100 x 100."""
    row_noise: Range[Annotated[float, Field(ge=0, le=10)]] | None = None
    """[low, high] from which the standard deviation of what all pixels of a row have in common is drawn uniformly, in
    units of the read noise's. It shows as stripes in dark parts. The five cameras of eld have 0.05 to 0.17. Leave
    it out with the noise models eld and profile, which have row noise, and where pairs do not tell their noise."""

    @model_validator(mode="after")
    def _does_something(self) -> "SensorDefects":
        if not (self.black_jitter or self.white_jitter or self.hot_pixels or (self.row_noise and self.row_noise[1])):
            raise ValueError(
                "no defect given; give black_jitter, white_jitter, hot_pixels or row_noise above 0, or remove "
                "SensorDefects"
            )
        return self

    @property
    def needs_noise(self) -> bool:
        return self.row_noise is not None

    def __call__(self, sample: Sample, rng: Generator) -> Sample:
        assert sample.metadata is not None, "a raw sample has metadata"
        (shot, read), degraded = sample.metadata.noise, sample.degraded
        if self.row_noise:
            deviation = uniform(*self.row_noise, rng) * read.sqrt()
            degraded = degraded + row_noise(degraded, deviation[..., None, None], rng)
            read = read + deviation.square()
        if self.hot_pixels:
            degraded = _with_hot_pixels(degraded, self.hot_pixels, rng)
        black = uniform(-self.black_jitter, self.black_jitter, rng)
        white = log_uniform(1 / (1 + self.white_jitter), 1 + self.white_jitter, rng)
        gain = 1 / (white - black)
        # With x = black + y / gain, shot * x + read is a line in y, too.
        noise = NoiseProfile(shot, (read + shot * black).clamp(min=0)).scaled(gain)
        metadata = sample.metadata._replace(noise=noise)
        return Sample((degraded - black) * gain, (sample.clean - black) * gain, metadata, sample.layout)


def _with_hot_pixels(image: Tensor, share: float, rng: Generator) -> Tensor:
    hot = torch.rand(image.shape, generator=rng) < share
    brighter = image + torch.rand(image.shape, generator=rng) * (1 - image).clamp(min=0)
    return torch.where(hot, brighter, image)
