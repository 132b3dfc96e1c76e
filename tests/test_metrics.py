"""The numbers that a restoration is judged by."""

import json
import math
import tracemalloc

import pytest
import torch
from skimage.metrics import structural_similarity
from test_resampling import needs_set5, set5
from torch import Tensor
from torch.nn import functional

from options.errors import UserError
from restore.evaluation.metrics import MeanMetrics, baseline, bias, luma, measure, psnr, rendered, smallest_side, ssim
from restore.files.images import to_tensor
from restore.networks.upsampling import BicubicUpsampling
from transforms import RGGB, SRGB, NoiseProfile, RawMetadata
from transforms.degradations.resampling import imresize
from transforms.sensor.cameras import Camera, draw_camera
from transforms.sensor.rendering import develop


def noisy_pair(*shape: int, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    clean = functional.interpolate(torch.rand(1, *shape[-3:], generator=rng), scale_factor=4, mode="bicubic")
    clean = clean[0, :, : shape[-2], : shape[-1]].clamp(0, 1).expand(shape).clone()
    return clean + noise * torch.randn(clean.shape, generator=rng), clean


RAW_METRICS, BIASES = ("psnr_raw", "ssim_raw", "psnr_srgb", "ssim_srgb"), ("bias_R", "bias_G1", "bias_G2", "bias_B")


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
    assert list(measured) == [*RAW_METRICS, *BIASES]
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


def test_luma_is_that_of_bt_601_on_levels_of_8_bits():
    levels = torch.tensor([[0.0, 0, 0], [255, 255, 255], [255, 0, 0], [128, 64, 200], [128.4, 63.6, 200.4]])
    expected = torch.tensor([16, 235, 81.481, 100.7144, 100.7144])
    torch.testing.assert_close(255 * luma(levels.T[:, None] / 255)[0, 0], expected, rtol=0, atol=1e-4)


@needs_set5
@pytest.mark.parametrize(("scale", "y", "similarity"), [(2, 33.679, 0.9304), (3, 30.406, 0.8690), (4, 28.432, 0.8113)])
def test_bicubic_has_the_fields_numbers_on_set5(scale, y, similarity):
    metrics = MeanMetrics()
    for high, low in set5(scale):
        enlarged = baseline(to_tensor(low), SRGB, scale)
        metrics.add(measure(enlarged, to_tensor(high), None, SRGB, scale))
    assert metrics.mean()["psnr_y"] == pytest.approx(y, abs=1e-3)
    assert metrics.mean()["ssim_y"] == pytest.approx(similarity, abs=1e-4)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 7), (13, 20)])
def test_the_baseline_of_srgb_is_matlabs_up_to_its_border(scale, height, width):
    image = torch.rand(2, 3, height, width)
    for enlarged, small in zip(baseline(image, SRGB, scale), image, strict=True):
        matlab = imresize(small.permute(1, 2, 0).numpy(), scale * height, scale * width)
        torch.testing.assert_close(enlarged, torch.from_numpy(matlab).permute(2, 0, 1).float(), rtol=0, atol=1e-6)


def test_the_border_is_left_out_of_luma_and_of_nothing_else():
    estimate, clean = noisy_pair(3, 40, 30)
    spoilt = estimate.clone()
    spoilt[:, :3], spoilt[..., -3:] = 0, 1
    before, after = (measure(image, clean, None, SRGB, scale=3) for image in (estimate, spoilt))
    for name in ("psnr_y", "ssim_y"):
        assert before[name] == after[name]
        assert before[name] != measure(spoilt, clean, None, SRGB, scale=2)[name]
    assert after["psnr_srgb"] < before["psnr_srgb"]


def test_a_degraded_mosaic_is_measured_over_its_planes_each_enlarged_at_the_places_of_its_colour():
    rng = torch.Generator().manual_seed(0)
    small, clean = torch.rand(4, 12, 14, generator=rng), torch.rand(4, 24, 28, generator=rng)
    camera = Camera(torch.eye(3), torch.tensor([2.0, 1.0, 1.6]))
    enlarged = baseline(small, RGGB, 2)
    measured = measure(enlarged, clean, RawMetadata(camera, NoiseProfile.unknown()), RGGB, 2)
    assert list(measured) == [*RAW_METRICS, *BIASES]
    assert measured["psnr_raw"] == psnr(enlarged, clean)
    interpolated = BicubicUpsampling(4, RGGB, 2)(small[None])[0]
    torch.testing.assert_close(enlarged[:, 4:-4, 4:-4], interpolated[:, 4:-4, 4:-4])


def test_without_a_scale_the_baseline_is_the_degraded_image_itself():
    image = torch.rand(3, 8, 8)
    assert baseline(image, SRGB, 1) is image


@pytest.mark.parametrize(("layout", "scale"), [(SRGB, 1), (SRGB, 4), (RGGB, 4)])
def test_the_smallest_side_can_be_measured_and_no_smaller_one(layout, scale):
    side = smallest_side(layout, scale)
    metadata = RawMetadata(Camera(torch.eye(3), torch.ones(3)), NoiseProfile.unknown()) if layout.raw else None
    whole, small = (torch.rand(layout.channels, length, length) for length in (side, side - 1))
    assert all(value.isfinite() for value in measure(whole, whole, metadata, layout, scale).values())
    with pytest.raises(UserError, match="too small for SSIM"):
        measure(small, small, metadata, layout, scale)


def test_a_cast_in_the_shadows_is_told_by_the_bias_though_psnr_hides_it():
    clean = torch.full((2, 4, 16, 16), 0.01)
    cast = clean + torch.tensor([1e-4, 0, 0, -2e-4])[:, None, None]
    metadata = RawMetadata(draw_camera("fixed", torch.Generator()), NoiseProfile.unknown())
    measured = measure(cast[0], clean[0], metadata, RGGB)
    assert measured["psnr_raw"] > 78
    assert [float(measured[name]) for name in BIASES] == pytest.approx([0.01, 0, 0, -0.02], abs=1e-5)
    assert bias(cast, clean).shape == (2, 4)
    assert bias(clean, torch.zeros_like(clean)).isfinite().all()
