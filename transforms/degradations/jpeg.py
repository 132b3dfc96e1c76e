"""JPEG's artefacts."""

from typing import Annotated, Literal

import cv2
import numpy as np
import torch
from pydantic import Field
from torch import Generator

from transforms.base import Degradation
from transforms.noise.draws import NumberOrRange, Probability, happens


class JpegCompression(Degradation):
    """Writes the image as JPEG, with its colours at half the resolution (4:2:0), and reads it again: 8 bits."""

    class_name: Literal["JpegCompression"] = "JpegCompression"
    probability: Probability = 1
    """Share of the images that are compressed."""
    quality: NumberOrRange[Annotated[int, Field(ge=1, le=100)]] = (30, 95)
    """Quality, as libjpeg counts it, or [low, high] from which it is drawn, each number being equally likely."""

    def degrade(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        if not happens(self.probability, rng):
            return image
        low, high = self.quality if isinstance(self.quality, tuple) else (self.quality, self.quality)
        return compressed(image, low + int(torch.randint(high - low + 1, (), generator=rng)))


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """The image (H, W, 3), 0 to 1, as it comes back from a JPEG file of this quality."""
    pixels = cv2.cvtColor(np.rint(image.clip(0, 1) * 255).astype(np.uint8), cv2.COLOR_RGB2BGR)
    colours = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    _, file = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality, *colours])
    decoded = cv2.imdecode(file, cv2.IMREAD_COLOR_RGB)
    assert decoded is not None  # OpenCV has just written it
    return decoded.astype(np.float32) / 255
