"""SCUNet is the published network: its names, its numbers, its outputs; and it takes any image."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from options.base import parse
from options.errors import UserError
from restore.benchmark.network import difference
from restore.benchmark.plain_scunet import PlainSCUNet
from restore.networks import build_generator
from restore.networks.scunet import SCUNetOptions
from restore.networks.window_attention import from_windows, shift_mask, to_windows

KNOWN_ANSWERS = Path(__file__).parents[2] / "shared" / "data" / "known_answers" / "scunet.json"
SHORT = (2, 1, 1, 2, 1, 1, 1)
"""Blocks per stage: a shifted one at the first and at the coarsest level."""


def small(**changes) -> torch.nn.Module:
    return build_generator({"class_name": "SCUNet", "n_channels": 4, "config": SHORT} | changes)


def known_weights(shapes: dict[str, list[int]], seed: int) -> dict[str, torch.Tensor]:
    """Weights that anyone can make again from a name, a shape and a seed; every part of the network feels them."""
    weights = {}
    for name, shape in shapes.items():
        values = np.random.RandomState((zlib.crc32(name.encode()) ^ seed) & 0x7FFFFFFF).standard_normal(shape)
        if name.endswith("relative_position_params"):
            values *= 0.5
        elif len(shape) > 1:
            values /= np.sqrt(np.prod(shape[1:]))
        else:
            values = values * 0.1 + (".ln" in name and name.endswith("weight"))
        weights[name] = torch.from_numpy(values.astype(np.float32))
    return weights


def with_known_weights(network: torch.nn.Module) -> torch.nn.Module:
    shapes = {name: list(weights.shape) for name, weights in network.state_dict().items()}
    network.load_state_dict(known_weights(shapes, seed=3))
    return network.eval()


@pytest.mark.parametrize(("n_channels", "parameters"), [(4, 17_947_224), (3, 17_946_072)])
def test_it_has_as_many_parameters_as_the_published_network(n_channels, parameters):
    network = build_generator({"class_name": "SCUNet", "n_channels": n_channels, "config": [4] * 7})
    assert sum(weights.numel() for weights in network.parameters()) == parameters
    assert sum(weights.numel() for weights in network.state_dict().values()) == parameters


@pytest.mark.skipif(not KNOWN_ANSWERS.exists(), reason=f"the known answers are not there ({KNOWN_ANSWERS.name})")
def test_it_computes_what_the_published_network_computes():
    known = json.loads(KNOWN_ANSWERS.read_text())
    network = SCUNetOptions(n_channels=known["n_channels"], config=tuple(known["config"]), dim=known["dim"]).build()
    assert {name: list(weights.shape) for name, weights in network.state_dict().items()} == known["keys"]
    assert sum(weights.numel() for weights in network.parameters()) == known["parameters"]
    network.load_state_dict(known_weights(known["keys"], known["seed"]))
    for number, case in enumerate(known["cases"]):
        shape = (1, known["n_channels"], case["h"], case["w"])
        image = np.random.RandomState(known["seed"] + number).uniform(0, 1, shape).astype(np.float32)
        with torch.inference_mode():
            output = network.eval()(torch.from_numpy(image))
        error = (output.flatten()[case["index"]] - torch.tensor(case["value"])).abs().max()
        assert error < 1e-4 * case["std"]
        assert float(output.mean()) == pytest.approx(case["mean"], abs=1e-4 * case["std"])


@pytest.mark.parametrize(("batch", "height", "width"), [(2, 64, 128), (1, 100, 70)])
def test_it_computes_what_the_plain_formulation_computes(batch, height, width):
    network = with_known_weights(small())
    plain = PlainSCUNet(4, SHORT)
    plain.load_state_dict(network.state_dict())
    assert difference(network, plain, torch.rand(batch, 4, height, width)) < 1e-4


def test_its_gradients_are_those_of_the_plain_formulation_and_reach_every_weight():
    network = with_known_weights(small()).train().double()
    plain = PlainSCUNet(4, SHORT).double()
    plain.load_state_dict(network.state_dict())
    image = torch.rand(2, 4, 64, 64, dtype=torch.float64)
    for one in (network, plain):
        one(image).square().mean().backward()
    for (name, ours), theirs in zip(network.named_parameters(), plain.parameters(), strict=True):
        assert ours.grad.abs().max() > 0, name
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-6, atol=1e-8 * float(theirs.grad.abs().max())), name


def test_windows_hold_the_right_pixels_and_go_back_to_the_same_image():
    image = torch.arange(16 * 24).view(1, 16, 24, 1)
    assert to_windows(image, 0)[0, 4, :, 0].tolist() == image[0, 8:, 8:16, 0].flatten().tolist()
    assert to_windows(image, 4)[0, 0, :, 0].tolist() == image[0, 4:12, 4:12, 0].flatten().tolist()
    for shift in (0, 4):
        assert torch.equal(from_windows(to_windows(image, shift), 16, 24, shift), image)


def test_a_shifted_window_never_mixes_opposite_edges_of_the_image():
    apart = shift_mask(16, 24, 4, torch.device("cpu"))
    assert apart.shape == (6, 64, 64)
    assert not apart[:2].any()  # windows that hold neighbours alone: neither in the last row nor in the last column
    place = torch.cartesian_prod(torch.arange(16), torch.arange(24)).view(1, 16, 24, 2)
    place = to_windows(place, 4)[0]
    far = (place[:, :, None] - place[:, None, :]).abs().amax(-1) >= 8
    assert torch.equal(apart, far)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 65), (64, 64)])
def test_an_image_of_any_size_keeps_its_size(height, width):
    with torch.inference_mode():
        assert small()(torch.rand(1, 4, height, width)).shape == (1, 4, height, width)


def test_use_sigmoid_keeps_the_output_between_0_and_1():
    image = 100 * torch.randn(1, 4, 64, 64)
    with torch.inference_mode():
        open_ended, bounded = with_known_weights(small()), with_known_weights(small(use_sigmoid=True))
        assert open_ended(image).max() > 1
        assert torch.allclose(bounded(image), open_ended(image).sigmoid())


def test_stochastic_depth_acts_in_training_alone():
    network = with_known_weights(small(drop_path=0.5))
    image = torch.rand(4, 4, 64, 64)
    with torch.inference_mode():
        assert torch.equal(network(image), with_known_weights(small())(image))
        network.train()
        torch.manual_seed(0)
        first, second = network(image), network(image)
        assert not torch.allclose(first, second)
        torch.manual_seed(0)
        assert torch.equal(network(image), first)


def test_stochastic_depth_keeps_the_mean_of_a_branch_and_grows_with_depth():
    drops = [block.trans_block.drop_path for block in small(drop_path=0.4).modules() if hasattr(block, "trans_block")]
    rates = [drop.probability for drop in drops]
    assert rates == pytest.approx([0.05 * number for number in range(9)])
    torch.manual_seed(0)
    kept = drops[-1](torch.ones(10_000, 1, 1, 1))
    assert kept.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert float(kept.mean()) == pytest.approx(1, abs=0.03)


def test_the_whole_network_is_one_graph_for_the_compiler():
    network = with_known_weights(small())
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager", dynamic=False)
    with torch.inference_mode():
        for image in (torch.rand(2, 4, 64, 128), torch.rand(1, 4, 100, 70)):
            assert difference(compiled, network, image) < 1e-4


def test_a_training_step_compiles_as_one_graph():
    network = small(drop_path=0.1).train()
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager", dynamic=False)
    compiled(torch.rand(1, 4, 64, 64)).mean().backward()
    assert all(weights.grad is not None for weights in network.parameters())


def test_bfloat16_stays_near_float32_and_gives_back_float32():
    network = with_known_weights(small())
    image = torch.rand(1, 4, 64, 64)
    with torch.inference_mode():
        exact = network(image)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = network(image)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).std() < 0.02 * exact.std()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"config": [4] * 6}, "generator: config.6: missing"),
        ({"config": [4] * 8}, "generator: config: [4, 4, 4, 4, 4, 4, 4, 4] given; list should have at most 7 items"),
        ({"config": [4, 4, 4, 0, 4, 4, 4]}, "generator: config.3: 0 given"),
        ({"dim": 32}, "generator: dim: 32 given; input should be a multiple of 64"),
        ({"drop_path": 1.0}, "generator: drop_path: 1.0 given"),
        ({"drop_paths": 0.1}, 'did you mean "drop_path"'),
    ],
)
def test_a_mistake_in_its_options_is_one_line_with_its_place(change, words):
    with pytest.raises(UserError) as mistake:
        build_generator({"class_name": "SCUNet", "n_channels": 4} | change)
    assert words in str(mistake.value)
    assert len(str(mistake.value).splitlines()) == 1


def test_building_prints_nothing_and_touches_no_file(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for options in ({"class_name": "SCUNet", "n_channels": 3}, {"class_name": "UNet", "n_channels": 3}):
        build_generator(options)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_its_validated_section_builds_as_its_dict_does():
    section = parse(SCUNetOptions, {"n_channels": 4, "config": list(SHORT)})
    assert [*build_generator(section).state_dict()] == [*small().state_dict()]
