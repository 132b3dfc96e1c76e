"""Models of a sensor's noise, for RgbToRawTransform and by themselves: a parameter set -> the noise of an image."""

from typing import Annotated

from options.choices import NAME_ALONE, Choices
from transforms.noise.base import NoiseModel
from transforms.noise.darktable import Darktable, camera_noise, find_camera
from transforms.noise.dng import Dng, IsoProfile
from transforms.noise.eld import Eld
from transforms.noise.gaussian import Gaussian, Mixed
from transforms.noise.profile import CameraProfile, Profile, read_profile
from transforms.noise.sensor import SensorNoise, add_noise
from transforms.noise.unprocessing import Unprocessing

NOISE_MODELS = Choices(NoiseModel, Dng, Unprocessing, Eld, Gaussian, Mixed, Profile, Darktable, shorthand=NAME_ALONE)
NoiseModelOptions = Annotated[NoiseModel, NOISE_MODELS]

__all__ = [
    "NOISE_MODELS",
    "CameraProfile",
    "Darktable",
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
    "camera_noise",
    "find_camera",
    "read_profile",
]
