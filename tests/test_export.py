"""A model that is exported gives the model's output in the other program, or is not written."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from options.errors import UserError
from restore import load_model
from restore.command.arguments import export_arguments
from restore.export import onnx_model, weights
from restore.export.__main__ import main
from restore.export.card import Card, card_of
from restore.export.onnx_model import write_onnx
from restore.export.weights import write_weights
from restore.networks import build_generator
from restore.networks.base import Generator
from restore.networks.scunet import ConvTransformerBlock

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
CARD = Card("MIT", "A. Name", "photographs of A. Name", "CC0-1.0", "a test", "")
TO_RAW = {"class_name": "RgbToRawTransform"}
TO_TENSOR = {"class_name": "ToTensor2"}
RAW = [TO_RAW, TO_TENSOR]
MAPPED = [TO_RAW, {"class_name": "NoiseLevelMap"}, TO_TENSOR]
STABILIZED = [TO_RAW, {"class_name": "VarianceStabilization"}, TO_TENSOR]
UNET = {"class_name": "UNet", "n_channels": 4, "widths": [8, 8]}
TOLD = UNET | {"in_channels": 8, "noise_residual": True}
NOISE = (np.array([4e-3, 1e-3, 2e-3, 3e-3], np.float32), np.array([1e-5, 4e-5, 2e-5, 3e-5], np.float32))
COMMUNITY = {
    "SCUNet": {"class_name": "SCUNet", "n_channels": 4, "config": [1, 1, 1, 2, 1, 1, 1]},
    "SPAN": {"class_name": "SPAN", "n_channels": 3, "scale": 2, "feature_channels": 8},
    "ESRGAN": {"class_name": "RRDBNet", "n_channels": 3, "scale": 2, "num_feat": 8, "num_block": 1},
    "Compact": {"class_name": "SRVGGNetCompact", "n_channels": 3, "scale": 2, "num_feat": 8, "num_conv": 2},
}


def model_of(folder, section, chain=(), **information):
    """A model with random weights, whose last layer is heard also where it begins with weights of 0."""
    torch.manual_seed(0)
    network = build_generator(section)
    with torch.no_grad():
        for weights_of_layer in network.parameters():
            if not weights_of_layer.any():
                weights_of_layer.normal_(std=0.1)
    torch.save(network.state_dict(), folder / "model.pth")
    data = {"generator": section, "transforms_test": list(chain), **information}
    (folder / "model.json").write_text(json.dumps(data))
    return load_model(folder / "model.pth", "cpu")


def export(*words):
    main(export_arguments(list(map(str, words))))


def refusal(action, *arguments):
    """The one line with which an action is refused."""
    with pytest.raises(UserError) as mistake:
        action(*arguments)
    assert len(str(mistake.value).splitlines()) == 1
    return str(mistake.value)


def run(path, image, **told):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (output,) = session.run(["output"], {"input": image[None], **told})
    return output[0]


@pytest.mark.parametrize(
    ("section", "chain", "told"),
    [
        (TOLD, MAPPED, True),
        (UNET, STABILIZED, True),
        (UNET | {"scale": 2}, RAW, False),
        (COMMUNITY["Compact"], [], False),
    ],
    ids=["map", "stabilised", "raw x2", "pictures x2"],
)
def test_onnx_gives_the_models_output_at_any_size(tmp_path, section, chain, told):
    model, path = model_of(tmp_path, section, chain), tmp_path / "model.onnx"
    lines = write_onnx(model, path)
    assert lines[0] == ("sides: any multiples of 2" if section["class_name"] == "UNet" else "sides: any")
    assert lines[1].startswith("verified in onnxruntime: largest difference from torch ")
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".json", ".onnx", ".pth"], "the weights are inside"
    for height, width in ((40, 66), (98, 34), (128, 128)):
        shape = (model.layout.channels, height, width)
        image = np.random.default_rng(height).uniform(-0.05, 1.3, shape).astype(np.float32)
        output = run(path, image, **(dict(zip(("shot", "read"), NOISE, strict=True)) if told else {}))
        np.testing.assert_allclose(output, model(image, NOISE), atol=1e-5)


def test_onnx_says_how_it_is_used_and_nothing_of_the_machine_that_made_it(tmp_path):
    write_onnx(model_of(tmp_path, TOLD, MAPPED, name="a name"), tmp_path / "model.onnx")
    content = onnx.load(tmp_path / "model.onnx")
    told = {entry.key: entry.value for entry in content.metadata_props}
    information = json.loads(told.pop("information"))
    assert information["name"] == "a name"
    assert told == {
        "layout": "RGGB",
        "planes": "R, G1, G2, B",
        "scale": "1",
        "sizes": "any",
        "size_multiple": "2",
    }
    assert [entry.name for entry in content.graph.input] == ["input", "shot", "read"]
    assert [entry.name for entry in content.graph.output] == ["output"]
    assert b"/restore/" not in (tmp_path / "model.onnx").read_bytes()


def test_onnx_leaves_an_image_without_noise_as_it_is_also_below_black_and_above_white(tmp_path):
    chain = [TO_RAW, {"class_name": "VarianceStabilization", "noise_level": True}, TO_TENSOR]
    write_onnx(model_of(tmp_path, TOLD, chain), tmp_path / "told.onnx")
    image = np.random.default_rng(0).uniform(-0.05, 1.3, (4, 32, 48)).astype(np.float32)
    none = np.zeros(4, np.float32)
    assert np.array_equal(run(tmp_path / "told.onnx", image, shot=none, read=none), image)


class Windows(Generator):
    """SCUNet's blocks, one with windows as they are and one with shifted ones: a whole SCUNet takes 20 s."""

    def __init__(self):
        super().__init__(4, size_multiple=8)
        self.head, self.tail = nn.Conv2d(4, 64, 1), nn.Conv2d(64, 4, 1)
        self.blocks = nn.Sequential(ConvTransformerBlock(64, False, 0), ConvTransformerBlock(64, True, 0))

    def core(self, degraded):
        features = self.head(degraded).permute(0, 2, 3, 1)
        return self.tail(self.blocks(features).permute(0, 3, 1, 2))


class OneSize(Generator):
    """Decides by a side, so that its graph is for that side alone."""

    def core(self, degraded):
        return degraded * 2 if int(degraded.shape[-1]) > 40 else degraded


def test_onnx_moves_windows_and_their_masks_with_the_size(tmp_path):
    model = model_of(tmp_path, UNET, RAW)
    model.network = Windows().eval()
    assert write_onnx(model, tmp_path / "model.onnx")[0] == "sides: any multiples of 8"
    for height, width in ((8, 40), (64, 24)):
        image = np.random.default_rng(0).uniform(0, 1, (4, height, width)).astype(np.float32)
        np.testing.assert_allclose(run(tmp_path / "model.onnx", image), model(image), atol=1e-5)


def test_a_network_whose_graph_is_of_one_size_is_written_for_that_one(tmp_path):
    model = model_of(tmp_path, UNET, RAW)
    model.network = OneSize(4)
    lines = write_onnx(model, tmp_path / "model.onnx")
    assert lines[0] == "sides: 256 x 256 alone, as this network's graph cannot be made for any"
    assert lines[1].endswith("at this size")
    assert run(tmp_path / "model.onnx", np.ones((4, 256, 256), np.float32)).max() == 2


def test_onnx_that_gives_another_output_is_refused_and_the_older_file_stays(tmp_path, monkeypatch):
    model, path = model_of(tmp_path, UNET, RAW), tmp_path / "model.onnx"
    path.write_bytes(b"older")
    running = onnx_model.running
    monkeypatch.setattr(onnx_model, "running", lambda content: lambda inputs: running(content)(inputs) * float("nan"))
    line = refusal(write_onnx, model, path)
    assert "model.onnx: not written, as its output differs from torch's by nan, and at most 1e-04 is allowed" in line
    assert path.read_bytes() == b"older"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    line = refusal(write_onnx, model_of(tmp_path, UNET, RAW), tmp_path / "model.onnx")
    assert line == "onnxscript, which writes and runs ONNX, is missing; pip install 'restore[export]'"


@pytest.mark.parametrize("name", COMMUNITY)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_are_read_by_spandrel_as_the_same_model(tmp_path, name, suffix):
    spandrel = pytest.importorskip("spandrel", reason="spandrel is not installed")
    model = model_of(tmp_path, COMMUNITY[name], RAW if name == "SCUNet" else [])
    lines = write_weights(model, tmp_path / f"out{suffix}", CARD)
    assert ", which other tools use, reads it as " in lines[1]
    theirs = spandrel.ModelLoader("cpu").load_from_file(tmp_path / f"out{suffix}")
    assert theirs.architecture.id == name
    image = torch.rand(1, model.layout.channels, 64, 128)
    with torch.inference_mode():
        torch.testing.assert_close(theirs(image), model.network(image).clamp(0, 1), atol=1e-4, rtol=0)
    assert torch.equal(load_model(tmp_path / f"out{suffix}", "cpu")(image[0]), model(image[0]))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_half_weights_are_half_as_large_and_load_again(tmp_path, suffix):
    model = model_of(tmp_path, COMMUNITY["SPAN"])
    for name in ("full", "half"):
        lines = write_weights(model, tmp_path / f"{name}{suffix}", CARD, half=name == "half")
    assert "reads it as SPAN" in lines[1]
    assert (tmp_path / f"half{suffix}").stat().st_size < 0.7 * (tmp_path / f"full{suffix}").stat().st_size
    image = torch.rand(3, 40, 40)
    expected = model(image)
    again = load_model(tmp_path / f"half{suffix}", "cpu")(image)
    torch.testing.assert_close(again, expected, atol=0.01 * float(expected.abs().max()), rtol=0)


def test_half_weights_that_are_too_large_are_refused(tmp_path):
    model = model_of(tmp_path, COMMUNITY["ESRGAN"])
    with torch.no_grad():
        model.network.conv_first.weight[0, 0, 0, 0] = 1e6
    with pytest.raises(UserError, match="holds values that are not finite"):
        write_weights(model, tmp_path / "out.pth", CARD, True)
    assert not (tmp_path / "out.pth").exists()


@pytest.mark.parametrize(
    ("section", "chain", "line"),
    [
        (UNET, RAW, "other tools cannot read this UNet, as spandrel "),
        (TOLD, MAPPED, "other tools cannot use it, as they have no NoiseLevelMap; "),
        (COMMUNITY["SCUNet"] | {"use_sigmoid": True}, RAW, "other tools misread it: as spandrel's SCUNet its output "),
    ],
)
def test_a_model_that_other_tools_cannot_use_is_written_with_a_line_that_says_so(tmp_path, section, chain, line):
    pytest.importorskip("spandrel", reason="spandrel is not installed")
    model = model_of(tmp_path, section, chain)
    assert write_weights(model, tmp_path / "out.pth", CARD)[1].startswith(line)
    image = torch.rand(4, 40, 40)
    assert torch.equal(load_model(tmp_path / "out.pth", "cpu")(image, NOISE), model(image, NOISE))


def test_the_card_has_the_fields_of_openmodeldb(tmp_path):
    model = model_of(tmp_path, COMMUNITY["ESRGAN"], name="a name", iteration=500, batch_size=8)
    write_weights(model, tmp_path / "out.safetensors", CARD)
    card = json.loads((tmp_path / "out.card.json").read_text())
    required = "name author license tags description date architecture size scale inputChannels outputChannels"
    assert {*required.split(), "resources", "images"} <= set(card)
    assert (card["license"], card["dataset"]) == ("MIT", "photographs of A. Name (CC0-1.0)")
    assert (card["architecture"], card["scale"], card["trainingIterations"]) == ("esrgan", 2, 500)
    assert card["resources"][0]["size"] == (tmp_path / "out.safetensors").stat().st_size


def test_weights_that_are_read_otherwise_are_refused_and_no_file_is_kept(tmp_path, monkeypatch):
    def with_a_fault(file):
        return {name: values + 1e-3 for name, values in read_state_dict(file).items()}

    read_state_dict = weights.read_state_dict
    monkeypatch.setattr(weights, "read_state_dict", with_a_fault)
    model = model_of(tmp_path, UNET, RAW)
    assert "out.pth: not written, as other weights are read from it" in refusal(
        write_weights, model, tmp_path / "out.pth", CARD
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.json", "model.pth"]


def test_the_card_is_what_the_readme_begins_with_and_what_is_given_goes_first(tmp_path):
    model = model_of(tmp_path, UNET, RAW)
    with pytest.raises(UserError) as mistake:
        card_of(model, author="B. Other")
    lines = str(mistake.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["licence", "training_data", "training_data_licence"]
    facts = [
        "license: MIT",
        'author: "A. Name"',
        "tags: [raw]",
        "training_data: a: b",
        "training_data_license: CC0-1.0",
    ]
    (tmp_path / "README.md").write_text("\n".join(["---", *facts, "---", "# A"]))
    card = card_of(model, author="B. Other", licence=None)
    assert card[:4] == ("MIT", "B. Other", "a: b", "CC0-1.0")
    assert card.description == "UNet of 4,036 parameters, which restores raw images"
    (tmp_path / "README.md").write_text("# A\n\n---\nlicense: MIT\n---\n")
    with pytest.raises(UserError, match=r"^licence: not given, and the model's card states it; give it, or write "):
        card_of(model)


@pytest.fixture
def run_folder(workplace):
    """A run that has saved its best model."""
    folder = workplace / "model_zoo" / "night"
    folder.mkdir(parents=True)
    model_of(folder, {"class_name": "CfaUNet", "base": 4, "depth": 2}, MAPPED)
    (folder / "model.pth").rename(folder / "best.pth")
    (folder / "model.json").rename(folder / "best.json")
    return "model_zoo/night"


WORDS = ("--licence", "MIT", "--author", "A", "--training-data", "B", "--training-data-licence", "CC0-1.0")


@pytest.mark.parametrize(
    ("to", "words", "files"),
    [
        ("ansel", (), ["night.anselnn"]),
        ("safetensors", WORDS, ["night.card.json", "night.json", "night.safetensors"]),
        ("darktable", (*WORDS, "--tile", "128", "--noise", "1e-3", "1e-5"), ["night.dtmodel"]),
    ],
)
def test_the_command_writes_a_file_named_after_the_run_and_says_how_it_was_verified(
    run_folder, capsys, to, words, files
):
    export("--model", run_folder, "--to", to, *words)
    assert sorted(file.name for file in Path().iterdir() if file.is_file()) == files
    said = capsys.readouterr().out.splitlines()
    assert any(line.startswith("verified ") for line in said)
    assert said[-1].startswith("written: night.")
    assert "is there already; give another name, or --overwrite" in refusal(
        export, "--model", run_folder, "--to", to, *words
    )
    export("--model", run_folder, "--to", to, *words, "--overwrite")


def test_without_a_model_the_suites_own_is_exported(run_folder, monkeypatch):
    monkeypatch.setattr("restore.export.__main__.GENERAL_MODEL", Path(run_folder))
    export("--to", "ansel")
    assert Path("night.anselnn").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--to", "onnx", "--tile", "128"), "--tile: given with --to onnx, and it is for darktable; leave it out"),
        (
            ("--to", "ansel", "--licence", "MIT"),
            "--licence: given with --to ansel, and it is for darktable, safetensors",
        ),
        (("--to", "onnx", "--output", "a.pth"), "--output: a.pth given; give a name that ends in .onnx"),
        (
            ("--to", "pth", "--output", "model_zoo/night/best.pth"),
            "--output: model_zoo/night/best.pth is the model itself",
        ),
        (("--to", "darktable", *WORDS, "--tile", "100"), "--tile: 100 given; give a multiple of 64 from 128 on"),
        (("--to", "pth", *WORDS[2:]), "--licence: not given, and the model's card states it; give it, or write"),
    ],
)
def test_a_mistake_is_one_line_with_its_flag(run_folder, words, line):
    assert refusal(export, "--model", run_folder, *words).startswith(line)
    assert [file.name for file in Path().iterdir()] == ["model_zoo"]
