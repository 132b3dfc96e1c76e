"""Ansel's network: its layers and names, the planes that it sees, mosaics of any size and CFA, and its options."""

import pytest
import torch

from options.errors import UserError
from restore.networks import build_generator
from restore.networks.cfa_unet import MosaicUNet
from restore.training.option_file import read_option_file

TO_RAW = {"class_name": "RgbToRawTransform"}
NOISE_LEVEL_MAP = {"class_name": "NoiseLevelMap"}
TO_TENSOR = {"class_name": "ToTensor2"}
CROP = {"class_name": "RandomCrop", "h": 32, "w": 32}
# The colours of a cell of Fujifilm's X-Trans III: 0, 1, 2 are R, G, B.
X_TRANS = ["GBGGRG", "RGRBGB", "GBGGRG", "GRGGBG", "BGBRGR", "GRGGBG"]


def small(**changes) -> torch.nn.Module:
    return build_generator({"class_name": "CfaUNet", "base": 8, "depth": 2} | changes)


def planes(*shape: int) -> torch.Tensor:
    """Packed raw with some noise below black, and behind it standard deviations."""
    rng = torch.Generator().manual_seed(0)
    return torch.cat([torch.rand(*shape, generator=rng) - 0.1, 0.1 * torch.rand(*shape, generator=rng)], dim=1)


@pytest.mark.parametrize(("base", "parameters"), [(32, 7_587_329), (16, 1_898_241)])
def test_it_has_as_many_parameters_as_ansels_own_models(base, parameters):
    network = build_generator({"class_name": "CfaUNet", "base": base})
    assert sum(weights.numel() for weights in network.parameters()) == parameters


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 50), (16, 24)])
@pytest.mark.parametrize("depth", [1, 3])
def test_an_image_of_any_size_keeps_its_size(depth, height, width):
    assert small(depth=depth)(planes(2, 4, height, width)).shape == (2, 4, height, width)


def test_it_sees_the_mosaic_with_the_colour_and_the_noise_of_each_pixel():
    network, seen = small(), []
    network.unet.enc[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    degraded = planes(2, 4, 6, 8)
    network(degraded)
    (given,) = seen
    assert given.shape == (2, 5, 12, 16)
    for plane, (row, column, colour) in enumerate([(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)]):
        site = given[:, :, row::2, column::2]
        assert torch.equal(site[:, 0], degraded[:, plane])
        assert torch.equal(site[:, 4], degraded[:, 4 + plane])
        expected = torch.eye(3)[colour][:, None, None].expand(2, 3, 6, 8)
        assert torch.equal(site[:, 1:4], expected)


def test_the_sides_of_the_planes_are_padded_no_further_than_the_mosaic_needs():
    network = small(depth=3)
    assert network.size_multiple == 4
    image = planes(1, 4, 4, 12)
    assert torch.equal(network(image), network.core(image))


@pytest.mark.parametrize("half", [False, True])
def test_what_the_head_gives_is_subtracted_from_the_mosaic_in_its_own_precision(half):
    network, image = small(), planes(1, 4, 8, 8)
    torch.nn.init.zeros_(network.unet.head.weight)
    torch.nn.init.constant_(network.unet.head.bias, 0.25)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        assert torch.equal(network(image), image[:, :4] - 0.25)


def test_gradients_reach_every_weight():
    torch.manual_seed(0)
    network = small()
    network(planes(2, 4, 16, 16)).square().mean().backward()
    assert all(weights.grad.abs().max() > 0 for weights in network.parameters())


def test_updates_teach_it_to_take_noise_away():
    torch.manual_seed(0)
    network = small()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    sigma = torch.full((4, 4, 8, 8), 0.1)
    clean = torch.rand(4, 4, 1, 1).expand_as(sigma)
    for _ in range(100):
        noise = sigma * torch.randn_like(clean)
        loss = (network(torch.cat([clean + noise, sigma], dim=1)) - clean).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.8 * noise.abs().mean()


def test_the_network_inside_takes_an_x_trans_mosaic():
    torch.manual_seed(0)
    unet = MosaicUNet(base=4, depth=2)
    colours = torch.tensor([["RGB".index(letter) for letter in row] for row in X_TRANS]).repeat(2, 4)
    one_hot = torch.nn.functional.one_hot(colours, 3).permute(2, 0, 1).float()
    mosaic, sigma = torch.rand(2, 12, 24), torch.full((2, 12, 24), 0.01)
    restored = unet(mosaic, one_hot, sigma)
    assert restored.shape == mosaic.shape
    assert restored.isfinite().all()
    assert not torch.allclose(restored, unet(mosaic, one_hot.roll(1, dims=-1), sigma)), "the colours are heard"
    assert not torch.allclose(restored, unet(mosaic, one_hot, 2 * sigma)), "the noise is heard"


def test_it_traces_as_one_graph():
    network, image = small(), planes(1, 4, 15, 16)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(image), network(image), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"n_channels": 3}, "generator: n_channels: 3 is not a choice; known: 4"),
        ({"in_channels": 4}, "generator: in_channels: 4 is not a choice; known: 8"),
        ({"scale": 2}, "generator: scale: 2 is not a choice; known: 1"),
        ({"base": 513}, "generator: base: 513 given; .* 512"),
        ({"depth": 9}, "generator: depth: 9 given; .* 8"),
        (
            {"base": 64, "depth": 8},
            "generator: base 64 and depth 8 given, .*lower one of them, to at most 8192 channels",
        ),
    ],
)
def test_what_ansel_cannot_read_is_refused_in_one_line(changes, line):
    with pytest.raises(UserError, match=line) as mistake:
        small(**changes)
    assert len(str(mistake.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("chain", "lines"),
    [
        ([TO_RAW], ["without the NoiseLevelMap that CfaUNet needs; put one behind the RgbToRawTransform"]),
        (
            [TO_RAW, {"class_name": "VarianceStabilization"}],
            ["without the NoiseLevelMap that CfaUNet needs; put one in place of the VarianceStabilization"],
        ),
        (
            [{"class_name": "PictureNoise"}],
            [
                "gives 3 channels, but generator.n_channels is 4; take a generator of 3, or add an RgbToRawTransform",
                "without the NoiseLevelMap that CfaUNet needs; put one behind the RgbToRawTransform",
            ],
        ),
    ],
)
def test_a_chain_that_does_not_tell_the_noise_is_a_mistake_that_says_what_would(option_file, chain, lines):
    generator = {"class_name": "CfaUNet", "base": 4, "depth": 1}
    chain = [CROP, *chain, TO_TENSOR]
    with pytest.raises(UserError) as mistake:
        read_option_file(option_file(generator=generator, transforms_train=chain, transforms_test=chain))
    found = str(mistake.value).splitlines()
    assert [line.partition(": transforms_train: ")[2] for line in found if ": transforms_train: " in line] == lines
    assert len(found) == 2 * len(lines), "the same of transforms_test"


def test_with_a_noise_level_map_its_section_needs_no_more_than_its_name(option_file):
    chain = [CROP, TO_RAW, NOISE_LEVEL_MAP, TO_TENSOR]
    path = option_file(generator={"class_name": "CfaUNet"}, transforms_train=chain, transforms_test=chain)
    generator = read_option_file(path).generator
    assert (generator.n_channels, generator.in_channels, generator.base, generator.depth) == (4, 8, 32, 4)
