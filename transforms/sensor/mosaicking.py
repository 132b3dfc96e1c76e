"""From an sRGB photograph to the mosaic that a camera would have recorded of it, made fast: for one image on a CPU, and
for a batch of them on another device."""

from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor

from transforms.sensor.cameras import COLOUR_OF_SITE, Camera
from transforms.sensor.unprocessing import HIGHLIGHTS, srgb_to_linear


def packed_raw(image: np.ndarray, camera: Camera) -> np.ndarray:
    """unprocessing.unprocess, then the mosaic, packed: the same numbers made fast for one image on a CPU.

    image   (H, W, 3) sRGB: uint8, uint16, or float32 from 0 to 1
    result  (4, H // 2, W // 2) float32: R, G1, G2, B, 0 = black level to 1 = white level
    The tone curve is a table, so float32 is clipped, and taken to the nearest of 65536 levels: that is off by less than
    1e-4 in raw up to 0.995 in sRGB, and by more close to white, where the curve is steep. Integers are exact.
    """
    sites = _sites(image)
    if sites.dtype == np.float32:
        sites = to_16_bits(sites)
    return _recorded(cv2.LUT(sites.reshape(12, -1), _tone_table(np.iinfo(sites.dtype).max + 1)), camera, image.shape)


def packed_raw_of_batch(images: Tensor, camera: Camera) -> Tensor:
    """packed_raw of a batch, on its device.

    images  (B, H, W, 3) sRGB, uint8 or uint16
    camera  of each, its tensors with a leading B
    result  (B, 4, H // 2, W // 2) float32, as packed_raw gives it; on other devices than the CPU to about 1e-6
    """
    if images.device.type != "cpu":
        return recorded_of_batch(images, camera)
    pairs = zip(images.numpy(), zip(*camera, strict=True), strict=True)
    return torch.stack([torch.from_numpy(packed_raw(image, Camera(*facts))) for image, facts in pairs])


def recorded_of_batch(images: Tensor, camera: Camera) -> Tensor:
    """packed_raw_of_batch as any device computes it: without a look at the values, which would wait for the device."""
    size, height, width = len(images), images.shape[1] // 2, images.shape[2] // 2
    cells = images[:, : 2 * height, : 2 * width].reshape(size, height, 2, width, 2, 3)
    levels = cells.permute(0, 5, 2, 4, 1, 3).reshape(size, 3, 4, height, width)
    table = _tone_table_on(torch.iinfo(images.dtype).max + 1, images.device)
    red, green, blue = table[levels.int()].unbind(1)
    # Written out, since a matrix product may be rounded to ten bits on a GPU (TF32).
    gains = camera.white_balance[:, COLOUR_OF_SITE, None, None]
    own = (camera.rgb_to_camera[:, COLOUR_OF_SITE, :, None, None] / gains[:, :, None]).unbind(2)
    of_all = camera.rgb_to_camera.mean(1)[:, :, None, None, None].unbind(1)
    raw = own[0] * red + own[1] * green + own[2] * blue
    mean = of_all[0] * red + of_all[1] * green + of_all[2] * blue
    protection = (mean - HIGHLIGHTS).clamp(min=0).square() * ((gains - 1).clamp(min=0) / (1 - HIGHLIGHTS) ** 2)
    return (raw * (protection + 1)).clamp_(0, 1)


def packed_raw_of_light(light: np.ndarray, camera: Camera) -> np.ndarray:
    """packed_raw of linear sRGB (H, W, 3), float32 from 0 to 1."""
    return _recorded(_sites(light), camera, light.shape)


def light_of(image: np.ndarray) -> np.ndarray:
    """The linear sRGB behind an sRGB image (H, W, 3), of the kinds that packed_raw takes: (H, W, 3) float32, 0 to 1."""
    levels = to_16_bits(image) if image.dtype == np.float32 else np.ascontiguousarray(image)
    return cv2.LUT(levels, _tone_table(np.iinfo(levels.dtype).max + 1))


def _recorded(linear: np.ndarray, camera: Camera, shape: tuple[int, ...]) -> np.ndarray:
    """What each site records of the light on it, (4, H // 2, W // 2), of the linear sRGB at the four kinds of sites.

    As transforms.sensor.unprocessing.camera_to_raw, of each site only the colour that it records.
    """
    linear = linear.reshape(4, 3, -1)
    matrix = camera.rgb_to_camera.numpy()
    gains = camera.white_balance.numpy()[COLOUR_OF_SITE, None]
    mean_of_all = np.broadcast_to(matrix.mean(0), (4, 3))
    colours = np.matmul(np.stack([matrix[COLOUR_OF_SITE] / gains, mean_of_all], axis=1), linear)
    raw, mean = colours[:, 0], colours[:, 1]
    if mean.max() > HIGHLIGHTS:
        protection = np.maximum(mean - np.float32(HIGHLIGHTS), 0)
        protection *= protection
        protection *= np.maximum(gains - 1, 0) / np.float32((1 - HIGHLIGHTS) ** 2)
        protection += 1
        raw *= protection
    return np.clip(raw, 0, 1).reshape(4, shape[0] // 2, shape[1] // 2)


def to_16_bits(image: np.ndarray) -> np.ndarray:
    """float32, clipped to 0 to 1 and rounded to the nearest of the levels that the tone table has: uint16."""
    scaled = image * np.float32(65535)
    scaled += np.float32(0.5)
    return scaled.clip(0, 65535, out=scaled).astype(np.uint16)


def _sites(image: np.ndarray) -> np.ndarray:
    """The pixels at the R sites of the mosaic, at its G1, G2 and B sites: (4, 3, H // 2, W // 2)."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    cells = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
    return cells.transpose(1, 3, 4, 0, 2).reshape(4, 3, height, width)


@cache
def _tone_table(levels: int) -> np.ndarray:
    return srgb_to_linear(torch.linspace(0, 1, levels, dtype=torch.float64)).float().numpy()


@cache
def _tone_table_on(levels: int, device: torch.device) -> Tensor:
    return torch.from_numpy(_tone_table(levels)).to(device)
