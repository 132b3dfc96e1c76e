"""A clean photograph -> the noisy raw image that a camera would have recorded of it."""

from operator import itemgetter
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import AfterValidator, Field
from torch import Generator, Tensor

from transforms.base import Stage, Transform, unused
from transforms.clean_crop import CleanCrops, Drawn
from transforms.geometry import cut
from transforms.images import Image, One, Pair
from transforms.noise import Dng, NoiseModelOptions, SensorNoise, add_noise
from transforms.noise.draws import Iso, Range, log_uniform, per_plane, uniform
from transforms.sample import Sample
from transforms.sensor.cameras import Camera, GainsMode, Matrix, check_matrix, draw_camera
from transforms.sensor.layout import RGGB, Layout
from transforms.sensor.metadata import RawMetadata, map_tensors
from transforms.sensor.mosaic import Mosaic
from transforms.sensor.mosaicking import light_of, packed_raw, packed_raw_of_batch, packed_raw_of_light
from transforms.sensor.pooling import pooled_light, pooled_planes, pooled_sites

NO_NOISE = SensorNoise(per_plane(0), per_plane(0))


class RgbToRawTransform(Transform):
    """Unprocesses an sRGB image to an RGGB mosaic (clean), and adds sensor noise to it (degraded).

    The camera is drawn anew for each image, as transforms/sensor/cameras.py says; its facts go with the sample.
    Last rows and columns that do not fill a cell are left out. Source: Brooks et al. 2019; see
    transforms/sensor/unprocessing.py.
    With a scale, the degraded image is what the same camera records with pixels that are scale times as large: the
    light is blurred by the optics and averaged, and then come colours, mosaic, clipping and noise.
    The image of a raw file needs no unprocessing. It keeps its camera, is clipped at white, and gets noise. With a
    scale, each larger pixel averages the sites of its own colour.
    If another transform has already degraded the image, the degraded and the clean image both become raw, and the
    degraded one gets noise. A recorded pair of raw images stays as it is.
    """

    gives: ClassVar[Stage] = "sample"
    layout: ClassVar[Layout | None] = RGGB
    degrades: ClassVar[bool] = True

    class_name: Literal["RgbToRawTransform"] = "RgbToRawTransform"
    iso: Iso = 12500
    """ISO speed for the noise models dng, eld, mixed and darktable; of [low, high] one is drawn for each image, its
    logarithm being uniform."""
    noise_model: NoiseModelOptions = Dng()
    """dng, unprocessing, eld, gaussian or mixed, or a section with the class_name and parameters of one of these, of
    profile, the noise of a calibrated camera, or of darktable, the noise of any of hundreds of cameras."""
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
    scale: Annotated[int, Field(ge=1, le=8)] = 1
    """How many times as long the clean image's sides are as the degraded one's."""
    psf_sigma: Range[Annotated[float, Field(ge=0, le=8)]] | None = None
    """[low, high] from which the standard deviation of the optics' blur is drawn uniformly [px of the degraded image];
    null: no blur. Real lenses have about 0.3 to 0.8."""
    pooling: Literal["light", "packed"] = "light"
    """light: as a sensor with larger pixels records. packed: each plane of the clean mosaic is averaged, which moves R
    against B by half a pixel at scale 2 and is wrong of every sensor, but is how the NTIRE challenges made their raw
    images."""

    def __call__(self, image: Image, rng: Generator) -> Sample:
        if isinstance(image, Pair) and image.recorded:
            return _recorded(image)
        step = self.multiple * self.scale * (image.scale if isinstance(image, Pair) else 1)
        image = cut(image, 0, 0, *(side // step * step for side in image.shape[:2]))
        seen, meant = (image.degraded, image.clean) if isinstance(image, Pair) else (image, image)
        drawn = self.drawn(rng, meant.metadata.camera if isinstance(meant, Mosaic) else None)
        camera, gain, noise, _ = drawn
        clean = _packed(meant, camera)
        signal = self._signal(seen, drawn) if self._pools or seen is not meant else clean
        if gain is not None:
            clean, signal = ((packed * gain).clamp_(max=1) for packed in (clean, signal))
        if noise is None:
            return Sample(signal, clean, RawMetadata(camera, NO_NOISE.profile()), RGGB)
        return Sample(add_noise(signal, noise, rng), clean, RawMetadata(camera, noise.profile()), RGGB)

    @property
    def one_at_a_time(self) -> str | None:
        return "with a scale or psf_sigma works on one image at a time" if self._pools else None

    def drawn(self, rng: Generator, camera: Camera | None = None) -> Drawn:
        """What is drawn for an image: the camera too, where none is given."""
        camera = camera or draw_camera(self.wb_gains_mode, rng, self.camera_matrix)
        blur = self.scale * uniform(*self.psf_sigma, rng) if self.psf_sigma else 0.0
        gain = 2 ** uniform(*self.exposure, rng) if self.exposure else None
        if self.clean_share and uniform(0, 1, rng) < self.clean_share:
            return Drawn(camera, gain, None, blur)
        iso = log_uniform(*self.iso, rng) if isinstance(self.iso, tuple) else self.iso
        return Drawn(camera, gain, self.noise_model.draw(iso, rng), blur)

    def record(self, crops: CleanCrops) -> Sample:
        camera, gain, noise, _ = crops.drawn
        clean = packed_raw_of_batch(crops.images, camera)
        if isinstance(gain, Tensor):
            clean = (clean * gain[:, None, None, None]).clamp_(max=1)
        noise = noise or map_tensors(NO_NOISE, lambda numbers: numbers.expand(len(clean), -1))
        rng = Generator(clean.device)
        degraded = torch.empty_like(clean)
        for number, seed in enumerate(crops.seeds):  # each has its own generator
            degraded[number] = add_noise(clean[number], map_tensors(noise, itemgetter(number)), rng.manual_seed(seed))
        profile = map_tensors(noise.profile(), lambda numbers: numbers.to(clean.device, non_blocking=True))
        return Sample(degraded, clean, RawMetadata(camera, profile), RGGB)

    def without_effect(self) -> list[str]:
        same = f"the noise of {self.noise_model.class_name} is the same at any ISO speed"
        return [
            *(unused(self, same, "iso") if not self.noise_model.heeds_iso else ()),
            *(unused(self, "nothing is pooled at scale 1", "pooling") if not self._pools else ()),
        ]

    def file_mistakes(self) -> list[str]:
        return [f"noise_model.{line}" for line in self.noise_model.file_mistakes()]

    @property
    def multiple(self) -> int:
        return RGGB.cell

    def smallest_input(self, height: int, width: int) -> tuple[int, int]:
        smallest = 4 * self.scale  # as the demosaicing needs
        return max(height, smallest), max(width, smallest)

    @property
    def _pools(self) -> bool:
        return self.scale > 1 or self.psf_sigma is not None

    def _signal(self, image: One, drawn: Drawn) -> Tensor:
        """What the camera records of the image, less noise: (4, h, w), 0 to 1."""
        camera, sigma = drawn.camera, drawn.blur
        if not self._pools:
            return _packed(image, camera)
        if self.pooling == "packed":
            return pooled_planes(_packed(image, camera), self.scale, sigma)
        if isinstance(image, Mosaic):
            return pooled_sites(_packed(image, camera), self.scale, sigma)
        light = pooled_light(light_of(np.asarray(image)), self.scale, sigma)
        return torch.from_numpy(packed_raw_of_light(light, camera))


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
