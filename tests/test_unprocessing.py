"""From sRGB to raw and back: the published values, and an exact inverse."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from transforms.sensor.cameras import draw_camera, rgb_to_camera
from transforms.sensor.unprocessing import (
    apply_matrix,
    camera_to_raw,
    linear_to_srgb,
    process,
    raw_to_camera,
    srgb_to_linear,
    unprocess,
)

EQUAL_MIX = torch.tensor(rgb_to_camera([1, 1, 1, 1]))
GAINS = 1.25 * torch.tensor([2.15, 1, 1.7], dtype=torch.float64)


def colours(count, seed=0, low=0.0):
    return low + (1 - low) * torch.rand(3, 1, count, generator=torch.Generator().manual_seed(seed))


def unclipped(raw):
    return ((raw > 0) & (raw < 1)).all(-3)


def test_the_tone_curve_has_its_known_values():
    quarter = torch.tensor(0.25, dtype=torch.float64)
    assert float(0.5 - torch.sin(torch.asin(1 - 2 * quarter) / 3)) == pytest.approx(0.326352, abs=5e-7)
    assert float(srgb_to_linear(quarter)) == pytest.approx(0.0851352, abs=5e-8)
    ends = srgb_to_linear(torch.tensor([0, 1], dtype=torch.float64))
    assert_close(ends, torch.tensor([0, 1], dtype=torch.float64), rtol=0, atol=1e-15)


def test_the_tone_curve_and_its_inverse_undo_one_another():
    levels = torch.linspace(0, 1, 65536)
    assert_close(linear_to_srgb(srgb_to_linear(levels)), levels, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("grey", "raw"), [(0.5, (0.08098, 0.17411, 0.10242)), (0.99, (0.32557, 0.69998, 0.41175)), (1.0, (1.0, 1.0, 1.0))]
)
def test_grey_becomes_its_known_raw_values(grey, raw):
    image = torch.full((3, 1, 1), grey, dtype=torch.float64)
    result = unprocess(image, EQUAL_MIX, GAINS)
    assert_close(result.flatten(), torch.tensor(raw, dtype=torch.float64), rtol=0, atol=6e-6)


def test_highlights_are_protected_as_brooks_writes_it():
    camera = colours(1000, low=0.7).double() * 1.1
    for gains in (GAINS, torch.tensor([1.3, 0.9, 0.7], dtype=torch.float64)):
        g = (1 / gains).view(3, 1, 1)
        m = ((camera.mean(0) - 0.9).clamp(min=0) / 0.1) ** 2
        assert_close(camera_to_raw(camera, gains), camera * torch.maximum(m + (1 - m) * g, g))


gain = st.floats(0.8, 1.6)
weights = st.lists(st.floats(0.01, 1), min_size=4, max_size=4)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(weights=weights, whole=gain, red=st.floats(1, 3), blue=st.floats(1, 3), low=st.sampled_from([0.0, 0.8, 0.97]))
def test_processing_is_the_exact_inverse_for_any_camera_and_gains_highlights_included(weights, whole, red, blue, low):
    matrix = torch.tensor(rgb_to_camera(weights), dtype=torch.float32)
    gains = whole * torch.tensor([red, 1, blue])
    image = torch.cat([colours(3000, low=low), torch.linspace(0, 1, 500).expand(3, 1, -1)], dim=-1)
    raw = unprocess(image, matrix, gains)
    kept = unclipped(raw)
    assert kept.any()
    assert (process(raw, matrix, gains) - image)[:, kept].abs().max() < 1e-5


def test_white_and_black_come_back():
    matrix, gains = EQUAL_MIX.float(), GAINS.float()
    image = torch.tensor([0.0, 1.0]).expand(3, 1, 2)
    assert_close(process(unprocess(image, matrix, gains), matrix, gains), image, rtol=0, atol=1e-5)


def test_any_raw_image_noisy_and_beyond_white_is_rendered_to_finite_colours_with_finite_gradients():
    raw = (3 * torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(1))).requires_grad_()
    result = process(raw, EQUAL_MIX.float(), GAINS.float())
    result.sum().backward()
    assert result.detach().isfinite().all()
    assert result.min() >= 0
    assert result.max() <= 1
    assert raw.grad.isfinite().all()


def test_the_highlights_equation_is_solved_for_extreme_gains_too():
    generator = torch.Generator().manual_seed(2)
    gains = torch.tensor([8.0, 1.5, 6.0], dtype=torch.float64)
    camera = 0.6 + 0.5 * torch.rand(3, 100, 100, generator=generator, dtype=torch.float64)
    assert_close(raw_to_camera(camera_to_raw(camera, gains), gains), camera, rtol=0, atol=1e-9)


def test_a_channel_below_black_counts_as_black_in_finding_the_highlights():
    raw = torch.tensor([-2.0, 3.0, 3.0], dtype=torch.float64).view(3, 1, 1)
    assert_close(raw_to_camera(raw, GAINS)[1:], raw_to_camera(raw.clamp(min=0), GAINS)[1:])


@pytest.mark.parametrize("low", [0.2, 0.99])
def test_the_inverse_has_the_right_gradient_in_shadows_and_highlights(low):
    image = 0.999 * colours(6, seed=4, low=low).double()
    raw = unprocess(image, EQUAL_MIX, GAINS).requires_grad_()
    assert (raw_to_camera(raw, GAINS).mean(0) > 0.9).any() == (low == 0.99)
    assert torch.autograd.gradcheck(lambda raw: process(raw, EQUAL_MIX, GAINS), raw)


def test_a_batch_is_treated_image_by_image_each_with_its_own_camera():
    rng = torch.Generator().manual_seed(6)
    cameras = [draw_camera("uniform", rng) for _ in range(6)]
    matrices = torch.stack([camera.rgb_to_camera for camera in cameras]).view(2, 3, 3, 3)
    gains = torch.stack([camera.white_balance for camera in cameras]).view(2, 3, 3)
    images = torch.rand(2, 3, 3, 8, 10, generator=rng) ** 0.1
    raw = unprocess(images, matrices, gains)
    back = process(raw, matrices, gains)
    for place in ((0, 0), (1, 2)):
        assert_close(raw[place], unprocess(images[place], matrices[place], gains[place]))
        assert_close(back[place], process(raw[place], matrices[place], gains[place]))


def test_the_matrix_maps_each_pixels_three_values():
    image = colours(5)
    assert_close(apply_matrix(image, EQUAL_MIX.float()), torch.einsum("ij,jhw->ihw", EQUAL_MIX.float(), image))
