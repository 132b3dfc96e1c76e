"""The chain that turns a clean photograph into a degraded and a clean image: parameter sets -> image operations."""

from typing import Annotated, Any

from pydantic import Field

from options.base import parse
from transforms.conditioning import NoiseLevelMap, VarianceStabilization, unconditioned, unconditioned_degraded
from transforms.degradations.bicubic import BicubicDownsample
from transforms.degradations.blur import Blur
from transforms.degradations.bsrgan import BsrganDegradation
from transforms.degradations.jpeg import JpegCompression
from transforms.degradations.noise import PictureNoise
from transforms.degradations.real_esrgan import RealEsrganDegradation
from transforms.degradations.resize import Resize
from transforms.downsample import Downsample
from transforms.geometry import CenterCrop, RandomCrop, RandomFlip, RandomRotate
from transforms.pipeline import Pipeline, check_order
from transforms.rgb_to_raw import RgbToRawTransform
from transforms.sample import Sample, ToTensor2
from transforms.sensor.layout import LAYOUTS, RGGB, SRGB, Layout
from transforms.sensor.metadata import NoiseProfile, RawMetadata
from transforms.sensor.rendering import demosaic, pack, unpack

TransformOptions = Annotated[
    Downsample
    | RandomCrop
    | CenterCrop
    | RandomFlip
    | RandomRotate
    | BicubicDownsample
    | Blur
    | Resize
    | PictureNoise
    | JpegCompression
    | BsrganDegradation
    | RealEsrganDegradation
    | RgbToRawTransform
    | VarianceStabilization
    | NoiseLevelMap
    | ToTensor2,
    Field(discriminator="class_name"),
]


def build(options: list[Any], place: str = "transforms") -> Pipeline:
    """The chain of these transforms, first to last.

    options  a list as in an option file (dicts), or the validated sections
    place    what the mistakes' lines begin with
    Raises UserError with a line for each mistake: unknown names, wrong values, a wrong order.
    """
    transforms = parse(list[TransformOptions], options, place)
    check_order(transforms, place)
    return Pipeline(tuple(transforms))


__all__ = [
    "LAYOUTS",
    "RGGB",
    "SRGB",
    "Layout",
    "NoiseProfile",
    "Pipeline",
    "RawMetadata",
    "Sample",
    "TransformOptions",
    "build",
    "demosaic",
    "pack",
    "unconditioned",
    "unconditioned_degraded",
    "unpack",
]
