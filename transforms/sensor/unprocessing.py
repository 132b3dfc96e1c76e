"""From a finished sRGB photograph back to what the sensor saw, and forward again: each step beside its inverse.

    sRGB -> inverse tone curve -> linear sRGB -> colour matrix -> camera RGB -> inverse white balance -> raw RGB

Images are (..., 3, H, W); matrices (..., 3, 3) and white_balance (..., 3) have the same leading shape.
Source: Brooks et al., Unprocessing Images for Learned Raw Denoising, CVPR 2019. Its own way forward leaves out the
tone curve and the gain of the whole; the inverses here are true ones.
"""

import torch
from torch import Tensor

SMALLEST = 1e-8
"""Where the gamma curves start, so that their slopes stay finite."""
HIGHLIGHTS = 0.9
"""The mean of a camera RGB pixel from which on white is protected."""


def unprocess(image: Tensor, rgb_to_camera: Tensor, white_balance: Tensor) -> Tensor:
    """The raw RGB image, 0 = black level to 1 = white level, behind an sRGB image, 0 to 1."""
    camera = apply_matrix(srgb_to_linear(image), rgb_to_camera)
    return camera_to_raw(camera, white_balance).clamp(0, 1)


def process(raw: Tensor, rgb_to_camera: Tensor, white_balance: Tensor) -> Tensor:
    """The sRGB image, 0 to 1, of a raw RGB image; the inverse of unprocess where that clips nothing. Differentiable."""
    camera = raw_to_camera(raw, white_balance)
    return linear_to_srgb(apply_matrix(camera, torch.linalg.inv(rgb_to_camera)))


def srgb_to_linear(image: Tensor) -> Tensor:
    """Undoes the smoothstep tone curve and then the gamma: 0 to 1 become 0 to 1."""
    untoned = 0.5 - torch.sin(torch.asin(1 - 2 * image) / 3)
    return untoned.clamp(min=SMALLEST) ** 2.2


def linear_to_srgb(linear: Tensor) -> Tensor:
    """Gamma, then the smoothstep 3 x^2 - 2 x^3. What is not between 0 and 1 is clipped, as the curve would fold it."""
    encoded = linear.clamp(SMALLEST, 1) ** (1 / 2.2)
    return encoded * encoded * (3 - 2 * encoded)


def apply_matrix(image: Tensor, matrix: Tensor) -> Tensor:
    """Each pixel's three values times the matrix."""
    # Written out, since a matrix product may be rounded to ten bits on a GPU (TF32).
    red, green, blue = (image[..., channel, None, :, :] for channel in range(3))
    columns = matrix[..., None, None]
    return columns[..., 0, :, :] * red + columns[..., 1, :, :] * green + columns[..., 2, :, :] * blue


def camera_to_raw(camera: Tensor, white_balance: Tensor) -> Tensor:
    """Divides by the white balance, except in highlights, where white must stay white.

    Brooks writes it with g = 1 / white_balance as camera * max(m + (1 - m) g, g), where
    m = (max(mean - 0.9, 0) / 0.1)^2 and mean is the pixel's; the same is camera * g * (1 + m max(1/g - 1, 0)).
    """
    gains = white_balance[..., None, None]
    protection = _protection(camera.mean(-3, keepdim=True))
    return camera / gains * (1 + protection * (gains - 1).clamp(min=0))


def raw_to_camera(raw: Tensor, white_balance: Tensor) -> Tensor:
    """The inverse of camera_to_raw. Channels below black, as noise makes them, count as black in finding highlights."""
    gains = white_balance[..., None, None]
    balanced, excess = raw * gains, (gains - 1).clamp(min=0)
    bright = balanced.mean(-3) > HIGHLIGHTS
    pixels = balanced.movedim(-3, 0)[:, bright].clamp(min=0)
    mean = _camera_mean(pixels, excess.expand_as(balanced).movedim(-3, 0)[:, bright])
    protection = torch.zeros_like(balanced[..., 0, :, :]).masked_scatter(bright, _protection(mean))
    return balanced / (1 + protection.unsqueeze(-3) * excess)


def _protection(mean: Tensor) -> Tensor:
    return ((mean - HIGHLIGHTS).clamp(min=0) / (1 - HIGHLIGHTS)) ** 2


def _camera_mean(balanced: Tensor, excess: Tensor) -> Tensor:
    """Solves mean = average of balanced / (1 + m(mean) excess) over the channels, for balanced >= 0: (3, N) -> (N).

    The left side less the right side rises at least as fast as mean: there is one solution, between 0.9 and the average
    of balanced. Halving finds its neighbourhood and Newton's method the rest; its last step carries the gradient, since
    the derivative of x - f(x, b) / f'(x) by b is, at the solution, that of the solution itself.
    """
    with torch.no_grad():
        low = torch.full_like(balanced[0], HIGHLIGHTS)
        high = balanced.mean(0)
        for _ in range(10):
            middle = (low + high) / 2
            below = _mismatch(middle, balanced, excess)[0] < 0
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        mean = (low + high) / 2
        for _ in range(2):
            mismatch, slope = _mismatch(mean, balanced, excess)
            mean = mean - mismatch / slope
        slope = _mismatch(mean, balanced, excess)[1]
    return mean - _mismatch(mean, balanced, excess)[0] / slope


def _mismatch(mean: Tensor, balanced: Tensor, excess: Tensor) -> tuple[Tensor, Tensor]:
    """How far mean is from the average that it gives, and the derivative of that by mean."""
    divisor = 1 + _protection(mean) * excess
    camera = balanced / divisor
    protection_slope = 2 * (mean - HIGHLIGHTS).clamp(min=0) / (1 - HIGHLIGHTS) ** 2
    return mean - camera.mean(0), 1 + protection_slope * (camera * excess / divisor).mean(0)
