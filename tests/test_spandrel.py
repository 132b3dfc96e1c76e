"""Community models through spandrel: a file alone tells the network, to train, restore and measure. Ours load there."""

import json
import sys
from pathlib import Path

import pytest
import torch
from conftest import train
from restoring_files import pictures
from safetensors.torch import save_file
from test_published_networks import trunk_name

from options.errors import UserError
from restore import load_model
from restore.command.arguments import testing_arguments as arguments_of
from restore.networks import build_generator
from restore.networks.tiles import restore_tiled
from restore.test import main
from restore.training.option_file import read_option_file

spandrel = pytest.importorskip("spandrel", reason="spandrel is not installed")
from spandrel.architectures.DRUNet import DRUNet  # noqa: E402
from spandrel.architectures.ESRGAN import ESRGAN  # noqa: E402
from spandrel.architectures.LaMa import LaMa  # noqa: E402
from spandrel.architectures.MixDehazeNet import MixDehazeNet  # noqa: E402
from spandrel.architectures.RestoreFormer import RestoreFormer  # noqa: E402
from spandrel.architectures.SwinIR import SwinIR  # noqa: E402
from spandrel.architectures.Uformer import Uformer  # noqa: E402

SMALL_ESRGAN = {"num_filters": 8, "num_blocks": 1}
pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid")  # of an architecture in spandrel
NETWORKS = {
    "x4": lambda: ESRGAN(**SMALL_ESRGAN),
    "unshuffled x2": lambda: ESRGAN(in_nc=12, out_nc=3, shuffle_factor=2, **SMALL_ESRGAN),
    "windows of 8": lambda: SwinIR(
        img_size=16, embed_dim=12, depths=[2], num_heads=[2], window_size=8, upscale=2, upsampler="pixelshuffledirect"
    ),
    "range of -1 to 1": lambda: MixDehazeNet(embed_dims=[8, 16, 32, 16, 8], depths=[1] * 5),
    "square of 128": lambda: Uformer(embed_dim=8, depths=[1] * 9),
}


@pytest.fixture
def model_file(workplace):
    """Writes a small ESRGAN of scale 4, or another network, as a community model and returns its path."""

    def write(network=None, name="4x_model.pth"):
        torch.manual_seed(0)
        network = network or ESRGAN(**SMALL_ESRGAN)
        torch.save({"params_ema": network.state_dict()}, workplace / name)
        return Path(name)

    return write


def refusal(action, *arguments):
    """The one line with which an action is refused."""
    with pytest.raises(UserError) as mistake:
        action(*arguments)
    assert len(str(mistake.value).splitlines()) == 1
    return str(mistake.value)


def section(path, **options):
    return {"class_name": "Spandrel", "weights": str(path), **options}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_models_file_alone_gives_the_network_and_the_output_that_spandrel_gives_on_any_size(model_file, kind):
    path = model_file(NETWORKS[kind]())
    theirs, ours = spandrel.ModelLoader().load_from_file(path), build_generator(section(path)).eval()
    for size in ((37, 29), (5, 3)):
        image = torch.rand(1, 3, *size)
        with torch.inference_mode():
            restored = ours(image)
        assert restored.shape[2:] == tuple(ours.scale * side for side in size)
        torch.testing.assert_close(restored.clamp(0, 1), theirs(image), atol=1e-6, rtol=0)


def test_scale_size_multiple_and_half_precision_are_those_that_spandrel_tells(model_file):
    network = build_generator(section(model_file(NETWORKS["unshuffled x2"]())))
    assert (network.scale, network.size_multiple, network.n_channels) == (2, 4, 3)
    assert network.half_precision_safe
    assert not build_generator(section(model_file(NETWORKS["windows of 8"]()))).half_precision_safe


def test_tiles_of_a_community_model_are_the_whole_image(model_file):
    network = build_generator(section(model_file(NETWORKS["unshuffled x2"]()))).eval()
    image = torch.rand(3, 150, 70)
    whole = restore_tiled(network, image, 256, 0)
    torch.testing.assert_close(restore_tiled(network, image, 96, 64), whole, atol=1e-4, rtol=0)


@pytest.fixture
def fine_tuning(option_file, model_file):
    """Writes an option file that fine-tunes a small x4 model on the photographs, and returns its path."""

    def write(**changes):
        reduce = {"class_name": "BicubicDownsample", "scale": 4}
        chain = [{"class_name": "CenterCrop", "h": 64, "w": 64}, reduce, {"class_name": "ToTensor2"}]
        generator = section(model_file())
        options = {"generator": generator, "transforms_train": chain, "transforms_test": chain, "total_iterations": 2}
        return option_file(**options | {"validate_every": 2} | changes)

    return write


def test_a_fine_tuned_model_is_used_without_the_file_that_it_began_with(fine_tuning, capsys):
    train("-opt", fine_tuning(ema={}, freeze=["model.0.*"]), "--run-name", "tuned")
    before = torch.load("4x_model.pth", weights_only=True)["params_ema"]
    Path("4x_model.pth").unlink()
    model = load_model("model_zoo/tuned", "cpu")
    saved = torch.load("model_zoo/tuned/best.pth", weights_only=True)
    assert saved.keys() == before.keys(), "the names are spandrel's own"
    assert torch.equal(saved["model.0.weight"], before["model.0.weight"])
    assert not torch.equal(saved["model.3.weight"], before["model.3.weight"])
    assert (model.scale, model.information.data["generator"]["weights"]) == (4, "4x_model.pth")
    image = torch.rand(3, 9, 8)
    theirs = spandrel.ModelLoader().load_from_file("model_zoo/tuned/best.pth")
    torch.testing.assert_close(model(image).clamp(0, 1), theirs(image[None])[0], atol=1e-5, rtol=0)


def test_a_run_goes_on_from_its_own_weights(fine_tuning):
    path = fine_tuning()
    train("-opt", path, "--run-name", "whole", "--set", "total_iterations=4")
    train("-opt", path, "--run-name", "parts")
    train("--resume", "model_zoo/parts", "--set", "total_iterations=4")
    whole, parts = (torch.load(f"model_zoo/{run}/model_4.pth", weights_only=True) for run in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("name", ["4x_model.pth", "4x_model.safetensors"])
def test_a_folder_is_restored_and_measured_with_a_model_file_alone(model_file, workplace, name, capsys):
    path = model_file()
    if name.endswith(".safetensors"):
        save_file(torch.load(path, weights_only=True)["params_ema"], name)
        path.unlink()
    pictures(workplace / "in", 1)
    words = ["--device", "cpu", "--model", name, "--input", "in"]
    main(arguments_of([*words, "--output", "out"]))
    main(arguments_of([*words, "--target", "out", "--output", "again"]))
    results = json.loads(Path("again/results.json").read_text())
    assert results["pictures"]["0.png"]["restored_size"] == [4 * 56, 4 * 40]
    assert results["pictures"]["0.png"]["restored"]["psnr_srgb"] > 50
    assert "4x_model.json: not there; spandrel tells the network from its weights" in capsys.readouterr().out


def test_pictures_cannot_be_degraded_where_no_information_file_says_how(model_file, workplace):
    pictures(workplace / "in", 1)
    words = arguments_of(["--device", "cpu", "--model", str(model_file()), "--input", "in", "--degrade"])
    assert "4x_model.json: not there; spandrel tells the network from its weights, which name no" in refusal(
        main, words
    )


def test_files_in_the_older_namings_restore_too(model_file):
    ours = build_generator({"class_name": "RRDBNet", "n_channels": 3, "num_feat": 8, "num_block": 2})
    torch.save({trunk_name(name): value for name, value in ours.state_dict().items()}, "older.pth")
    image = torch.rand(3, 9, 7)
    restored = load_model("older.pth", "cpu")(image)
    torch.testing.assert_close(restored, ours(image[None])[0].detach(), atol=1e-5, rtol=0)


OURS = [
    {"class_name": "SCUNet", "n_channels": 3, "config": [1] * 7},
    {"class_name": "SRVGGNetCompact", "n_channels": 3, "num_feat": 8, "num_conv": 2, "scale": 2},
    {"class_name": "SPAN", "n_channels": 3, "feature_channels": 8, "scale": 2},
    *({"class_name": "RRDBNet", "n_channels": 3, "num_feat": 8, "num_block": 2, "scale": scale} for scale in (1, 2, 4)),
]


@pytest.mark.parametrize("options", OURS, ids=lambda options: f"{options['class_name']} x{options.get('scale', 1)}")
def test_our_networks_load_in_spandrel_with_their_scale_and_give_the_same_output(options, tmp_path):
    torch.manual_seed(0)
    ours = build_generator(options).eval()
    torch.save(ours.state_dict(), tmp_path / "model.pth")
    theirs = spandrel.ModelLoader().load_from_file(tmp_path / "model.pth")
    assert (theirs.scale, theirs.input_channels, theirs.output_channels) == (ours.scale, 3, 3)
    image = torch.rand(1, 3, 64, 128)
    with torch.inference_mode():
        torch.testing.assert_close(ours(image).clamp(0, 1), theirs(image), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("network", "line"),
    [
        (lambda: torch.nn.Linear(3, 3), "of no architecture that spandrel"),
        (LaMa, "a model of LaMa, which needs a mask beside the image"),
        (lambda: RestoreFormer(ch=32), "a model of RestoreFormer, which restores aligned faces"),
        (lambda: DRUNet(in_nc=4, nc=[8] * 4), "a model of DRUNet, which needs a noise level beside the image"),
        (lambda: ESRGAN(in_nc=1, out_nc=1, **SMALL_ESRGAN), "a model of ESRGAN, from 1 to 1 planes, and what they are"),
        (lambda: ESRGAN(in_nc=4, out_nc=3, **SMALL_ESRGAN), "a model of ESRGAN, from 4 to 3 planes"),
    ],
)
def test_networks_that_restore_no_pictures_from_pictures_are_refused_by_name(model_file, network, line):
    path = model_file(network(), "model.pth")
    assert refusal(build_generator, section(path)).startswith(f"generator: model.pth: {line}")


def test_a_file_that_only_looks_like_a_known_network_is_one_line(model_file):
    weights = ESRGAN(**SMALL_ESRGAN).state_dict()
    del weights["model.1.sub.0.RDB2.conv3.0.weight"]
    torch.save(weights, "part.pth")
    assert "part.pth: spandrel cannot build its network (" in refusal(build_generator, section("part.pth"))


def test_weights_that_are_not_finite_are_refused_by_name(model_file):
    network = ESRGAN(**SMALL_ESRGAN)
    network.model[0].bias.data[0] = float("nan")
    line = refusal(build_generator, section(model_file(network)))
    assert "4x_model.pth: holds values that are not finite (NaN, infinite or too large) in model.0.bias" in line


def test_numbers_that_are_not_the_files_are_mistakes_that_name_both(model_file):
    path = model_file()
    assert build_generator(section(path, scale=4, n_channels=3)).scale == 4
    raw = model_file(ESRGAN(in_nc=4, out_nc=4, **SMALL_ESRGAN), "raw.pth")
    assert build_generator(section(raw, n_channels=4)).n_channels == 4
    assert "n_channels is 3, but the network in raw.pth (ESRGAN) restores 4 planes" in refusal(load_model, raw)
    line = refusal(build_generator, section(path, scale=2))
    assert line.startswith("generator: scale is 2, but the network in 4x_model.pth (ESRGAN) enlarges 4 times")
    line = refusal(build_generator, section(path, n_channels=4))
    assert line.startswith("generator: n_channels is 4, but the network in 4x_model.pth (ESRGAN) restores 3 planes")
    assert "use_sigmoid: true is not a choice" in refusal(build_generator, section(path, use_sigmoid=True))


def test_a_chain_of_another_scale_or_of_raw_is_a_mistake_that_names_both_places(fine_tuning):
    crop, ending = {"class_name": "CenterCrop", "h": 64, "w": 64}, {"class_name": "ToTensor2"}
    path = fine_tuning(transforms_train=[crop, {"class_name": "BicubicDownsample", "scale": 2}, ending])
    line = refusal(read_option_file, path)
    assert "transforms_train: makes clean images 2 times as large as degraded ones, but generator.scale is 4" in line
    assert "by 4x_model.pth" in line
    raw = [crop, {"class_name": "RgbToRawTransform", "scale": 4}, ending]
    line = refusal(read_option_file, fine_tuning(transforms_train=raw))
    assert "transforms_train: gives 4 channels, but generator.n_channels is 3, by 4x_model.pth; take a model of" in line


def test_a_noise_level_map_is_refused_where_the_files_network_has_no_input_for_it(option_file, model_file):
    raw = model_file(ESRGAN(in_nc=4, out_nc=4, **SMALL_ESRGAN), "raw.pth")
    make = {"class_name": "RgbToRawTransform", "scale": 4}
    chain = [{"class_name": "CenterCrop", "h": 64, "w": 64}, make, {"class_name": "ToTensor2"}]
    given = section(raw, n_channels=4)
    assert read_option_file(option_file(generator=given, transforms_train=chain, transforms_test=chain))
    chain.insert(2, {"class_name": "NoiseLevelMap"})
    with pytest.raises(UserError) as mistake:
        read_option_file(option_file(generator=given, transforms_train=chain, transforms_test=chain))
    for line, name in zip(str(mistake.value).splitlines(), ("transforms_train", "transforms_test"), strict=True):
        assert (
            f"{name} gives degraded images of 8 channels; remove the NoiseLevelMap, as the network in raw.pth" in line
        )


def test_without_spandrel_its_models_and_unknown_ones_are_one_line_with_a_remedy(model_file, monkeypatch):
    path = model_file()
    monkeypatch.setitem(sys.modules, "spandrel", None)
    assert "pip install 'restore[spandrel]'" in refusal(build_generator, section(path))
    line = refusal(load_model, path, "cpu")
    assert line.startswith("4x_model.json: not there, and it says how to use the model; put the information file")
    assert line.endswith("pip install 'restore[spandrel]'")


def test_a_model_of_ours_without_its_information_file_is_missed_by_name(workplace):
    network = build_generator({"class_name": "UNet", "n_channels": 3, "widths": [4, 8]})
    torch.save(network.state_dict(), "unet.pth")
    line = refusal(load_model, "unet.pth", "cpu")
    assert line.startswith("unet.json: not there, and it says how to use the model; put the information file")
    assert "without it: unet.pth: of no architecture that spandrel" in line
