"""A photograph taken again: the noise of a camera, and what demosaicing makes of it."""

import cv2
import numpy as np
import torch
from torch import Generator

from transforms.noise import Unprocessing, add_noise
from transforms.sensor.cameras import draw_camera
from transforms.sensor.mosaicking import packed_raw
from transforms.sensor.rendering import develop

ANY = 12500
"""An ISO speed for the model below, which takes no notice of it."""


def photographed(image: np.ndarray, rng: Generator) -> np.ndarray:
    """The image (H, W, 3), float32 from 0 to 1, as a drawn camera records, demosaics and develops it: float32, 0 to 1.

    Source: Brooks et al., Unprocessing Images for Learned Raw Denoising, CVPR 2019, for the camera and its noise.
    """
    height, width = image.shape[:2]
    missing = [max(side + side % 2, 4) - side for side in (height, width)]  # the mosaic wants even sides, of 4 or more
    even = cv2.copyMakeBorder(image, 0, missing[0], 0, missing[1], cv2.BORDER_REFLECT)
    camera = draw_camera("normal", rng)
    raw = torch.from_numpy(packed_raw(even, camera))
    noisy = add_noise(raw, Unprocessing().draw(ANY, rng), rng)
    return np.ascontiguousarray(develop(noisy, camera).numpy().transpose(1, 2, 0))[:height, :width]
