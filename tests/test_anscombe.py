"""The generalised Anscombe transform: the published values, unit variance, and inverses that are inverses."""

import pytest
import torch
from torch.testing import assert_close

from transforms.sensor.anscombe import algebraic_inverse, anscombe, exact_unbiased_inverse, expected_anscombe

PROFILES = [(3e-3, 1e-5), (1e-2, 1e-3), (1e-4, 1e-9), (1.0, 1e-12), (1.0, 1.0)]


def values(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.mark.parametrize(
    ("shot", "read", "signal", "expected"),
    [
        (1, 0, [0, 1, 4, 10, 100], [1.224745, 2.345208, 4.183300, 6.442049, 20.037465]),
        (3e-3, 1e-5, [0, 0.1, 0.5, 1], [2.43812, 11.80160, 25.93475, 36.59614]),
    ],
)
def test_the_transform_has_the_known_values(shot, read, signal, expected):
    assert_close(anscombe(values(*signal), values(shot), values(read)), values(*expected), rtol=0, atol=5e-6)


@pytest.mark.parametrize(
    ("read", "mean", "unbiased"),
    [(0, [2.18691, 4.52745, 6.36389], [0.99633, 5.00824, 10.01690]), (1, [2.91258, 6.67033], [0.96979, 10.01591])],
)
def test_the_exact_unbiased_inverse_has_the_known_values(read, mean, unbiased):
    result = exact_unbiased_inverse(values(*mean), values(1), values(read))
    assert_close(result, values(*unbiased), rtol=0, atol=2e-5)


def test_the_algebraic_inverse_of_a_mean_is_too_dark_by_the_known_values():
    result = algebraic_inverse(values(2.18691, 4.52745, 6.36389), values(1), values(0))
    assert_close(result, values(0.82064, 4.74945, 9.74977), rtol=0, atol=2e-5)


@pytest.mark.parametrize(("shot", "read"), PROFILES)
def test_each_inverse_is_one_from_black_to_white(shot, read):
    signal = torch.cat([values(0), torch.logspace(-6, 0, 500, dtype=torch.float64)])
    noise = values(shot), values(read)
    assert_close(algebraic_inverse(anscombe(signal, *noise), *noise), signal, rtol=0, atol=1e-12)
    assert_close(exact_unbiased_inverse(expected_anscombe(signal, *noise), *noise), signal, rtol=0, atol=1e-12)
    in_float32 = tuple(number.float() for number in noise)
    back = exact_unbiased_inverse(expected_anscombe(signal.float(), *in_float32), *in_float32)
    assert_close(back, signal.float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("electrons", [0, 1, 3, 10, 100])
def test_noise_has_unit_variance_and_its_mean_leads_back_to_the_clean_signal(electrons):
    shot, read = values(3e-3), values(1e-5)
    rng = torch.Generator().manual_seed(electrons)
    count = torch.poisson(torch.full((1_000_000,), float(electrons)), generator=rng).double()
    stabilized = anscombe(count * shot + torch.randn(count.shape, generator=rng).double() * read.sqrt(), shot, read)
    assert abs(stabilized.std() - 1) < (0.06 if electrons < 10 else 0.035 if electrons < 100 else 3e-3)
    # The closed form is within a twentieth of an electron of the exact inverse, and from 100 electrons on within 1 %.
    assert abs(exact_unbiased_inverse(stabilized.mean(), shot, read) / shot - electrons) < 0.05 + 1e-3 * electrons


def test_what_lies_below_black_comes_back_as_black_and_never_as_light():
    shot, read = values(3e-3), values(1e-5)
    darkest = expected_anscombe(values(0), shot, read)
    below = torch.linspace(0, 1, 100, dtype=torch.float64) * darkest
    assert_close(exact_unbiased_inverse(below, shot, read), torch.zeros_like(below), rtol=0, atol=1e-12)
