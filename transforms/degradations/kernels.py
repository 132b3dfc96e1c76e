"""Blur kernels, each centred and with sum 1: (size, size) float32, size odd.

Sources: Wang et al., Real-ESRGAN, ICCV Workshops 2021, section 3; Liu et al., Estimating generalized Gaussian blur
kernels for out-of-focus image deblurring, 2020, for the generalised ones.
"""

import cv2
import numpy as np
from scipy.special import j1

SHARPEST = 0.01
"""Standard deviation [px] that blurs no more than 0 does."""


def gaussian(size: int, across: float, along: float, angle: float) -> np.ndarray:
    """A Gaussian with these two standard deviations [px], the first along x once it is turned by the angle [rad]."""
    return _normalised(np.exp(-_distance(size, across, along, angle) / 2))


def generalised_gaussian(size: int, across: float, along: float, angle: float, shape: float) -> np.ndarray:
    """exp(-q^shape / 2), where q is the Gaussian's squared distance: flatter on top with a shape above 1."""
    return _normalised(np.exp(-(_distance(size, across, along, angle) ** shape) / 2))


def plateau(size: int, across: float, along: float, angle: float, shape: float) -> np.ndarray:
    """1 / (1 + q^shape), where q is the Gaussian's squared distance."""
    return _normalised(1 / (1 + _distance(size, across, along, angle) ** shape))


def sinc(size: int, cutoff: float) -> np.ndarray:
    """The ideal low pass of all directions, which rings: cutoff * J1(cutoff * r) / (2 pi r), cutoff in rad/px."""
    x, y = _grid(size)
    radius = np.hypot(x, y)
    radius[size // 2, size // 2] = 1
    kernel = cutoff * j1(cutoff * radius) / (2 * np.pi * radius)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * np.pi)
    return _normalised(kernel)


def blurred(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The image (H, W) or (H, W, 3), float32, seen through the kernel; beyond its edges it is mirrored."""
    return cv2.filter2D(image, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101)


def _distance(size: int, across: float, along: float, angle: float) -> np.ndarray:
    """q = p^T covariance^-1 p for each pixel p of the kernel."""
    x, y = _grid(size)
    cosine, sine = np.cos(angle), np.sin(angle)
    first, second = cosine * x + sine * y, cosine * y - sine * x
    return (first / max(across, SHARPEST)) ** 2 + (second / max(along, SHARPEST)) ** 2


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:size, :size] - float(size // 2)
    return x, y


def _normalised(kernel: np.ndarray) -> np.ndarray:
    return (kernel / kernel.sum()).astype(np.float32)
