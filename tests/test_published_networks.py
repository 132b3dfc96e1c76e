"""RRDBNet and SPAN are the published networks: their weights, under every name that they go by, and their outputs."""

import math
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from options.errors import UserError
from restore.networks import build_generator
from restore.networks.weights import load_weights, read_state_dict

DATA = Path(__file__).parents[2] / "shared" / "data"
SPAN_FILE = DATA / "weights" / "span_ch28_x4.pth"
SET5 = DATA / "photos" / "set5" / "image_SRF_4"
needs_span = pytest.mark.skipif(not SPAN_FILE.exists(), reason="SPAN's published weights are not there (shared/data)")
RRDBNET = {"class_name": "RRDBNet", "n_channels": 3, "num_feat": 8, "num_block": 2, "num_grow_ch": 4}
SPAN = {"class_name": "SPAN", "n_channels": 3, "feature_channels": 8, "scale": 2}


def parameters(network):
    return sum(weights.numel() for weights in network.parameters())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"class_name": "RRDBNet", "scale": 4}, 16_697_987),
        ({"class_name": "RRDBNet", "scale": 2}, 16_703_171),
        ({"class_name": "RRDBNet", "scale": 1}, 16_723_907),
        ({"class_name": "RRDBNet", "scale": 4, "num_block": 6}, 4_467_779),
        ({"class_name": "SPAN", "scale": 4, "feature_channels": 28}, 634_048),
        ({"class_name": "SPAN", "scale": 4, "feature_channels": 28, "fused": True}, 150_688),
        ({"class_name": "SPAN", "scale": 2, "feature_channels": 48, "fused": True}, 410_700),
        ({"class_name": "SPAN", "scale": 4, "feature_channels": 52, "fused": True}, 498_208),
    ],
)
def test_they_have_as_many_parameters_as_the_published_ones(options, expected):
    assert parameters(build_generator({"n_channels": 3} | options)) == expected


@needs_span
def test_spans_published_weights_give_the_published_numbers():
    network = build_generator(SPAN | {"feature_channels": 28, "scale": 4, "fused": True}, SPAN_FILE)
    with torch.inference_mode():
        restored = network((torch.arange(192.0) / 191).reshape(1, 3, 8, 8))
    assert float(restored.mean()) == pytest.approx(0.5003405, abs=1e-6)
    assert float(restored.std()) == pytest.approx(0.2894355, abs=1e-6)
    torch.testing.assert_close(restored[0, :, 0, 0], torch.tensor([0.019041, 0.324603, 0.630544]), atol=1e-5, rtol=0)


@needs_span
@pytest.mark.skipif(not SET5.exists(), reason="the photographs of Set5 are not there (shared/data)")
def test_spans_published_weights_reach_31_746_db_on_set5():
    network = build_generator(SPAN | {"feature_channels": 28, "scale": 4, "fused": True}, SPAN_FILE)
    values = []
    for file in sorted(SET5.glob("*_LR.png")):
        degraded, clean = (
            cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
            for path in (file, file.with_name(file.name.replace("_LR", "_HR")))
        )
        with torch.inference_mode():
            restored = network(torch.from_numpy(degraded / np.float32(255)).permute(2, 0, 1)[None])[0]
        rounded = (restored.clamp(0, 1) * 255).round().permute(1, 2, 0).double().numpy()
        error = ((rounded - clean) @ [65.481, 128.553, 24.966] / 255)[4:-4, 4:-4]
        values.append(20 * math.log10(255) - 10 * math.log10(np.mean(error**2)))
    assert len(values) == 5
    assert np.mean(values) == pytest.approx(31.746, abs=0.005)


@pytest.mark.parametrize("n_channels", [3, 4])
def test_a_fused_span_gives_what_the_trainable_one_gives(n_channels):
    trained = build_generator(SPAN | {"n_channels": n_channels})
    fused = build_generator(SPAN | {"n_channels": n_channels, "fused": True})
    load_weights(fused, trained.state_dict(), "trained.pth", complete=True)
    image = torch.rand(1, n_channels, 9, 7)
    torch.testing.assert_close(fused(image), trained(image), atol=1e-5, rtol=1e-5)
    assert parameters(fused) < parameters(trained) / 3


def test_the_convolutions_that_span_multiplies_out_give_what_they_give_one_by_one():
    """The published training form: the image padded with zeros, then 1x1, 3x3 and 1x1, and beside them the shortcut."""
    convolution = build_generator(SPAN).block_1.c1_r
    features = torch.rand(2, 8, 6, 5, requires_grad=True)
    one_by_one = convolution.conv(torch.nn.functional.pad(features, (1, 1, 1, 1))) + convolution.sk(features)
    torch.testing.assert_close(convolution(features), one_by_one, atol=1e-5, rtol=1e-5)
    weights = [features, *convolution.parameters()]
    gradients = (torch.autograd.grad(output.square().sum(), weights) for output in (convolution(features), one_by_one))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_saved_span_holds_the_fused_convolutions_of_its_weights_as_they_are_now(tmp_path):
    network = build_generator(SPAN)
    with torch.no_grad():
        network.conv_2.sk.bias.add_(1)
    torch.save(network.state_dict(), tmp_path / "model.pth")
    saved = read_state_dict(tmp_path / "model.pth")
    only_fused = {name: value for name, value in saved.items() if not re.search(r"\.(sk|conv)\.", name)}
    fused = build_generator(SPAN | {"fused": True})
    load_weights(fused, only_fused, "model.pth", complete=True)
    image = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(fused(image), network(image), atol=1e-5, rtol=1e-5)


def test_fused_weights_are_refused_by_a_span_that_is_to_be_trained():
    fused = build_generator(SPAN | {"fused": True}).state_dict()
    with pytest.raises(UserError, match=r"^span\.pth: the file's convolutions are fused, .*; set it to true$"):
        load_weights(build_generator(SPAN), fused, "span.pth", adapt=True)


@pytest.mark.parametrize("scale", [1, 2])
def test_rrdbnet_mirrors_sides_that_are_no_multiple_as_the_published_one_does(scale):
    network = build_generator(RRDBNET | {"scale": scale})
    image, multiple = torch.rand(1, 3, 15, 19), 4 // scale
    padded = torch.nn.functional.pad(image, (0, -19 % multiple, 0, -15 % multiple), mode="reflect")
    expected = network.core(padded)[..., : 15 * scale, : 19 * scale]
    torch.testing.assert_close(network(image), expected, atol=0, rtol=0)


def old_name(name):
    """ESRGAN's first names."""
    name = re.sub(r"body\.(\d+)\.rdb(\d)\.conv(\d)\.", r"model.1.sub.\1.RDB\2.conv\3.0.", name)
    places = {"conv_first": "0", "conv_body": "1.sub.2", "conv_up1": "3", "conv_up2": "6", "conv_hr": "8"}
    for own, place in (places | {"conv_last": "10"}).items():
        name = re.sub(rf"^{own}\.", f"model.{place}.", name)
    return name


def trunk_name(name):
    """The names of BSRGAN and RealSR."""
    name = re.sub(r"body\.(\d+)\.rdb(\d)\.", r"RRDB_trunk.\1.RDB\2.", name)
    names = {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv"}
    for own, other in names.items():
        name = re.sub(rf"^{own}\.", f"{other}.", name)
    return name


@pytest.mark.parametrize("name", [old_name, trunk_name])
@pytest.mark.parametrize("scale", [1, 4])
def test_rrdbnets_weights_load_under_the_older_names(name, scale, tmp_path):
    network, other = (build_generator(RRDBNET | {"scale": scale}) for _ in range(2))
    renamed = {name(own): value for own, value in network.state_dict().items()}
    assert not set(renamed) & {"conv_body.weight", "body.0.rdb1.conv1.weight", "conv_hr.bias"}
    torch.save(renamed, tmp_path / "model.pth")
    load_weights(other, read_state_dict(tmp_path / "model.pth"), "model.pth", complete=True)
    image = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(other(image), network(image), atol=0, rtol=0)


def test_rrdbnet_takes_weights_of_another_scale_but_for_the_first_layer():
    network = build_generator(RRDBNET | {"scale": 2})
    report = load_weights(network, build_generator(RRDBNET).state_dict(), "x4.pth", adapt=True)
    assert report.missing == ["conv_first.weight"]
    with pytest.raises(UserError, match=r"x4.pth: lacks 1 of the network's 72 weights \(conv_first.weight\)"):
        load_weights(network, build_generator(RRDBNET).state_dict(), "x4.pth", complete=True)


@pytest.mark.parametrize(
    "options",
    [RRDBNET | {"scale": scale} for scale in (1, 2, 4)]
    + [SPAN | {"scale": scale, "fused": fused} for scale in (1, 3) for fused in (False, True)]
    + [RRDBNET | {"n_channels": 4, "in_channels": 8, "scale": 2}, SPAN | {"n_channels": 4, "in_channels": 8}],
)
def test_any_size_is_restored_at_the_scale_also_in_half_precision(options):
    network = build_generator(options)
    image = torch.rand(2, network.in_channels, 5, 7)
    with torch.inference_mode():
        restored = network(image)
        with torch.autocast("cpu", torch.bfloat16):
            coarse = network(image)
    assert restored.shape == (2, network.n_channels, 5 * network.scale, 7 * network.scale)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, restored, atol=0.05 * float(restored.abs().max()), rtol=0)


@pytest.mark.parametrize("options", [RRDBNET, SPAN, SPAN | {"fused": True}, SPAN | {"n_channels": 4}])
def test_saved_weights_load_again_and_give_the_same_image(options, tmp_path):
    network = build_generator(options)
    torch.save(network.state_dict(), tmp_path / "model.pth")
    image = torch.rand(1, network.in_channels, 6, 6)
    torch.testing.assert_close(build_generator(options, tmp_path / "model.pth")(image), network(image), atol=0, rtol=0)


def test_checkpointing_changes_no_gradient_of_rrdbnet():
    plain, saving = build_generator(RRDBNET), build_generator(RRDBNET | {"checkpointing": True})
    saving.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, 6, 6)
    gradients = []
    for network in (plain, saving):
        network.train()(image).square().mean().backward()
        gradients.append([weights.grad for weights in network.parameters()])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (RRDBNET | {"scale": 3}, "generator: scale: 3 is not a choice; known: 1, 2, 4"),
        (SPAN | {"scale": 5}, "generator: scale: 5 given"),
        (SPAN | {"use_sigmoid": True}, "generator: use_sigmoid: true is not a choice; known: false"),
    ],
)
def test_what_a_network_does_not_have_is_refused_in_one_line(options, words):
    with pytest.raises(UserError) as mistake:
        build_generator(options)
    assert str(mistake.value).startswith(words)
    assert len(str(mistake.value).splitlines()) == 1
