"""The chain that turns a clean photograph into a degraded and a clean image: parameter sets -> image operations."""

from typing import Annotated, Any

from options.base import parse
from options.choices import Choices
from transforms.base import Transform
from transforms.conditioning import (
    NoiseLevelMap,
    VarianceStabilization,
    noise_deviation,
    unconditioned,
    unconditioned_degraded,
)
from transforms.degradations.bicubic import BicubicDownsample
from transforms.degradations.blur import Blur
from transforms.degradations.bsrgan import BsrganDegradation
from transforms.degradations.jpeg import JpegCompression
from transforms.degradations.noise import PictureNoise
from transforms.degradations.real_esrgan import RealEsrganDegradation
from transforms.degradations.resize import Resize
from transforms.downsample import Downsample
from transforms.geometry import CenterCrop, RandomCrop, RandomFlip, RandomResizedCrop, RandomRotate
from transforms.mixing import CutBlur, CutMix, Mixup
from transforms.pipeline import Pipeline, check_files, check_order
from transforms.rgb_to_raw import RgbToRawTransform
from transforms.sample import Sample, ToTensor2
from transforms.sensor.layout import LAYOUTS, RGGB, SRGB, Layout
from transforms.sensor.metadata import NoiseProfile, RawMetadata
from transforms.sensor.rendering import demosaic, pack, unpack
from transforms.sensor_defects import SensorDefects
from transforms.texture import Defocus, Grain

TRANSFORMS = Choices(
    Transform,
    Downsample,
    RandomCrop,
    RandomResizedCrop,
    CenterCrop,
    Defocus,
    Grain,
    RandomFlip,
    RandomRotate,
    Mixup,
    CutMix,
    BicubicDownsample,
    Blur,
    Resize,
    PictureNoise,
    JpegCompression,
    BsrganDegradation,
    RealEsrganDegradation,
    CutBlur,
    RgbToRawTransform,
    SensorDefects,
    VarianceStabilization,
    NoiseLevelMap,
    ToTensor2,
)
TransformOptions = Annotated[Transform, TRANSFORMS]


def build(options: list[Any], place: str = "transforms") -> Pipeline:
    """The chain of these transforms, first to last.

    options  a list as in an option file (dicts), or the finished sections
    place    what the mistakes' lines begin with
    Raises UserError with a line for each mistake: unknown names, wrong values, a wrong order, files that cannot be
    used.
    """
    if not all(isinstance(section, Transform) for section in options):
        options = parse(list[TransformOptions], options, place)
    check_order(options, place)
    check_files(options, place)
    return Pipeline(tuple(options))


__all__ = [
    "LAYOUTS",
    "RGGB",
    "SRGB",
    "TRANSFORMS",
    "Layout",
    "NoiseProfile",
    "Pipeline",
    "RawMetadata",
    "Sample",
    "TransformOptions",
    "build",
    "demosaic",
    "noise_deviation",
    "pack",
    "unconditioned",
    "unconditioned_degraded",
    "unpack",
]
