"""A file for Ansel is what the format says byte by byte, and gives the network's output, or it is not written."""

import json
import math
import struct
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import train
from numpy.lib.stride_tricks import sliding_window_view

import transforms
from options.errors import SaveError, UserError
from restore import load_model
from restore.export import ansel
from restore.export.ansel import write_ansel
from restore.networks import build_generator

CROP = {"class_name": "RandomCrop", "h": 32, "w": 32}
TO_RAW = {"class_name": "RgbToRawTransform"}
NOISE_LEVEL_MAP = {"class_name": "NoiseLevelMap"}
STABILIZATION = {"class_name": "VarianceStabilization"}
TO_TENSOR = {"class_name": "ToTensor2"}
MAPPED = [TO_RAW, NOISE_LEVEL_MAP, TO_TENSOR]
CHAIN = transforms.build(MAPPED)


class File(NamedTuple):
    size: int
    header_length: int
    cfg: dict
    tensors: dict[str, np.ndarray]


def read(path) -> File:
    """An .anselnn file by its description: magic, the header's length, the header, and the payload without a gap."""
    content = path.read_bytes()
    assert content[:8] == b"ANSELDN1"
    (length,) = struct.unpack("<I", content[8:12])
    assert 0 < length <= 64 * 2**20
    header = json.loads(content[12 : 12 + length].decode("utf-8"))
    assert set(header) == {"cfg", "tensors"}
    place, tensors = 12 + length, {}
    for tensor in header["tensors"]:
        assert set(tensor) == {"name", "shape", "offset", "size"}
        assert 12 + length + tensor["offset"] == place, "one after another, in the header's order"
        assert tensor["size"] == 4 * math.prod(tensor["shape"])
        values = np.frombuffer(content, "<f4", tensor["size"] // 4, place)
        tensors[tensor["name"]] = values.reshape(tensor["shape"])
        place += tensor["size"]
    assert place == len(content)
    return File(len(content), length, header["cfg"], tensors)


def described_shapes(base: int, depth: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights that Ansel asks for, by their names, in its loader's order."""
    layers, channels = {}, 5
    for level in range(depth):
        width = base << level
        layers |= {f"enc.{level}.0": (width, channels, 3), f"enc.{level}.2": (width, width, 3)}
        layers |= {f"down.{level}": (width, width, 2)}
        channels = width
    layers |= {"bottleneck.0": (2 * channels, channels, 3), "bottleneck.2": (2 * channels, 2 * channels, 3)}
    for number in range(depth):
        width = base << (depth - 1 - number)
        layers |= {f"up.{number}": (width, 2 * width, 1)}
        layers |= {f"dec.{number}.0": (width, 2 * width, 3), f"dec.{number}.2": (width, width, 3)}
    layers |= {"head": (1, base, 3)}
    weights = {f"{name}.weight": (out, into, side, side) for name, (out, into, side) in layers.items()}
    return weights | {f"{name}.bias": (out,) for name, (out, _, _) in layers.items()}


def run(file: File, planes: np.ndarray) -> np.ndarray:
    """(5, H, W) -> (H, W) by the description, in float64 and without torch."""

    def convolution(name, image, stride=1):
        weights = file.tensors[f"{name}.weight"].astype(float)
        margin = 1 if weights.shape[-1] == 3 else 0
        padded = np.pad(image, [(0, 0), (margin, margin), (margin, margin)])
        windows = sliding_window_view(padded, weights.shape[-2:], axis=(1, 2))[:, ::stride, ::stride]
        return np.einsum("ihwyx,oiyx->ohw", windows, weights) + file.tensors[f"{name}.bias"][:, None, None]

    def gelu(image):
        return image * (1 + np.vectorize(math.erf)(image / math.sqrt(2))) / 2

    def twice(name, image):
        return gelu(convolution(f"{name}.2", gelu(convolution(f"{name}.0", image))))

    depth, skips, features = file.cfg["depth"], [], planes.astype(float)
    for level in range(depth):
        skips.append(twice(f"enc.{level}", features))
        features = convolution(f"down.{level}", skips[-1], stride=2)
    features = twice("bottleneck", features)
    for number in range(depth):
        enlarged = convolution(f"up.{number}", features.repeat(2, axis=1).repeat(2, axis=2))
        features = twice(f"dec.{number}", np.concatenate([skips.pop(), enlarged]))
    return planes[0] - convolution("head", features)[0]


def network_of(seed=0, **options):
    """A network whose layers are all heard in its output, as a trained one's are: of new weights the deep ones hardly
    are, and what goes into the activations is close to 0."""
    torch.manual_seed(seed)
    network = build_generator({"class_name": "CfaUNet", "base": 4, "depth": 2} | options)
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(2)
    return network


def refusal(action, *arguments) -> str:
    """The one line with which an action is refused."""
    with pytest.raises(UserError) as mistake:
        action(*arguments)
    assert len(str(mistake.value).splitlines()) == 1
    return str(mistake.value)


@pytest.mark.parametrize(("base", "size"), [(32, 30_353_804), (16, 7_597_369)])
def test_a_file_is_as_large_as_ansels_own_of_the_same_network(tmp_path, base, size):
    network = network_of(base=base, depth=4)
    write_ansel(network, CHAIN, tmp_path / "model.anselnn")
    file = read(tmp_path / "model.anselnn")
    assert file.size == 12 + file.header_length + 4 * sum(weights.numel() for weights in network.parameters())
    assert file.size == size


@pytest.mark.parametrize(("base", "depth"), [(4, 2), (3, 1), (1, 8)])
def test_a_file_has_what_ansels_loader_asks_for_and_nothing_else(tmp_path, base, depth):
    write_ansel(network_of(base=base, depth=depth), CHAIN, tmp_path / "model.anselnn")
    file = read(tmp_path / "model.anselnn")
    assert file.cfg == {"arch": "unet", "base": base, "depth": depth, "in_channels": 5, "out_channels": 1}
    assert {name: values.shape for name, values in file.tensors.items()} == described_shapes(base, depth)


def test_a_file_holds_the_networks_weights_to_the_last_bit(tmp_path):
    network = network_of()
    write_ansel(network, CHAIN, tmp_path / "model.anselnn")
    file = read(tmp_path / "model.anselnn")
    for name, weights in network.unet.state_dict().items():
        assert np.array_equal(file.tensors[name], weights.numpy()), name


def test_a_file_read_by_its_description_gives_the_networks_output(tmp_path):
    network = network_of()
    write_ansel(network, CHAIN, tmp_path / "model.anselnn")
    rng = np.random.default_rng(0)
    mosaic, sigma = rng.uniform(-0.1, 1.2, (24, 32)), rng.uniform(0, 0.1, (24, 32))
    one_hot = np.zeros((3, 24, 32))
    one_hot[0, 0::2, 0::2] = one_hot[1, 0::2, 1::2] = one_hot[1, 1::2, 0::2] = one_hot[2, 1::2, 1::2] = 1
    of_file = run(read(tmp_path / "model.anselnn"), np.concatenate([mosaic[None], one_hot, sigma[None]]))

    packed = [image[row::2, column::2] for image in (mosaic, sigma) for row in (0, 1) for column in (0, 1)]
    with torch.inference_mode():
        of_network = network(torch.from_numpy(np.stack(packed)).float()[None])[0].numpy()
    for plane, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        np.testing.assert_allclose(of_file[row::2, column::2], of_network[plane], atol=1e-6)
    assert np.abs(of_file - mosaic).max() > 0.01, "the network does something"


@pytest.mark.parametrize("section", [{"class_name": "UNet", "widths": [4, 8]}, {"class_name": "SCUNet"}])
def test_another_network_is_refused(tmp_path, section):
    network = build_generator(section | {"n_channels": 4, "in_channels": 8})
    line = refusal(write_ansel, network, CHAIN, tmp_path / "model.anselnn")
    assert line.startswith(f"network: a {section['class_name']} given, and Ansel runs CfaUNet alone; train one")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("steps", "given"), [([TO_RAW], "none"), ([TO_RAW, STABILIZATION], "VarianceStabilization")])
def test_a_chain_that_does_not_tell_the_noise_is_refused(tmp_path, steps, given):
    line = refusal(write_ansel, network_of(), transforms.build([*steps, TO_TENSOR]), tmp_path / "model.anselnn")
    assert line.startswith(f"chain: {given} given as its conditioning, ")
    assert line.endswith("train it with a NoiseLevelMap")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [3e-4, float("nan")])
def test_a_file_that_gives_another_output_is_refused_and_the_older_one_stays(tmp_path, wrong):
    path, network = tmp_path / "model.anselnn", network_of()
    network.register_forward_hook(lambda *call: call[-1] + 1e-4)
    assert write_ansel(network, CHAIN, path) == pytest.approx(1e-4, rel=0.1), "what Ansel's own tests let pass"
    older = path.read_bytes()
    other = network_of(seed=1)
    other.register_forward_hook(lambda *call: call[-1] + wrong)
    line = refusal(write_ansel, other, CHAIN, path)
    assert f"model.anselnn: not written, as the file's output differs from the network's by {wrong:.1e}, " in line
    assert path.read_bytes() == older
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", described_shapes(4, 2))
def test_a_fault_in_any_tensor_of_the_file_is_found_before_it_is_kept(tmp_path, monkeypatch, name):
    def with_a_fault(path):
        model = read_ansel(path)
        return model._replace(tensors=model.tensors | {name: model.tensors[name].roll(1) + 0.05})

    read_ansel, network = ansel.read_ansel, network_of()
    write_ansel(network, CHAIN, tmp_path / "sound.anselnn")
    monkeypatch.setattr(ansel, "read_ansel", with_a_fault)
    assert "differs" in refusal(write_ansel, network, CHAIN, tmp_path / "model.anselnn")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SaveError, match=r"nowhere/model.anselnn: could not be written"):
        write_ansel(network_of(), CHAIN, tmp_path / "nowhere" / "model.anselnn")


def test_a_trained_model_restores_raw_images_and_becomes_a_file(option_file, tmp_path):
    chain = [CROP, *MAPPED]
    generator = {"class_name": "CfaUNet", "base": 4, "depth": 2}
    changes = {"transforms_train": chain, "transforms_test": chain, "total_iterations": 4, "validate_every": 2}
    train("-opt", option_file(generator=generator, **changes), "--run-name", "run")
    model = load_model("model_zoo/run", "cpu")
    mosaic = np.random.default_rng(0).uniform(0, 1, (31, 45)).astype(np.float32)
    restored = model.restore_mosaic(mosaic, "GBRG", noise=(1e-3, 1e-5))
    assert restored.shape == mosaic.shape
    assert np.isfinite(restored).all()
    assert write_ansel(model.network, model.chain, tmp_path / "model.anselnn") < 1e-6
    assert read(tmp_path / "model.anselnn").cfg["base"] == 4
