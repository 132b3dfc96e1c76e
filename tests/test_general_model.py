"""The raw denoiser that comes with the suite: what its card promises."""

import json

import numpy as np
import pytest
import torch
from skimage import data
from skimage.restoration import denoise_nl_means

import transforms
from restore import GENERAL_MODEL, load_model
from restore.evaluation.metrics import psnr
from transforms import NoiseProfile
from transforms.noise import SensorNoise, add_noise
from transforms.sensor.anscombe import anscombe, exact_unbiased_inverse

ISO_SPEEDS = (100, 400, 1600, 6400, 25600, 51200)


@pytest.fixture(scope="module")
def model():
    return load_model(device="cpu")


@pytest.fixture(scope="module")
def photographs():
    """Pieces of photographs that it was not trained on."""
    return [picture()[:256, 100:356] for picture in (data.astronaut, data.chelsea, data.coffee, data.rocket)]


def noise_at(iso):
    gain = iso / 12500
    return torch.full((4,), 3e-3 * gain), torch.full((4,), 1e-5 * gain**2)


def recorded(picture, iso, seed=0):
    chain = [{"class_name": "RgbToRawTransform", "iso": iso}, {"class_name": "ToTensor2"}]
    return transforms.build(chain)(picture, torch.Generator().manual_seed(seed))


def dark_frame(signal, iso, side=256):
    """A frame without detail, and what it shows of each plane (4, 1, 1)."""
    clean = torch.tensor(signal)[:, None, None].expand(4, side, side).contiguous()
    return add_noise(clean, SensorNoise(*noise_at(iso)), torch.Generator().manual_seed(1)), clean


@pytest.mark.parametrize("iso", ISO_SPEEDS)
def test_a_photograph_is_never_worse_than_it_was(model, photographs, iso):
    for picture in photographs:
        sample = recorded(picture, iso)
        restored = model(sample.degraded, sample.metadata.noise)
        assert psnr(restored, sample.clean) > psnr(sample.degraded, sample.clean) - 0.1


def test_an_image_without_noise_stays_as_it_is(model, photographs):
    clean = recorded(photographs[0], 100).clean
    assert torch.equal(model(clean, (0, 0)), clean)


@pytest.mark.parametrize("iso", [1600, 6400, 25600])
@pytest.mark.parametrize("darkening", [1, 4])
def test_a_dark_frame_keeps_its_colours_and_is_not_behind_non_local_means(model, iso, darkening):
    signal = np.array([0.012, 0.020, 0.020, 0.009], np.float32) / darkening
    noisy, clean = dark_frame(signal, iso)
    restored = model(noisy, noise_at(iso))
    moved = (restored - noisy).mean((1, 2)) / torch.tensor(signal)
    assert moved.abs().max() < 2e-3, moved
    shot, read = (values[:, None, None] for values in noise_at(iso))
    stabilised = anscombe(noisy, shot, read)
    settings = {"patch_size": 7, "patch_distance": 9, "h": 0.8, "sigma": 1.0}
    by_means = [denoise_nl_means(plane, **settings) for plane in stabilised.numpy()]
    by_means = exact_unbiased_inverse(torch.from_numpy(np.stack(by_means)), shot, read)
    assert psnr(restored, clean) > psnr(by_means, clean) - 0.1


def test_the_outermost_rows_and_columns_are_restored_like_the_rest(model, photographs):
    inside, edges = [], []
    for seed, picture in enumerate(photographs):
        sample = recorded(picture, 6400, seed)
        error = (model(sample.degraded, sample.metadata.noise) - sample.clean).square().mean(0)
        edges += [error[0].mean(), error[-1].mean(), error[:, 0].mean(), error[:, -1].mean()]
        inside += [error[8].mean(), error[-9].mean(), error[:, 8].mean(), error[:, -9].mean()]
    assert sum(edges) < 1.5 * sum(inside)


def test_strength_of_the_noise_told_sets_how_much_is_removed(model, photographs):
    sample = recorded(photographs[0], 6400)
    noise = sample.metadata.noise
    removed = [
        float((model(sample.degraded, NoiseProfile(noise.shot * f, noise.read * f)) - sample.degraded).std())
        for f in (0.25, 1, 4)
    ]
    assert removed[0] < 0.9 * removed[1] < removed[1] < removed[2]


def test_it_is_small_and_says_what_it_is_and_how_it_was_made():
    files = {file.name: file for file in GENERAL_MODEL.iterdir()}
    assert set(files) == {"best.pth", "best.json", "README.md"}
    assert files["best.pth"].stat().st_size < 8_000_000
    information = json.loads(files["best.json"].read_text())
    card = files["README.md"].read_text()
    assert information["generator"]["noise_residual"]
    for word in ("license: MIT", "ISO", "dB", "seconds", "options/raw_denoise_general.json"):
        assert word in card
