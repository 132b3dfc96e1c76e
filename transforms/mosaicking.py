"""From an sRGB photograph to the mosaic that a camera would have recorded of it, made fast for one image on a CPU."""

from functools import cache

import cv2
import numpy as np
import torch

from transforms.cameras import Camera
from transforms.unprocessing import HIGHLIGHTS, srgb_to_linear


def packed_raw(image: np.ndarray, camera: Camera) -> np.ndarray:
    """transforms.unprocessing.unprocess, then the mosaic, packed: the same numbers made fast for one image on a CPU.

    image   (H, W, 3) sRGB: uint8, uint16, or float32 from 0 to 1
    result  (4, H // 2, W // 2) float32: R, G1, G2, B, 0 = black level to 1 = white level
    The tone curve is a table, so float32 is taken to the nearest of 65536 levels: that is off by less than 1e-4 in raw
    up to 0.995 in sRGB, and by more close to white, where the curve is steep. Integers are exact.
    """
    if image.dtype == np.float32:
        scaled = image * np.float32(65535)
        scaled += np.float32(0.5)
        image = scaled.astype(np.uint16)
    linear = _tone_table(np.iinfo(image.dtype).max + 1).take(image)
    matrix = camera.rgb_to_camera.numpy()
    red, green, blue = np.moveaxis(cv2.transform(linear, matrix), -1, 0)
    mean = cv2.transform(linear, matrix.mean(0, keepdims=True))
    # From here on as transforms.unprocessing.camera_to_raw.
    gains = camera.white_balance.numpy()[[0, 1, 1, 2], None, None]
    protection = _at_sites(mean, mean, mean, mean)
    protection -= np.float32(HIGHLIGHTS)
    np.maximum(protection, 0, out=protection)
    protection *= protection
    protection *= np.maximum(gains - 1, 0) / np.float32((1 - HIGHLIGHTS) ** 2)
    protection += 1
    raw = _at_sites(red, green, green, blue)
    raw *= protection
    raw /= gains
    return np.clip(raw, 0, 1, out=raw)


def _at_sites(*planes: np.ndarray) -> np.ndarray:
    """Of four planes (H, W): the first at the mosaic's R sites, the second at G1 ...: (4, H // 2, W // 2)."""
    height, width = planes[0].shape[0] // 2 * 2, planes[0].shape[1] // 2 * 2
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    return np.stack([plane[row:height:2, column:width:2] for plane, (row, column) in zip(planes, corners, strict=True)])


@cache
def _tone_table(levels: int) -> np.ndarray:
    return srgb_to_linear(torch.linspace(0, 1, levels, dtype=torch.float64)).float().numpy()
