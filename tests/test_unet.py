"""The plain UNet: any image, any depth, and its endings."""

import pytest
import torch

from options.errors import UserError
from restore.networks import build_generator
from restore.networks.padding import crop, pad_to_multiple
from restore.networks.unet import ResidualBlock


def small(**changes) -> torch.nn.Module:
    return build_generator({"class_name": "UNet", "n_channels": 4, "widths": [8, 12, 16]} | changes)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 50), (32, 64)])
@pytest.mark.parametrize("widths", [[8], [8, 12, 16], [4, 4, 4, 4, 4, 4]])
def test_an_image_of_any_size_keeps_its_size(widths, height, width):
    assert small(widths=widths)(torch.rand(2, 4, height, width)).shape == (2, 4, height, width)


@pytest.mark.parametrize(("depth", "convolutions"), [(1, 1 + 2 + 2 + 4 + 1), (3, 3 + 2 * 3 + 2 * 3 + 4 + 1)])
def test_depth_counts_the_3x3_convolutions_of_each_level(depth, convolutions):
    layers = [layer for layer in small(depth=depth).modules() if hasattr(layer, "kernel_size")]
    # Three levels down, two up, two halvings and two doublings, the tail.
    assert len(layers) == convolutions
    assert [layer.kernel_size for layer in layers].count((3, 3)) == 5 * depth + 1


def test_residual_adds_the_degraded_image():
    torch.manual_seed(0)
    image = torch.rand(1, 4, 24, 30)
    with_residual = small(residual=True)
    without = small(residual=False)
    without.load_state_dict(with_residual.state_dict())
    assert torch.allclose(with_residual(image), image + without(image))


def test_use_sigmoid_keeps_the_output_between_0_and_1():
    output = small(residual=False, use_sigmoid=True)(1000 * torch.randn(1, 4, 32, 32))
    assert 0 <= output.min() < 0.5 < output.max() <= 1


def test_residual_and_use_sigmoid_together_are_refused_in_one_line():
    with pytest.raises(UserError, match="generator: residual and use_sigmoid exclude each other") as mistake:
        small(residual=True, use_sigmoid=True)
    assert len(str(mistake.value).splitlines()) == 1


def test_gradients_reach_every_weight():
    torch.manual_seed(0)
    network = small()
    network(torch.rand(2, 4, 32, 32)).square().mean().backward()
    assert all(weights.grad.abs().max() > 0 for weights in network.parameters())


def test_every_level_is_heard_in_the_output():
    torch.manual_seed(0)
    network = small(residual=False)
    image = torch.rand(1, 4, 32, 32)
    whole = network(image)
    for level in [*network.down_levels, *network.up_levels]:
        last = level[-2]
        kept = last.weight.detach().clone(), last.bias.detach().clone()
        with torch.no_grad():
            last.weight.zero_(), last.bias.zero_()
            assert not torch.allclose(network(image), whole)
            last.weight.copy_(kept[0]), last.bias.copy_(kept[1])


def test_under_bfloat16_a_residual_image_keeps_its_float32_values():
    network = small()
    for weights in network.tail.parameters():
        torch.nn.init.zeros_(weights)
    image = torch.rand(1, 4, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(image), image)


def test_residual_blocks_pass_what_goes_in_where_they_have_learned_nothing():
    network = small(blocks="residual", residual=False)
    image = torch.rand(1, 4, 32, 32)
    blocks = [block for block in network.modules() if isinstance(block, ResidualBlock)]
    assert len(blocks) == 2 * len(network.up_levels) + 1
    for block in blocks:
        features = torch.rand(1, block.layers[0].in_channels, 8, 8)
        assert torch.equal(block(features), features)
    assert network(image).shape == image.shape
    with pytest.raises(UserError, match="depth: 3 given, but residual blocks take two convolutions each"):
        small(blocks="residual", depth=3)


def test_it_traces_as_one_graph():
    network = small()
    image = torch.rand(1, 4, 30, 32)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(image), network(image), atol=1e-6)


def test_padding_repeats_the_last_row_and_column_and_crop_undoes_it():
    image = torch.arange(6.0).view(1, 1, 2, 3)
    padded = pad_to_multiple(image, 4)
    assert padded[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]
    assert torch.equal(crop(padded, 2, 3), image)
    assert pad_to_multiple(padded, 4) is padded
    assert pad_to_multiple(torch.ones(1, 1, 1, 1), 64).sum() == 64 * 64


def test_an_unknown_network_is_named_with_the_known_ones():
    with pytest.raises(UserError, match='"Unet" is unknown; did you mean "UNet"'):
        build_generator({"class_name": "Unet", "n_channels": 4})
