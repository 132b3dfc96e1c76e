"""A clean photograph -> the noisy raw image that a camera would have recorded of it."""

import json
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import AfterValidator, Field
from torch import Generator, Tensor

from transforms.base import Stage, Transform
from transforms.images import Image, One, Pair
from transforms.noise import Dng, NoiseModelOptions, SensorNoise, add_noise
from transforms.noise.draws import Iso, Range, log_uniform, per_plane, uniform
from transforms.sample import Sample
from transforms.sensor.cameras import Camera, GainsMode, Matrix, check_matrix, draw_camera
from transforms.sensor.layout import RGGB, Layout
from transforms.sensor.metadata import RawMetadata
from transforms.sensor.mosaic import Mosaic
from transforms.sensor.mosaicking import packed_raw

NO_NOISE = SensorNoise(per_plane(0), per_plane(0))


class RgbToRawTransform(Transform):
    """Unprocesses an sRGB image to an RGGB mosaic (clean), and adds sensor noise to it (degraded).

    The camera is drawn anew for each image, as transforms/sensor/cameras.py says; its facts go with the sample.
    An odd last row or column is left out. Source: Brooks et al. 2019; see transforms/sensor/unprocessing.py.
    A Mosaic is raw already: it keeps its camera, is clipped at white, and gets noise. Of a pair that another transform
    degraded both become raw, and the degraded one gets noise; a recorded pair of raw images stays as it is.
    """

    gives: ClassVar[Stage] = "sample"
    layout: ClassVar[Layout | None] = RGGB
    degrades: ClassVar[bool] = True

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
        if isinstance(image, Pair) and image.recorded:
            return _recorded(image)
        seen, meant = (image.degraded, image.clean) if isinstance(image, Pair) else (image, image)
        camera = meant.metadata.camera if isinstance(meant, Mosaic) else self._camera(rng)
        clean = _packed(meant, camera)
        signal = clean if seen is meant else _packed(seen, camera)
        if self.exposure:
            gain = 2 ** uniform(*self.exposure, rng)
            clean, signal = ((packed * gain).clamp_(max=1) for packed in (clean, signal))
        if self.clean_share and uniform(0, 1, rng) < self.clean_share:
            return Sample(signal, clean, RawMetadata(camera, NO_NOISE.profile()), RGGB)
        iso = log_uniform(*self.iso, rng) if isinstance(self.iso, tuple) else self.iso
        noise = self.noise_model.draw(iso, rng)
        return Sample(add_noise(signal, noise, rng), clean, RawMetadata(camera, noise.profile()), RGGB)

    def without_effect(self) -> list[str]:
        # The default is no choice of the user's: options.json and information files write it out.
        if self.iso == type(self).model_fields["iso"].default or self.noise_model.heeds_iso:
            return []
        return [
            f"iso: {json.dumps(self.iso)} given, but the noise of {self.noise_model.class_name} is the same at any ISO "
            f"speed; leave it out"
        ]

    @property
    def multiple(self) -> int:
        return RGGB.cell

    def smallest_input(self, height: int, width: int) -> tuple[int, int]:
        return max(height, 4), max(width, 4)  # as the demosaicing needs

    def _camera(self, rng: Generator) -> Camera:
        return draw_camera(self.wb_gains_mode, rng, self.camera_matrix)


def _packed(image: One, camera: Camera) -> Tensor:
    """The clean raw image (4, H/2, W/2), 0 to 1."""
    if isinstance(image, Mosaic):
        return image.packed().clamp_(max=1)
    return torch.from_numpy(packed_raw(np.asarray(image), camera))


def _recorded(pair: Pair) -> Sample:
    """The two raw images of a pair, as they were recorded."""
    degraded, clean = pair.degraded, pair.clean
    assert isinstance(degraded, Mosaic), "Pipeline.check refuses a pair of sRGB images"
    assert isinstance(clean, Mosaic), "both images of a pair are of one kind"
    metadata = RawMetadata(clean.metadata.camera, degraded.metadata.noise)
    return Sample(degraded.packed(), clean.packed(), metadata, RGGB)
