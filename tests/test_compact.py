"""SRVGGNetCompact is the published network: its names, its numbers, and its skip at the right place in a mosaic."""

import pytest
import torch
from torch.nn import functional

from options.errors import UserError
from restore.networks import build_generator
from restore.networks.upsampling import BicubicUpsampling
from restore.networks.weights import load_weights
from transforms import RGGB


def compact(**changes):
    options = {"class_name": "SRVGGNetCompact", "n_channels": 3, "num_feat": 8, "num_conv": 2, "scale": 2}
    return build_generator(options | changes)


@pytest.mark.parametrize(
    ("num_feat", "num_conv", "scale", "parameters"),
    [
        (64, 16, 2, 600_652),
        (64, 16, 3, 609_307),
        (64, 16, 4, 621_424),
        (64, 32, 4, 1_213_296),
        (64, 8, 4, 325_488),
        (24, 8, 4, 52_968),
    ],
)
def test_it_has_as_many_parameters_as_the_published_networks(num_feat, num_conv, scale, parameters):
    network = compact(num_feat=num_feat, num_conv=num_conv, scale=scale)
    assert sum(weights.numel() for weights in network.state_dict().values()) == parameters


def test_it_has_the_published_names():
    numbered = {f"body.{number}.{kind}" for number in range(7) for kind in ("weight", "bias")}
    assert compact().state_dict().keys() == numbered - {f"body.{number}.bias" for number in (1, 3, 5)}
    assert compact(act_type="relu").state_dict().keys() == {name for name in numbered if int(name[5]) % 2 == 0}


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_a_picture_is_enlarged_by_repeating_pixels_and_the_learnt_part_is_added(scale):
    network = compact(scale=scale)
    picture = torch.rand(1, 3, 7, 5)
    learnt = network.upsampler(network.body(picture))
    expected = functional.interpolate(picture, scale_factor=scale, mode="nearest") + learnt
    torch.testing.assert_close(network(picture), expected)


@pytest.mark.parametrize("scale", [2, 4])
def test_a_mosaic_is_enlarged_with_every_colour_at_its_place(scale):
    network = compact(n_channels=4, scale=scale)
    image = torch.rand(1, 4, 8, 6)
    expected = BicubicUpsampling(4, RGGB, scale)(image) + network.upsampler(network.body(image))
    torch.testing.assert_close(network(image), expected)


def test_weights_of_another_scale_load_but_for_the_last_layer():
    network = compact(scale=4)
    report = load_weights(network, compact(scale=2).state_dict(), "model.pth", adapt=True)
    assert report.renewed == ("body.6.weight", "body.6.bias")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"use_sigmoid": True}, "generator: use_sigmoid: true is not a choice; known: false"),
        ({"act_type": "gelu"}, 'generator: act_type: "gelu" is not a choice; did you mean "relu"?'),
        ({"num_feat": 0}, "generator: num_feat: 0 given"),
    ],
)
def test_options_that_it_does_not_have_are_refused_in_one_line(changes, words):
    with pytest.raises(UserError) as mistake:
        compact(**changes)
    assert str(mistake.value).startswith(words)
    assert len(str(mistake.value).splitlines()) == 1
