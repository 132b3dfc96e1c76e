"""Resampling is MATLAB's: known values, and the low-resolution images that the field measures on, bit for bit."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from transforms.degradations.bicubic import BicubicDownsample
from transforms.degradations.resampling import imresize

SET5 = Path(__file__).parents[2] / "shared" / "data" / "photos" / "set5"
needs_set5 = pytest.mark.skipif(not SET5.exists(), reason="Set5 is not there (shared/data/photos/set5)")


def generator():
    return torch.Generator().manual_seed(0)


def pattern(side):
    rows, columns = np.mgrid[:side, :side]
    return ((side * rows + columns) ** 2 % 97).astype(np.float64)[..., None]


def set5(scale):
    """(high, low) resolution of each of the five, (H, W, 3) uint8 RGB."""
    for number in range(1, 6):
        stem = SET5 / f"image_SRF_{scale}" / f"img_{number:03}_SRF_{scale}"
        yield tuple(cv2.imread(f"{stem}_{kind}.png")[..., ::-1] for kind in ("HR", "LR"))


def luma(image):
    """Y of BT.601, 16 to 235, of an image 0 to 1 as 8 bits hold it."""
    return 16 + np.floor(image * 255 + 0.5).clip(0, 255) @ np.array([65.481, 128.553, 24.966]) / 255


def y_psnr(image, reference, border):
    error = (luma(image) - luma(reference))[border:-border, border:-border]
    return 10 * np.log10(255**2 / np.mean(error**2))


def test_it_computes_what_matlab_computes():
    half, quarter, third = imresize(pattern(8), 4, 4), imresize(pattern(8), 2, 2), imresize(pattern(9), 3, 3)
    first_rows = [
        [30.75137329, 13.87263489, 34.74153137, 36.40008545],
        [74.09509277, 56.80461121, 37.04972839, 62.368927],
    ]
    np.testing.assert_allclose(half[:2, :, 0], first_rows, atol=1e-8)
    np.testing.assert_allclose(quarter[..., 0], [[40.8313005, 42.57873368], [56.65075517, 59.00171065]], atol=1e-8)
    np.testing.assert_allclose(third[0, :, 0], [25.23822588, 36.07636031, 59.99405578], atol=1e-8)
    enlarged = imresize(half, 8, 8)[0, :4, 0]
    np.testing.assert_allclose(enlarged, [28.26666248, 22.68887067, 11.53328705, 13.68939826], atol=1e-8)


@pytest.mark.parametrize(
    ("scale", "taps"),
    [
        (2, [-0.01171875, -0.03515625, 0.11328125, 0.43359375] * 2),
        (3, np.array([-1, -2, 0, 9, 21, 27, 21, 9, 0, -2, -1]) / 81),
        (4, [-0.00170898, -0.01098633, -0.01831055, -0.01196289, 0.02270508, 0.09741211, 0.18188477, 0.24096680] * 2),
    ],
)
def test_downsampling_weighs_the_pixels_around_the_middle_of_the_pixel_that_it_makes(scale, taps):
    count, side = len(taps), 24 * scale
    taps = taps if count % 2 else [*taps[: count // 2], *taps[: count // 2][::-1]]
    weights = imresize(np.eye(side)[..., None], 24, side)[..., 0]
    for pixel in (8, 15):
        first = round(scale * pixel + (scale - 1) / 2 - (count - 1) / 2)
        np.testing.assert_allclose(weights[pixel, first : first + count], taps, atol=1e-8)
        assert np.abs(weights[pixel]).sum() == pytest.approx(np.abs(taps).sum())


@pytest.mark.parametrize(("height", "width"), [(24, 30), (48, 20), (96, 120), (31, 77)])
def test_away_from_borders_it_is_torchs_antialiased_bicubic(height, width):
    image = np.random.default_rng(0).random((48, 60, 3))
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = interpolate(planes, size=(height, width), mode="bicubic", antialias=True)[0].permute(1, 2, 0).numpy()
    inner = slice(10, -10)
    np.testing.assert_allclose(imresize(image, height, width)[inner, inner], expected[inner, inner], atol=1e-12)


@needs_set5
def test_the_low_resolution_images_of_set5_come_out_bit_for_bit():
    values = 0
    for scale in (2, 3, 4):
        transform = BicubicDownsample(scale=scale, border="replicate")
        for high, low in set5(scale):
            made = transform(np.ascontiguousarray(high), generator()).degraded
            np.testing.assert_array_equal(made, low / np.float32(255))
            values += low.size
    assert values == 719_952


@needs_set5
@pytest.mark.parametrize(("scale", "expected"), [(2, 33.679), (3, 30.406), (4, 28.432)])
def test_bicubic_enlargement_of_set5_measures_as_published(scale, expected):
    scores = [y_psnr(imresize(low / 255, *high.shape[:2]), high / 255, scale) for high, low in set5(scale)]
    assert np.mean(scores) == pytest.approx(expected, abs=1e-3)


def test_without_rounding_values_between_the_levels_are_kept():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    smooth, rounded = (BicubicDownsample(scale=2, rounded=r)(image, generator()).degraded for r in (False, True))
    np.testing.assert_allclose(smooth, imresize(image / 255, 16, 16), atol=1e-6)
    assert np.abs(smooth * 255 - np.rint(smooth * 255)).max() > 0.4
    np.testing.assert_allclose(rounded * 255, np.rint(rounded * 255), atol=1e-4)
    np.testing.assert_allclose(rounded, smooth.clip(0, 1), atol=1.6 / 255)
