"""A clean photograph -> the noisy raw image that a camera would have recorded of it."""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import AfterValidator, Field
from torch import Generator, Tensor

from transforms.base import Transform
from transforms.noise import Dng, NoiseModelOptions, SensorNoise, add_noise
from transforms.noise.draws import Iso, Range, log_uniform, per_plane, uniform
from transforms.sample import Sample
from transforms.sensor.cameras import Camera, GainsMode, Matrix, check_matrix, draw_camera
from transforms.sensor.mosaic import Image, Mosaic, Pair
from transforms.sensor.mosaicking import packed_raw

NO_NOISE = SensorNoise(per_plane(0), per_plane(0))


class RgbToRawTransform(Transform):
    """Unprocesses an sRGB image to an RGGB mosaic (clean), and adds sensor noise to it (degraded).

    The camera is drawn anew for each image, as transforms/sensor/cameras.py says; its facts go with the sample.
    An odd last row or column is left out. Source: Brooks et al. 2019; see transforms/sensor/unprocessing.py.
    A Mosaic is raw already: it keeps its camera, is clipped at white, and gets noise. Of a Pair both images are as they
    were recorded.
    """

    class_name: Literal["RgbToRawTransform"] = "RgbToRawTransform"
    iso: Iso = 12500
    """ISO speed for the noise models dng, eld and mixed; of [low, high] one is drawn for each image, its logarithm
    being uniform."""
    noise_model: NoiseModelOptions = Dng()
    """dng, unprocessing, eld, gaussian or mixed, or a section with the class_name and parameters of one of these or of
    profile, the noise of a calibrated camera."""
    clean_share: Annotated[float, Field(ge=0, le=1)] = 0
    """Share of the images that get no noise; their shot and read are 0."""
    exposure: Range[Annotated[float, Field(ge=-16, le=16)]] | None = None
    """[low, high]: the clean image is made brighter by so many stops, drawn uniformly, and clipped at white; null: it
    keeps its exposure."""
    wb_gains_mode: GainsMode = "normal"
    """How the white balance is drawn: uniform, normal, fixed, or none, which leaves every channel at gain 1."""
    camera_matrix: Annotated[Matrix, AfterValidator(check_matrix)] | None = None
    """The camera's colours: three rows from XYZ to camera, as a DNG's ColorMatrix; null: a mix of four known cameras,
    drawn for each image."""

    def __call__(self, image: Image, rng: Generator) -> Sample:
        if isinstance(image, Pair):
            return _recorded(image)
        camera, clean = self._clean(image, rng)
        if self.exposure:
            clean = (clean * 2 ** uniform(*self.exposure, rng)).clamp_(max=1)
        if self.clean_share and uniform(0, 1, rng) < self.clean_share:
            return _sample(clean, clean, camera, NO_NOISE.profile())
        iso = log_uniform(*self.iso, rng) if isinstance(self.iso, tuple) else self.iso
        noise = self.noise_model.draw(iso, rng)
        return _sample(add_noise(clean, noise, rng), clean, camera, noise.profile())

    def smallest_input(self, height: int, width: int) -> tuple[int, int]:
        return max(height, 4), max(width, 4)  # as the demosaicing needs

    def _clean(self, image: np.ndarray | Mosaic, rng: Generator) -> tuple[Camera, Tensor]:
        if isinstance(image, Mosaic):
            return image.camera, image.packed().clamp_(max=1)
        camera = draw_camera(self.wb_gains_mode, rng, self.camera_matrix)
        return camera, torch.from_numpy(packed_raw(np.asarray(image), camera))


def _recorded(pair: Pair) -> Sample:
    """The two raw images of a pair; noise that is not known counts as none."""
    noise = pair.degraded.noise or NO_NOISE.profile()
    return _sample(pair.degraded.packed(), pair.clean.packed(), pair.clean.camera, noise)


def _sample(degraded: Tensor, clean: Tensor, camera: Camera, noise: tuple[Tensor, Tensor]) -> Sample:
    return Sample(degraded, clean, {**camera._asdict(), "shot": noise[0], "read": noise[1]})
