"""The unsharp mask with which Real-ESRGAN sharpens the images to restore to."""

import cv2
import numpy as np

RADIUS, SIGMA = 25, 8.0
"""Reach and standard deviation of the Gaussian [px]."""
WEIGHT = 0.5
"""How much of the difference to the blurred image is added."""
THRESHOLD = 10 / 255
"""Smaller differences are taken for noise, and left alone."""


def sharpened(image: np.ndarray) -> np.ndarray:
    """The image (H, W, 3) float32, 0 to 1, sharpened where it has edges: float32, 0 to 1.

    Source: Real-ESRGAN's USM sharpening, xinntao/BasicSR, utils/img_process_util.py.
    """
    residual = image - _soft(image)
    mask = _soft((np.abs(residual) > THRESHOLD).astype(np.float32))
    sharp = (image + np.float32(WEIGHT) * residual).clip(0, 1)
    return mask * sharp + (1 - mask) * image


def _soft(image: np.ndarray) -> np.ndarray:
    size = 2 * RADIUS + 1
    return cv2.GaussianBlur(image, (size, size), SIGMA, borderType=cv2.BORDER_REFLECT_101)
