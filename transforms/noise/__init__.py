"""Models of a sensor's noise, for RgbToRawTransform and by themselves: a parameter set -> the noise of an image."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, PlainSerializer

from transforms.noise.base import NoiseModel
from transforms.noise.dng import Dng, IsoProfile
from transforms.noise.eld import Eld
from transforms.noise.gaussian import Gaussian, Mixed
from transforms.noise.profile import CameraProfile, Profile, read_profile
from transforms.noise.sensor import SensorNoise, add_noise
from transforms.noise.unprocessing import Unprocessing

Sections = Annotated[Dng | Unprocessing | Eld | Gaussian | Mixed | Profile, Discriminator("class_name")]
Names = Literal["dng", "unprocessing", "eld", "gaussian", "mixed"]


def _section_of_name(given: Any) -> Any:
    return {"class_name": given} if isinstance(given, str) else given


def _name_or_section(model: NoiseModel) -> Any:
    return model.model_dump(mode="json") if model.model_dump(exclude_defaults=True) else model.class_name


NoiseModelOptions = Annotated[
    Sections,
    BeforeValidator(_section_of_name, json_schema_input_type=Names | Sections),
    PlainSerializer(_name_or_section),
]
"""A model's section; its name alone stands for the section with its defaults, and is written so."""

__all__ = [
    "CameraProfile",
    "Dng",
    "Eld",
    "Gaussian",
    "IsoProfile",
    "Mixed",
    "NoiseModel",
    "NoiseModelOptions",
    "Profile",
    "SensorNoise",
    "Unprocessing",
    "add_noise",
    "read_profile",
]
