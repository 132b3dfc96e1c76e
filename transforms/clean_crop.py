"""Clean crops of photographs, and what is drawn for each: from them a whole batch is synthesised on a device.

All that a sample draws comes from its own generator, as where it is made alone: geometry, camera, noise level, and a
seed for the noise of its pixels. So a sample does not depend on the batch, the process and the worker that it is in.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from transforms.noise.sensor import SensorNoise
from transforms.sensor.cameras import Camera
from transforms.sensor.metadata import combine, map_tensors


class Drawn(NamedTuple):
    """What is drawn of how a camera records an image, before the noise of its pixels; or of a batch of them."""

    camera: Camera
    gain: float | Tensor | None
    """Factor of the clean raw image, of a batch (B,); None: it keeps its exposure."""
    noise: SensorNoise | None
    """None: it gets none. Of a batch (B, 4), on the CPU, and 0 for an image that gets none."""
    blur: float = 0.0
    """Standard deviation of the optics' blur [px of the clean image]."""


class CleanCrop(NamedTuple):
    """A crop, as it lies in the store."""

    image: np.ndarray
    """(H, W, 3) sRGB, uint8 or uint16; it may be a view of a file, which is read where it is stacked."""
    drawn: Drawn
    seed: int
    """Of the noise of its pixels."""


class CleanCrops(NamedTuple):
    """A batch of crops."""

    images: Tensor
    """(B, H, W, 3) sRGB, uint8; uint16 where one of them has 16 bits."""
    drawn: Drawn
    seeds: tuple[int, ...]

    def parts(self, size: int) -> "list[CleanCrops]":
        """The same as batches of at most this size."""
        cuts = [slice(start, start + size) for start in range(0, len(self.seeds), size)]
        return [map_tensors(self, itemgetter(cut))._replace(seeds=self.seeds[cut]) for cut in cuts]

    def to(self, device: torch.device) -> "CleanCrops":
        """The same with the images there. What noise models drew stays on the CPU, where it is looked at."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        drawn = self.drawn._replace(
            camera=map_tensors(self.drawn.camera, moved), gain=map_tensors(self.drawn.gain, moved)
        )
        return self._replace(images=moved(self.images), drawn=drawn)


def stacked(crops: Sequence[CleanCrop]) -> CleanCrops:
    """A batch of crops of one size."""
    images = [crop.image for crop in crops]
    if len({image.dtype for image in images}) > 1:  # 257 = 65535 / 255: the same values in 16 bits
        images = [image * np.uint16(257) if image.dtype == np.uint8 else image for image in images]
    cameras, gains, noises, _ = zip(*(crop.drawn for crop in crops), strict=True)
    gain = None if gains[0] is None else torch.tensor(gains, dtype=torch.float32)
    drawn = Drawn(combine(cameras, torch.stack), gain, _stacked_noise(noises))
    return CleanCrops(torch.from_numpy(np.stack(images)), drawn, tuple(crop.seed for crop in crops))


def _stacked_noise(noises: Sequence[SensorNoise | None]) -> SensorNoise | None:
    """(B, 4) of each number; None where no image gets noise."""
    kind = next((noise for noise in noises if noise is not None), None)
    return kind and combine([noise or map_tensors(kind, torch.zeros_like) for noise in noises], torch.stack)
