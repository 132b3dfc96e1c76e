"""Each noise model draws what its source says."""

from math import exp, log
from typing import get_args

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from transforms.noise import CameraProfile, Dng, Eld, Gaussian, IsoProfile, Mixed, Unprocessing
from transforms.noise.eld import FULL_SCALE, eld_cameras
from transforms.noise.tukey_lambda import unit_deviation

BY_ISO = {"A": 4.458e-6, "B": -9.50e-6, "C": 6.162e-11, "D": 2.768e-7, "max_analog_iso": 1600}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(values):
    """One number that all four planes share."""
    assert values.unique().numel() == 1
    return values[0].item()


@pytest.mark.parametrize(
    ("iso", "shot", "read"), [(12500, 3e-3, 1e-5), (50000, 1.2e-2, 1.6e-4), (3125, 7.5e-4, 6.25e-7)]
)
def test_the_fair_cameras_shot_noise_grows_as_iso_and_its_read_noise_as_the_square(iso, shot, read):
    noise = Dng().draw(iso, generator())
    assert_close(torch.stack(noise.profile()), torch.tensor([[shot] * 4, [read] * 4]))


def test_given_numbers_hold_at_every_iso_for_one_plane_or_for_all():
    noise = Dng(shot=0.02, read=(1e-4, 2e-4, 3e-4, 4e-4)).draw(100, generator())
    assert_close(noise.shot, torch.full((4,), 0.02))
    assert_close(noise.read, torch.tensor([1e-4, 2e-4, 3e-4, 4e-4]))


@pytest.mark.parametrize(
    ("iso", "shot", "read"), [(1, 0, 2.76862e-7), (100, 4.363e-4, 8.930e-7), (3200, 1.42561e-2, 6.3210e-4)]
)
def test_a_phones_noise_by_iso_is_as_android_states_it(iso, shot, read):
    noise = Dng(iso_profile=IsoProfile(**BY_ISO)).draw(iso, generator())
    assert_close(torch.stack(noise.profile()), torch.tensor([[shot] * 4, [read] * 4]), rtol=1e-4, atol=1e-11)


def test_a_phones_k_sigma_calibration_gives_its_known_profile():
    iso = 12500
    gain = 0.0005995267 * iso + 0.00868861
    variance = 7.11772e-7 * iso**2 + 6.514934e-4 * iso + 0.11492713
    none, deviation = (0.0,) * 4, (variance**0.5,) * 4
    profile = CameraProfile(
        camera="phone", gain=(gain,) * 4, read_noise=deviation, row_noise=none, black_level=none, white_level=959
    )
    shot, read = profile.noise().profile()
    assert_close(torch.stack([shot, read]), torch.tensor([[7.8235e-3] * 4, [1.300e-4] * 4]), rtol=1e-3, atol=0)


def test_unprocessing_draws_brooks_line_with_natural_logarithms():
    rng = generator()
    drawn = [Unprocessing().draw(100, rng) for _ in range(4000)]
    shot, read = (np.log([numbers(noise[part]) for noise in drawn]) for part in (0, 1))
    assert exp(shot.min()) > 1e-4 * (1 - 1e-6)
    assert exp(shot.max()) < 0.012 * (1 + 1e-6)
    assert abs(shot.mean() - (log(1e-4) + log(0.012)) / 2) < 0.1
    slope, bias = np.polyfit(shot, read, 1)
    assert abs((read - slope * shot - bias).std() - 0.26) < 0.015
    medians = {1e-4: 6.33e-9, 1e-3: 9.58e-7, 3e-3: 1.05e-5, 5e-3: 3.20e-5, 1.2e-2: 2.16e-4}
    for signal, median in medians.items():
        assert exp(slope * log(signal) + bias) == pytest.approx(median, rel=0.04)


@pytest.mark.parametrize(
    ("camera", "shot", "read"),
    [
        ("SonyA7S2", 7.4e-4, 6.5e-7),
        ("CanonEOS5D4", 1.7e-3, 7.2e-6),
        ("CanonEOS70D", 3.2e-3, 1.9e-5),
        ("NikonD850", 3.3e-3, 1.7e-6),
        ("CanonEOS700D", 3.5e-3, 4.9e-5),
    ],
)
def test_the_five_cameras_have_their_known_noise_at_iso_12500(camera, shot, read):
    model, rng = Eld(camera=camera, read_noise="gaussian"), generator()
    drawn = [model.draw(12500, rng) for _ in range(400)]
    assert numbers(drawn[0].shot) == pytest.approx(shot, rel=0.02)
    assert np.median([numbers(noise.read) for noise in drawn]) == pytest.approx(read, rel=0.15)


def test_the_scale_of_tukey_read_noise_is_not_its_deviation():
    rng = generator()
    drawn = [Eld(camera="SonyA7S2").draw(1600, rng) for _ in range(300)]
    gain = eld_cameras()["SonyA7S2"].gain_at_iso_100 * 16
    scale = exp(0.462105 * log(gain) + 0.565735) / FULL_SCALE
    deviations = [numbers(noise.read) ** 0.5 for noise in drawn]
    of_scale_1 = unit_deviation(torch.tensor(eld_cameras()["SonyA7S2"].tukey_shapes)).median().item()
    assert of_scale_1 > 1.8
    assert np.median(deviations) == pytest.approx(scale * of_scale_1, rel=0.1)


def test_eld_noise_has_every_part():
    noise = Eld().draw(1600, generator())
    assert all(part is not None for part in noise)
    assert_close(noise.step, torch.full((4,), 1 / 15871))
    assert noise.colour_bias.unique().numel() == 4
    known = torch.tensor([row for camera in eld_cameras().values() for row in camera.colour_bias]) / FULL_SCALE
    assert (known - noise.colour_bias).abs().sum(1).min() < 1e-7, "as one calibrated camera had it, plane by plane"
    assert Eld(read_noise="gaussian").draw(1600, generator()).tukey_shape is None


def test_eld_draws_one_of_the_five_cameras_for_each_image():
    rng = generator()
    drawn = {round(numbers(Eld().draw(800, rng).shot) * FULL_SCALE / 8, 5) for _ in range(100)}
    assert drawn == {round(camera.gain_at_iso_100, 5) for camera in eld_cameras().values()}
    assert {*eld_cameras(), "virtual"} == set(get_args(get_args(Eld.model_fields["camera"].annotation)[0]))


def test_a_virtual_camera_lies_anywhere_between_the_five():
    rng = generator()
    gains = [numbers(Eld(camera="virtual").draw(100, rng).shot) * FULL_SCALE for _ in range(300)]
    known = [camera.gain_at_iso_100 for camera in eld_cameras().values()]
    assert min(known) <= min(gains) < min(known) * 1.05
    assert max(known) / 1.05 < max(gains) <= max(known)
    assert len(set(gains)) == 300


def test_mixed_draws_camera_noise_white_noise_and_both_up_to_half_as_strong_again():
    rng = generator()
    drawn = [Mixed(sigma=0.03).draw(12500, rng) for _ in range(600)]
    camera = [noise for noise in drawn if noise.shot[0] > 0 and noise.read[0] < 1e-4]
    white = [noise for noise in drawn if noise.shot[0] == 0]
    both = [noise for noise in drawn if noise.shot[0] > 0 and noise.read[0] > 9e-4]
    assert [150 < len(kind) < 250 for kind in (camera, white, both)] == [True] * 3
    assert len(camera) + len(white) + len(both) == 600
    for factors in (
        [numbers(noise.shot) / 3e-3 for noise in camera + both],
        [numbers(noise.read) ** 0.5 / 0.03 for noise in white],
    ):
        assert 1 - 1e-5 < min(factors) < 1.03
        assert 1.47 < max(factors) < 1.5 + 1e-5


def test_gaussian_noise_is_equally_strong_at_every_level_and_iso():
    noise = Gaussian(sigma=0.1).draw(100, generator())
    assert_close(torch.stack(noise.profile()), torch.tensor([[0.0] * 4, [0.01] * 4]))


def test_jitter_covers_noise_up_to_its_factor_of_shot_and_read_each_by_itself():
    draws = [Dng(jitter=3).draw(12500, generator(seed)) for seed in range(400)]
    shot, read = (torch.stack([getattr(draw, name)[0] for draw in draws]) for name in ("shot", "read"))
    for values, typical in ((shot / 3e-3, 1), (read / 1e-5, 1)):
        assert 1 / 3 - 1e-4 <= values.min() < 0.35 * typical
        assert 2.85 * typical < values.max() <= 3 + 1e-4
        assert values.log().mean().abs() < 0.1
    assert abs(float(torch.corrcoef(torch.stack([shot, read]).log())[0, 1])) < 0.15
