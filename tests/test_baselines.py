"""Classical baselines: they remove noise, keep the brightness, and treat all four planes alike."""

import sys

import numpy as np
import pytest
import torch

from options.errors import UserError
from restore.evaluation.baselines import BASELINES, bm3d
from restore.evaluation.metrics import psnr
from transforms import NoiseProfile


def available(name):
    if name == "bm3d":
        pytest.importorskip("bm3d", reason="BM3D's package is not installed (pip install 'restore[bm3d]')")
    return BASELINES[name]


every_baseline = pytest.mark.parametrize("name", list(BASELINES))


def profile(shot, read):
    return NoiseProfile(torch.full((4,), shot), torch.full((4,), read))


def noisy_of(clean, noise, seed=0):
    shot, read = (values[:, None, None] for values in noise)
    rng = torch.Generator().manual_seed(seed)
    return clean + (shot * clean + read).sqrt() * torch.randn(clean.shape, generator=rng)


def texture(size=64):
    """(4, size, size): stripes of two directions on grey, in other strengths in each plane."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    stripes = 0.1 * torch.sin(rows / 2) + 0.1 * torch.sin((rows + columns) / 5)
    return 0.4 + stripes * torch.tensor([0.7, 1, 1, 1.2])[:, None, None]


@every_baseline
def test_noise_is_removed_and_the_brightness_of_every_plane_is_kept(name):
    clean, noise = texture(), profile(1e-2, 1e-4)
    noisy = noisy_of(clean, noise)
    restored = available(name)(noisy, noise)
    assert (restored.shape, restored.dtype) == (clean.shape, torch.float32)
    assert psnr(restored, clean) - psnr(noisy, clean) > 6
    # The algebraic inverse of the transform would lose shot / 4, 0.6 % of the brightness.
    np.testing.assert_allclose(restored.mean(), noisy.mean(), rtol=1e-3)
    np.testing.assert_allclose(restored.mean((1, 2)), noisy.mean((1, 2)), rtol=2e-3)


@every_baseline
def test_values_below_black_count_so_that_black_stays_black(name):
    noise = profile(1e-4, 1e-4)
    noisy = noisy_of(torch.zeros(4, 48, 48), noise)
    restored = available(name)(noisy, noise)
    clipped = float(noisy.clamp(min=0).mean())
    assert restored.min() >= 0
    assert float(restored.mean()) < 0.25 * clipped, "as if the noise were cut off at black"


@every_baseline
def test_mirrored_planes_come_back_mirrored_and_each_in_its_place(name):
    clean, noise = texture(32), NoiseProfile(torch.tensor([1e-3, 2e-3, 2e-3, 4e-3]), torch.full((4,), 1e-5))
    noisy = noisy_of(clean, noise)
    restored = available(name)(noisy, noise)
    mirrored = available(name)(noisy.flip(-1).contiguous(), noise).flip(-1)
    for plane in range(4):
        one, other = (psnr(image[plane : plane + 1], clean[plane : plane + 1]) for image in (restored, mirrored))
        assert abs(one - other) < 0.7
        assert other > psnr(noisy[plane : plane + 1], clean[plane : plane + 1]) + 1.5


@every_baseline
@pytest.mark.parametrize(("shot", "read"), [(0.0, 1e-4), (1e-3, 0.0)])
def test_noise_of_one_kind_alone_is_removed_too(name, shot, read):
    clean, noise = texture(32), profile(shot, read)
    noisy = noisy_of(clean, noise)
    restored = available(name)(noisy, noise)
    assert restored.isfinite().all()
    assert psnr(restored, clean) > psnr(noisy, clean) + 2


@every_baseline
def test_an_image_without_noise_stays_as_it_is(name):
    clean = texture(32) - 0.01
    assert torch.equal(available(name)(clean, profile(0.0, 0.0)), clean)


@every_baseline
def test_an_image_that_is_too_small_and_unknown_noise_are_refused_in_one_line(name):
    with pytest.raises(UserError, match=r"^raw: planes of 12 x 20 pixels given; give 16 x 16 or more$"):
        available(name)(torch.zeros(4, 20, 12), profile(1e-3, 1e-5))
    with pytest.raises(UserError, match=r"^noise: not known; give shot and read of each plane$"):
        available(name)(torch.zeros(4, 20, 20), NoiseProfile.unknown())


def test_without_its_package_bm3d_is_refused_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm3d", None)  # as Python does for a module that cannot be imported
    with pytest.raises(
        UserError, match=r"^bm3d: .* missing; pip install 'restore\[bm3d\]'.* non-commercial"
    ) as mistake:
        bm3d(torch.zeros(4, 32, 32), profile(1e-3, 1e-5))
    assert len(str(mistake.value).splitlines()) == 1
