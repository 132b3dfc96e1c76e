"""What a raw network is shown: stabilised noise or a map of it, and raw again wherever a person looks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data
from torch.testing import assert_close

import transforms
from options.errors import UserError
from restore import load_model
from restore.command.arguments import testing_arguments as arguments_of
from restore.command.arguments import training_arguments
from restore.networks import build_generator
from restore.test import main as restore_folder
from restore.train import main as train
from restore.training.option_file import read_option_file
from transforms import RGGB, NoiseProfile, unconditioned, unconditioned_degraded

TO_RAW = {"class_name": "RgbToRawTransform"}
TO_TENSOR = {"class_name": "ToTensor2"}
STABILIZED = [TO_RAW, {"class_name": "VarianceStabilization"}, TO_TENSOR]
MAPPED = [TO_RAW, {"class_name": "NoiseLevelMap"}, TO_TENSOR]


def sample_of(chain, picture=None):
    picture = data.astronaut() if picture is None else picture
    return transforms.build(chain)(picture, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("chain", [STABILIZED, MAPPED])
def test_conditioning_loses_nothing_of_what_the_camera_recorded(chain):
    plain, conditioned = sample_of([TO_RAW, TO_TENSOR]), sample_of(chain)
    degraded = unconditioned_degraded(conditioned.degraded, conditioned.metadata, RGGB)
    shot, read = (values[:, None, None] for values in plain.metadata.noise)
    lowest = -(0.375 * shot**2 + read) / shot  # the Anscombe transform has no root below
    assert_close(degraded, torch.maximum(plain.degraded, lowest) if chain is STABILIZED else plain.degraded)
    assert_close(unconditioned(conditioned.clean, conditioned.metadata), plain.clean, rtol=0, atol=1e-6)


def test_stabilised_noise_is_equally_strong_from_dark_to_bright():
    deviations = []
    for level in (40, 90, 140, 200, 250):
        sample = sample_of(STABILIZED, np.full((256, 256, 3), level, np.uint8))
        deviations.append((sample.degraded - sample.clean).std(dim=(1, 2)))
        assert (sample.degraded - sample.clean).mean().abs() < 2e-3
    deviations = torch.stack(deviations)
    assert deviations.max() / deviations.min() < 1.06


def test_stabilised_black_is_0_and_white_is_1():
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[8:] = 255
    clean = sample_of([{**TO_RAW, "wb_gains_mode": "none"}, *STABILIZED[1:]], picture).clean
    assert_close(clean[:, :4], torch.zeros(4, 4, 8), rtol=0, atol=1e-4)
    assert_close(clean[:, 4:], torch.ones(4, 4, 8))


def test_the_map_is_the_standard_deviation_of_the_noise():
    sample = sample_of(MAPPED)
    assert sample.degraded.shape == (8, 256, 256)
    assert sample.clean.shape == (4, 256, 256)
    shot, read = sample.metadata.noise.shot[0], sample.metadata.noise.read[0]
    assert_close(sample.degraded[4:], (shot * sample.degraded[:4].clamp(min=0) + read).sqrt())


def test_the_inverse_lets_gradients_through_where_there_is_light():
    sample = sample_of(STABILIZED)
    restored = sample.degraded.clone().requires_grad_()
    raw = unconditioned(restored, sample.metadata)
    raw.sum().backward()
    assert restored.grad.isfinite().all()
    assert (restored.grad[raw > 1e-4] > 0).all()


@pytest.mark.parametrize(
    ("chain", "mistake"),
    [
        ([MAPPED[1], *STABILIZED[:1], TO_TENSOR], r"transforms.0: NoiseLevelMap works on the raw image; put it behind"),
        ([*STABILIZED[:2], MAPPED[1], TO_TENSOR], r"transforms.2: NoiseLevelMap after VarianceStabilization"),
        ([*STABILIZED[:2], TO_RAW, TO_TENSOR], r"transforms.2: a second RgbToRawTransform"),
    ],
)
def test_a_conditioning_in_the_wrong_place_is_named(chain, mistake):
    with pytest.raises(UserError, match=mistake):
        transforms.build(chain)


@pytest.mark.parametrize("model", [{"class_name": "gaussian", "sigma": 0.5}, "mixed", {"class_name": "dng", "shot": 0}])
def test_stabilising_noise_that_light_hardly_changes_loses_nothing_either(model):
    sample = sample_of([{**TO_RAW, "noise_model": model}, *STABILIZED[1:]])
    plain = sample_of([{**TO_RAW, "noise_model": model}, TO_TENSOR])
    assert_close(unconditioned(sample.clean, sample.metadata), plain.clean, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["UNet", "SCUNet"])
def test_a_network_takes_a_map_beside_the_image_and_answers_with_the_image(name):
    sizes = {"UNet": {"widths": [8, 16]}, "SCUNet": {"config": [1] * 7}}[name]
    network = build_generator({"class_name": name, "n_channels": 4, "in_channels": 8, **sizes})
    assert network(torch.rand(1, 8, 32, 32)).shape == (1, 4, 32, 32)


def test_channels_that_do_not_fit_the_chain_are_a_mistake_that_says_what_would(option_file):
    path = option_file(transforms_train=[{"class_name": "RandomCrop", "h": 32, "w": 32}, *MAPPED])
    with pytest.raises(UserError, match=r"generator.in_channels: null given, .*transforms_train .*8 .*set it to 8"):
        read_option_file(path)
    path = option_file()
    with pytest.raises(
        UserError, match=r"generator.in_channels: 8 given, .* gives degraded images of 4 channels; leave it out"
    ):
        read_option_file(path, ["generator.in_channels=8"])


@pytest.mark.parametrize(("place", "other"), [("train", "test"), ("test", "train")])
def test_a_conditioning_of_one_chain_alone_is_a_mistake(option_file, place, other):
    crop = {"class_name": "RandomCrop", "h": 32, "w": 32}
    path = option_file(**{f"transforms_{place}": [crop, *STABILIZED]})
    line = f"transforms_{other}: without the VarianceStabilization that transforms_{place} has; give both the same"
    with pytest.raises(UserError, match=line):
        read_option_file(path)


@pytest.fixture(params=["VarianceStabilization", "NoiseLevelMap"])
def trained(request, option_file):
    """A run of a few updates with the conditioning, and its name."""
    chain = STABILIZED if request.param == "VarianceStabilization" else MAPPED
    crop = {"class_name": "RandomCrop", "h": 32, "w": 32}
    generator = {"class_name": "UNet", "n_channels": 4, "widths": [8, 16]}
    if request.param == "NoiseLevelMap":
        generator["in_channels"] = 8
    path = option_file(generator=generator, transforms_train=[crop, *chain], transforms_test=[crop, *chain])
    train(training_arguments(["-opt", str(path), "--run-name", "run", "--device", "cpu"]))
    return "model_zoo/run", request.param


def test_a_model_restores_plain_raw_and_undoes_its_conditioning_by_itself(trained, capsys):
    run, name = trained
    information = json.loads(Path(run, "best.json").read_text())
    assert information["transforms_test"]["2"]["class_name"] == name
    noisy = information["validation"]["degraded"]["psnr_raw"]
    assert 28 < noisy < 40, "the noisy image is measured as plain raw"
    assert information["validation"]["restored"]["psnr_raw"] > noisy - 3

    restore_folder(arguments_of(["--model", run, "--input", "val", "--output", "out", "--device", "cpu"]))
    results = json.loads(Path("out/results.json").read_text())["mean"]
    assert abs(results["degraded"]["psnr_raw"] - noisy) < 1.5
    assert results["restored"]["psnr_raw"] > results["degraded"]["psnr_raw"] - 3

    sample = sample_of([TO_RAW, TO_TENSOR])
    restored = load_model(run, "cpu")(sample.degraded, noise=(3e-3, 1e-5))
    assert restored.shape == sample.clean.shape
    assert (restored - sample.clean).square().mean() < 2 * (sample.degraded - sample.clean).square().mean()


def test_a_model_that_must_know_the_noise_asks_for_it(trained):
    run, name = trained
    with pytest.raises(UserError, match=rf"noise: not given, .*best.pth was trained with {name}.*give \(shot, read\)"):
        load_model(run, "cpu")(torch.zeros(4, 16, 16))


@pytest.mark.parametrize("noise", [(-1e-3, 1e-5), (float("nan"), 1e-5), (3e-3,), 3e-3, ([1e-3, 1e-3], 1e-5), "dng"])
def test_noise_that_cannot_be_is_refused(trained, noise):
    with pytest.raises(UserError, match=r"noise: .* given; give \(shot, read\), each a number or four, not below 0"):
        load_model(trained[0], "cpu")(torch.zeros(4, 16, 16), noise=noise)


def test_the_four_planes_may_have_noise_of_their_own(trained):
    model, raw = load_model(trained[0], "cpu"), torch.rand(4, 16, 16, generator=torch.Generator().manual_seed(0))
    one = model(raw, noise=(3e-3, 1e-5))
    assert torch.equal(model(raw, noise=([3e-3] * 4, torch.full((4,), 1e-5))), one)
    assert not torch.equal(model(raw, noise=([3e-3, 3e-3, 3e-3, 3e-2], 1e-5)), one)
    profile = NoiseProfile(torch.full((4,), 3e-3), torch.full((4,), 1e-5))
    assert torch.equal(model(raw, noise=profile), one)
    with pytest.raises(UserError, match="noise: "):
        model(raw, noise=NoiseProfile.unknown())
