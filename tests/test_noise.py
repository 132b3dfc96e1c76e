"""A sensor's noise: Poisson where electrons are few, the stated variance and an unbiased mean at every level."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from transforms.noise import CameraProfile, Dng, Eld, Gaussian, Mixed, Profile, SensorNoise, Unprocessing, add_noise
from transforms.noise.poisson import FEW, HIDING, from_normal
from transforms.noise.tukey_lambda import tukey_lambda, unit_deviation

SHOT = 2e-3


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def planes(*numbers):
    return torch.tensor(numbers, dtype=torch.float32).expand(4)


def flat(level, height, width):
    return torch.full((4, height, width), level)


def distance_to_poisson(electrons, read):
    """The greatest difference of distribution functions: from_normal's, and Poisson's with a Gaussian's of this sd."""
    number = torch.linspace(-5, 5, 4001, dtype=torch.float64)
    one = torch.ones_like(number)
    noisy = from_normal(number, electrons * one, one, read**2 * one).numpy()
    variance = electrons + read**2
    bend = electrons / (6 * variance)
    turn = np.sqrt(variance - 2 * bend**2) / bend  # n and -turn - n give the same noise
    rising = number.numpy() > -turn / 2
    number, noisy = number.numpy()[rising], noisy[rising]
    approximate = stats.norm.cdf(number) - stats.norm.cdf(-turn - number)
    counts = np.arange(int(electrons + 12 * electrons**0.5 + 30))
    exact = stats.norm.cdf((noisy[:, None] - counts) / max(read, 1e-9)) @ stats.poisson.pmf(counts, electrons)
    return np.abs(approximate - exact).max()


@pytest.mark.parametrize("read", [HIDING, 1, 1.5, 3])
@pytest.mark.parametrize("electrons", [0.01, 0.1, 0.3, 0.6, 1, 3, 10, 100])
def test_behind_read_noise_the_approximation_is_poisson_noise_at_every_count(electrons, read):
    assert distance_to_poisson(electrons, read) < 0.006


@pytest.mark.parametrize("electrons", [FEW, 100, 400])
def test_without_read_noise_the_approximation_is_as_close_as_anything_without_steps_can_be(electrons):
    half_a_step = stats.poisson.pmf(np.floor(electrons), electrons) / 2
    assert distance_to_poisson(electrons, 0) < half_a_step + 0.001


@pytest.mark.parametrize("electrons", [0.2, 5, FEW - 1])
def test_few_electrons_without_read_noise_are_whole_and_poissonian(electrons):
    clean = flat(electrons * SHOT, 300, 300)
    counts = add_noise(clean, SensorNoise(planes(SHOT), planes(0)), generator()) / SHOT
    whole = counts.round()
    assert_close(counts, whole, rtol=0, atol=1e-3)
    frequency = np.bincount(whole.long().flatten().numpy()) / clean.numel()
    probability = stats.poisson.pmf(np.arange(len(frequency)), electrons)
    assert (np.abs(frequency - probability) < 5 * np.sqrt(probability / clean.numel()) + 1e-5).all()


def test_the_exact_and_the_approximate_side_meet_without_a_step():
    below, above = (
        add_noise(flat(electrons * SHOT, 700, 700), SensorNoise(planes(SHOT), planes((0.5 * SHOT) ** 2)), generator())
        for electrons in (FEW * 0.9999, FEW * 1.0001)
    )
    for statistic, tolerance in ((torch.mean, 0.003), (torch.var, 0.006)):
        assert_close(statistic(below), statistic(above), rtol=tolerance, atol=0)


@pytest.mark.parametrize("level", [0.0, -0.01])
def test_black_and_below_have_no_shot_noise(level):
    clean = flat(level, 100, 100)
    assert torch.equal(add_noise(clean, SensorNoise(planes(SHOT), planes(0)), generator()), clean)
    noise = add_noise(clean, SensorNoise(planes(SHOT), planes(SHOT**2)), generator()) - clean
    assert_close(noise.std(), torch.tensor(SHOT), rtol=0.02, atol=0)
    assert stats.kstest(noise.flatten().numpy() / SHOT, "norm").pvalue > 1e-3


PROFILE = CameraProfile(
    camera="a sensor with all kinds of noise",
    gain=(2.0, 4.0, 4.5, 8.0),
    read_noise=(6.0, 7.0, 8.0, 20.0),
    row_noise=(1.0, 1.0, 1.5, 2.0),
    black_level=(512.0, 511.0, 510.0, 509.0),
    white_level=4095,
    tukey_shape=-0.1,
)


@pytest.mark.parametrize(
    "model",
    [
        Dng(),
        Dng(read=1e-6),  # a third of an electron, where Poisson noise is drawn exactly
        Unprocessing(),
        Eld(),
        Eld(camera="virtual", read_noise="gaussian"),
        Gaussian(),
        Mixed(),
        Profile(camera=PROFILE),
    ],
    ids=lambda model: model.class_name,
)
def test_variance_follows_the_line_within_a_hundredth_and_the_mean_is_unbiased_also_at_black(model):
    noise = model.draw(12500, generator())
    shot, read = noise.profile()
    bias = torch.zeros(4) if noise.colour_bias is None else noise.colour_bias
    row_noise = torch.zeros(4) if noise.row_noise is None else noise.row_noise
    level = torch.tensor([0, 0.004, 0.1, 0.8])
    for turn in range(4):  # each plane sees each level once
        signal = level.roll(turn)
        clean = signal[:, None, None].expand(4, 6400, 100)  # 10.24 million values in the four turns
        degraded = add_noise(clean, noise, generator(turn)).double()
        expected = shot * signal + read
        tolerance = 5 * (expected / 640_000 + row_noise**2 / 6400).sqrt()
        assert ((degraded.mean((1, 2)) - signal - bias).abs() < tolerance).all()
        assert_close(degraded.var((1, 2)), expected.double(), rtol=0.01, atol=0)
        assert ((degraded - bias[:, None, None])[signal == 0] < 0).double().mean() > 0.45, "nothing is clipped at black"


@pytest.mark.parametrize(
    ("shape", "deviation"), [(-0.25, 3.127), (-0.1, 2.186), (0, 1.8138), (0.1, 1.542), (0.14, 1.453)]
)
def test_the_tukey_lambda_distribution_has_its_known_deviation_and_quantiles(shape, deviation):
    assert_close(unit_deviation(torch.tensor(float(shape))), torch.tensor(deviation), rtol=4e-4, atol=0)
    numbers = tukey_lambda(torch.Size([1_000_000]), torch.tensor(float(shape)), generator()) * deviation
    probabilities = [0.001, 0.1, 0.4, 0.75, 0.999]
    measured = np.quantile(numbers.numpy(), probabilities)
    np.testing.assert_allclose(measured, stats.tukeylambda.ppf(probabilities, shape), rtol=0.03)
    assert_close(numbers.std(), torch.tensor(deviation), rtol=0.01, atol=0)
    assert numbers.isfinite().all()


def test_tukey_lambda_is_finite_where_the_random_number_is_0():
    assert torch.rand(1_000_000, generator=generator(12)).min() == 0
    assert tukey_lambda(torch.Size([1_000_000]), torch.tensor(-0.3), generator(12)).isfinite().all()


def test_row_noise_is_what_a_mosaic_row_has_in_common():
    noise = SensorNoise(planes(0), planes(1e-4), row_noise=planes(1e-2, 1e-2, 2e-2, 3e-2))
    degraded = add_noise(torch.zeros(4, 20_000, 64), noise, generator())
    means = degraded.mean(2)
    expected = (noise.row_noise**2 + noise.read / 64).sqrt()
    assert_close(means.std(1), expected, rtol=0.02, atol=0)
    assert_close((degraded - means[..., None]).var((1, 2)) * 64 / 63, noise.read, rtol=0.01, atol=0)
    correlation = torch.corrcoef(means)
    assert correlation[0, 1] > 0.97, "R and G1 lie in one row"
    assert correlation[2, 3] > 0.97, "G2 and B lie in one row"
    assert correlation[0, 2].abs() < 0.03, "the next row is another one"
    # Along a row all its power is at frequency 0; from row to row it is white.
    across = (degraded[0] - means[0][:, None]).diff(dim=1).var()
    assert_close(across, 2 * noise.read[0], rtol=0.02, atol=0)
    assert torch.corrcoef(torch.stack([means[0, :-1], means[0, 1:]]))[0, 1].abs() < 0.03


def test_quantisation_is_white_and_uniform_over_one_step():
    step = 0.01
    noise = add_noise(torch.zeros(4, 1024, 512), SensorNoise(planes(0), planes(0), step=planes(step)), generator())
    assert stats.kstest(noise.flatten().numpy(), "uniform", (-step / 2, step)).pvalue > 1e-3
    assert_close(noise.var((1, 2)), torch.full((4,), step**2 / 12), rtol=0.01, atol=0)
    power = torch.fft.rfft2(noise).abs().square().mean(0) / (1024 * 512)
    for band in (*power[1:].chunk(4, dim=0), *power[:, 1:].chunk(4, dim=1)):
        assert_close(band.mean(), torch.tensor(step**2 / 12), rtol=0.02, atol=0)


def test_colour_bias_moves_each_planes_black():
    bias = planes(1e-3, -2e-3, 0, 5e-4)
    degraded = add_noise(torch.zeros(4, 8, 8), SensorNoise(planes(0), planes(0), colour_bias=bias), generator())
    assert_close(degraded, bias[:, None, None].expand(4, 8, 8))


EVERYTHING = SensorNoise(planes(2e-3), planes(1e-5), planes(0.1), planes(1e-3), planes(1e-3), planes(1e-4))


def test_the_same_generator_state_gives_the_same_noise_and_another_state_other_noise():
    clean = torch.rand(4, 32, 32)
    for noise in (EVERYTHING, SensorNoise(planes(2e-3), planes(1e-7))):
        first, again, other = (add_noise(clean, noise, generator(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


def test_the_clean_image_is_left_as_it_was():
    clean = torch.rand(4, 32, 32)
    before = clean.clone()
    add_noise(clean, EVERYTHING, generator())
    assert torch.equal(clean, before)


def test_each_image_of_a_batch_has_its_own_noise():
    strength = torch.tensor([[1.0, 4.0, 9.0], [16.0, 25.0, 36.0]])[..., None].expand(2, 3, 4)
    noise = SensorNoise(1e-4 * strength, 1e-8 * strength**2, row_noise=1e-4 * strength, colour_bias=1e-3 * strength)
    clean = torch.full((2, 3, 4, 150, 150), 0.5)
    degraded = add_noise(clean, noise, generator())
    assert degraded.shape == clean.shape
    shot, read = noise.profile()
    assert_close(degraded.var((-1, -2)), 0.5 * shot + read, rtol=0.05, atol=0)
    assert_close(degraded.mean((-1, -2)), 0.5 + noise.colour_bias, rtol=0, atol=2e-3)


def test_one_noise_serves_a_whole_batch():
    clean = torch.rand(2, 3, 4, 16, 16)
    assert add_noise(clean, EVERYTHING, generator()).shape == clean.shape
