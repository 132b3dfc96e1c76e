"""The numbers that a restoration is judged by."""

import json
import math
import tracemalloc

import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor
from torch.nn import functional

from options.errors import UserError
from restore.evaluation.metrics import MeanMetrics, measure, psnr, rendered, ssim
from transforms import RGGB, SRGB, NoiseProfile, RawMetadata
from transforms.sensor.cameras import Camera
from transforms.sensor.rendering import develop


def noisy_pair(*shape: int, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    clean = functional.interpolate(torch.rand(1, *shape[-3:], generator=rng), scale_factor=4, mode="bicubic")
    clean = clean[0, :, : shape[-2], : shape[-1]].clamp(0, 1).expand(shape).clone()
    return clean + noise * torch.randn(clean.shape, generator=rng), clean


def test_psnr_is_20_db_for_an_error_of_a_tenth():
    clean = torch.full((4, 16, 16), 0.5)
    assert psnr(clean + 0.1, clean).item() == pytest.approx(20, abs=1e-5)
    assert psnr(clean + 0.01, clean).item() == pytest.approx(40, abs=1e-4)


def test_the_estimate_is_clipped_and_the_clean_image_is_not():
    clean = torch.tensor([-0.2, 1.2]).repeat(3, 8, 4)
    assert psnr(clean, clean).item() == pytest.approx(-20 * math.log10(0.2), abs=1e-5)
    assert psnr(torch.tensor([-5.0, 5.0]).repeat(3, 8, 4), clean.clamp(0, 1)).item() == 100


def test_identical_images_have_metrics_that_json_can_hold():
    clean = torch.rand(2, 3, 16, 16)
    metrics = MeanMetrics()
    metrics.add(measure(clean, clean, None, SRGB))
    assert json.loads(json.dumps(metrics.mean(), allow_nan=False)) == {"psnr_srgb": 100, "ssim_srgb": 1}


def test_a_batch_gives_one_value_for_each_image_and_an_image_a_number():
    estimate, clean = noisy_pair(3, 4, 24, 20)
    estimate[1] = clean[1] + 0.5 * (estimate[1] - clean[1])
    for metric in (psnr, ssim):
        values = metric(estimate, clean).tolist()
        assert values == pytest.approx([metric(*pair).tolist() for pair in zip(estimate, clean, strict=True)])
        assert isinstance(metric(estimate[0], clean[0]).tolist(), float)
        assert values[1] > values[0]
    assert psnr(estimate, clean)[1] - psnr(estimate, clean)[0] > 5


def test_half_precision_is_measured_in_full_precision():
    estimate, clean = noisy_pair(1, 3, 64, 64)
    assert psnr(estimate.bfloat16(), clean).item() == pytest.approx(psnr(estimate, clean).item(), abs=0.02)
    assert ssim(estimate.bfloat16(), clean).item() == pytest.approx(ssim(estimate, clean).item(), abs=1e-3)


def test_ssim_is_the_published_formula():
    """Wang et al. 2004, equations 13: written out with an 11 x 11 Gaussian window of 1.5 pixels, no padding."""
    estimate, clean = noisy_pair(3, 40, 30)
    profile = torch.exp(-(torch.arange(-5.0, 6) ** 2) / (2 * 1.5**2)).double()
    window = profile.outer(profile) / profile.sum() ** 2

    def local_mean(image: Tensor) -> Tensor:
        return functional.conv2d(image.double()[:, None], window[None, None])

    x, y = estimate.clamp(0, 1), clean
    mean_x, mean_y = local_mean(x), local_mean(y)
    variance_x, variance_y = local_mean(x.double() ** 2) - mean_x**2, local_mean(y.double() ** 2) - mean_y**2
    covariance = local_mean(x.double() * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    assert similarity.mean() < 0.9
    assert ssim(estimate, clean).item() == pytest.approx(similarity.mean().item(), abs=1e-5)


@pytest.mark.parametrize("height", [265, 266, 267, 700])
def test_ssim_of_a_large_image_is_that_of_the_whole_in_little_memory(height):
    estimate, clean = noisy_pair(3, height, 300)
    arrays = estimate.clamp(0, 1).numpy(), clean.numpy()
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    whole = structural_similarity(*arrays, channel_axis=0, data_range=1, **settings)
    assert ssim(estimate, clean).item() == pytest.approx(whole, abs=1e-6)
    if height == 700:
        tracemalloc.start()
        ssim(estimate, clean)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 6 * arrays[0].nbytes, "of the whole image it takes a dozen times its memory"


def test_an_image_smaller_than_the_window_of_ssim_is_named_with_its_size():
    with pytest.raises(UserError, match="30 x 10 pixels is too small for SSIM"):
        ssim(torch.zeros(3, 10, 30), torch.zeros(3, 10, 30))
    assert ssim(torch.zeros(3, 11, 11), torch.zeros(3, 11, 11)).item() == 1


def test_the_mean_counts_each_image_once_whatever_the_batches():
    for batches in ([[30.0]], [[30.0] * 4], [[30.0], [30.0, 30.0, 30.0]]):
        metrics = MeanMetrics()
        for batch in batches:
            metrics.add({"psnr_srgb": torch.tensor(batch)})
        assert metrics.mean() == {"psnr_srgb": 30}
    metrics = MeanMetrics()
    metrics.add({"psnr_srgb": torch.tensor([10.0, 20.0, 30.0])})
    metrics.add({"psnr_srgb": torch.tensor(40.0)})
    assert metrics.mean() == {"psnr_srgb": 25}


def test_raw_is_measured_as_it_is_and_as_rendered_for_the_eye():
    estimate, clean = noisy_pair(2, 4, 16, 16)
    camera = Camera(torch.eye(3).expand(2, 3, 3), torch.tensor([[2.0, 1.0, 1.6], [1.0, 1.0, 1.0]]))
    measured = measure(estimate, clean, RawMetadata(camera, NoiseProfile.unknown()), RGGB)
    assert list(measured) == ["psnr_raw", "ssim_raw", "psnr_srgb", "ssim_srgb"]
    assert measured["psnr_raw"].tolist() == psnr(estimate, clean).tolist()
    assert measured["ssim_raw"].tolist() == ssim(estimate, clean).tolist()
    seen, meant = develop(estimate, camera), develop(clean, camera)
    assert measured["psnr_srgb"].tolist() == psnr(seen, meant).tolist()
    assert measured["ssim_srgb"].tolist() == ssim(seen, meant).tolist()
    assert (measured["psnr_raw"] - measured["psnr_srgb"]).abs().min() > 0.1


@pytest.mark.parametrize("height", [255, 257, 600])
def test_a_large_raw_image_is_rendered_as_a_small_one_is(height):
    image, _ = noisy_pair(2, 4, height, 16)
    camera = Camera(torch.eye(3).expand(2, 3, 3), torch.tensor([[2.0, 1.0, 1.6], [1.0, 1.0, 1.0]]))
    metadata = RawMetadata(camera, NoiseProfile.unknown())
    torch.testing.assert_close(rendered(image, metadata, RGGB), RGGB.render(image, metadata), rtol=0, atol=1e-6)


def test_srgb_is_measured_without_rendering():
    estimate, clean = noisy_pair(1, 3, 16, 16)
    measured = measure(estimate, clean, None, SRGB)
    assert list(measured) == ["psnr_srgb", "ssim_srgb"]
    assert measured["psnr_srgb"].tolist() == psnr(estimate, clean).tolist()
