"""Pixel and structural terms: values computed by hand, and by others."""

import math

import numpy as np
import pytest
import skimage.data
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

import losses
from options.errors import UserError


def value(class_name: str, restored: torch.Tensor, clean: torch.Tensor, **options) -> torch.Tensor:
    """One term alone, as training computes it."""
    weighted = losses.build({"term": {"class_name": class_name, **options}}, n_channels=restored.shape[1])
    return weighted.generator_terms(restored, clean, {})["term"]


def photograph(height: int, width: int) -> torch.Tensor:
    pixels = skimage.data.astronaut()[:height, 100 : 100 + width]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def noisy(image: torch.Tensor, deviation: float) -> torch.Tensor:
    return image + deviation * torch.randn(image.shape, generator=torch.Generator().manual_seed(3))


def constant(level: float, side: int = 16) -> torch.Tensor:
    return torch.full((2, 4, side, side), level)


def test_pixel_terms_have_the_values_computed_by_hand():
    restored, clean = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[0.5, -1.0]]]])
    assert value("L1", restored, clean).item() == pytest.approx((0.5 + 2) / 2)
    assert value("L2", restored, clean).item() == pytest.approx((0.25 + 4) / 2)
    by_hand = (math.sqrt(0.25 + 0.3**2) + math.sqrt(4 + 0.3**2)) / 2
    assert value("Charbonnier", restored, clean, epsilon=0.3).item() == pytest.approx(by_hand)


def test_charbonnier_is_smooth_where_the_images_are_equal():
    restored = torch.zeros(1, 1, 2, 2, requires_grad=True)
    loss = value("Charbonnier", restored, torch.zeros(1, 1, 2, 2))
    loss.backward()
    assert loss.item() == pytest.approx(1e-3)
    assert torch.equal(restored.grad, torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize(("height", "width", "deviation"), [(64, 91, 0.02), (97, 64, 0.2)])
def test_ssim_equals_skimage(height, width, deviation):
    clean = photograph(height, width)
    restored = noisy(clean, deviation)
    theirs = structural_similarity(
        restored[0].double().numpy(),
        clean[0].double().numpy(),
        channel_axis=0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
    )
    assert 0.05 < theirs < 0.98
    assert value("ssim", restored, clean).item() == pytest.approx(1 - theirs, abs=1e-4)


def test_ssim_of_two_flat_images_is_their_luminance_term():
    luminance = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert value("ssim", constant(0.2), constant(0.6)).item() == pytest.approx(1 - luminance, abs=5e-5)
    coarsest_only = luminance**0.1333
    flat = constant(0.2, 161), constant(0.6, 161)
    assert value("ms_ssim", *flat).item() == pytest.approx(1 - coarsest_only, abs=5e-5)


def test_ms_ssim_equals_its_formula_in_double_precision():
    clean = photograph(176, 208)
    restored = noisy(clean, 0.1)
    by_channel = [
        ms_ssim_of_a_plane(a, b) for a, b in zip(restored[0].double().numpy(), clean[0].double().numpy(), strict=True)
    ]
    assert value("ms_ssim", restored, clean).item() == pytest.approx(1 - np.mean(by_channel), abs=1e-4)


def ms_ssim_of_a_plane(first: np.ndarray, second: np.ndarray) -> float:
    def blurred(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(image, 1.5, truncate=3.4)[5:-5, 5:-5]

    similarity = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            first, second = (
                (plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]) / 4
                for plane in (first, second)
            )
        mean_1, mean_2 = blurred(first), blurred(second)
        variance_1, variance_2 = blurred(first**2) - mean_1**2, blurred(second**2) - mean_2**2
        covariance = blurred(first * second) - mean_1 * mean_2
        contrast = (2 * covariance + 9e-4) / (variance_1 + variance_2 + 9e-4)
        luminance = (2 * mean_1 * mean_2 + 1e-4) / (mean_1**2 + mean_2**2 + 1e-4)
        similarity *= ((luminance * contrast if scale == 4 else contrast).mean()) ** weight
    return similarity


@pytest.mark.parametrize("class_name", ["L1", "L2", "ssim", "ms_ssim"])
def test_equal_images_cost_nothing_and_different_ones_something(class_name):
    clean = photograph(168, 168)
    assert value(class_name, clean, clean).item() == pytest.approx(0, abs=1e-5)
    assert value(class_name, noisy(clean, 0.1), clean).item() > 5e-3


def test_too_small_images_are_refused_with_their_size():
    with pytest.raises(UserError, match=r"^ms_ssim: images of 160 x 300 pixels given; it needs 161 x 161 or more"):
        value("ms_ssim", torch.zeros(1, 3, 160, 300), torch.zeros(1, 3, 160, 300))
    assert value("ms_ssim", torch.zeros(1, 3, 161, 161), torch.zeros(1, 3, 161, 161)).isfinite()
    with pytest.raises(UserError, match=r"^ssim: images of 32 x 10 pixels given; it needs 11 x 11 or more"):
        value("ssim", torch.zeros(1, 3, 32, 10), torch.zeros(1, 3, 32, 10))


def test_the_gradient_of_ms_ssim_is_finite_where_an_image_is_inverted():
    clean = photograph(161, 161)
    restored = (1 - clean).requires_grad_()
    value("ms_ssim", restored, clean).backward()
    assert restored.grad.isfinite().all()


@pytest.mark.parametrize("class_name", ["L1", "L2", "Charbonnier", "ssim", "ms_ssim"])
@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_half_precision_images_give_float32_losses(class_name, precision):
    clean = photograph(168, 168)
    restored = noisy(clean, 0.05).to(precision)
    with torch.autocast("cpu", torch.bfloat16):
        half = value(class_name, restored, clean)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(value(class_name, restored.float(), clean).item(), rel=1e-6)
