"""A plain version of the chain of options/scunet_raw.json: the reference for the speed of the suite's own transforms.

It makes one crop at a time, and each step works on all its pixels and colours in float32, as is usual in torch.
"""

import math

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from transforms.sensor.cameras import Camera, draw_camera
from transforms.sensor.unprocessing import unprocess

FACTOR, SIGMA, SIDE = 2, 1.0, 256
SHOT, READ = 3e-3, 1e-5


def plain_sample(photograph: np.ndarray, rng: Generator) -> tuple[Tensor, Tensor]:
    """(degraded, clean), each (4, 128, 128), of a random window of a photograph (H, W, 3), sRGB uint8."""
    top, left = (int(torch.randint(side - FACTOR * SIDE + 1, (), generator=rng)) for side in photograph.shape[:2])
    window = photograph[top : top + FACTOR * SIDE, left : left + FACTOR * SIDE]
    clean = plain_clean(window, draw_camera("normal", rng))
    return clean + (SHOT * clean + READ).sqrt() * torch.randn(clean.shape, generator=rng), clean


def plain_clean(window: np.ndarray, camera: Camera) -> Tensor:
    """The packed raw image (4, 128, 128) behind 512 x 512 pixels (512, 512, 3), sRGB uint8."""
    image = torch.from_numpy(window.transpose(2, 0, 1).astype(np.float32) / 255)
    margin = math.ceil(3 * SIGMA)
    taps = torch.exp(-(torch.arange(-margin, margin + 1.0) ** 2) / (2 * SIGMA**2))
    kernel = torch.outer(taps, taps) / taps.sum() ** 2
    padded = functional.pad(image[None], [margin] * 4, mode="reflect")
    blurred = functional.conv2d(padded, kernel.expand(3, 1, -1, -1), groups=3)[0]
    raw = unprocess(blurred[:, ::FACTOR, ::FACTOR], camera.rgb_to_camera, camera.white_balance)
    return torch.stack([raw[0, 0::2, 0::2], raw[1, 0::2, 1::2], raw[1, 1::2, 0::2], raw[2, 1::2, 1::2]])
