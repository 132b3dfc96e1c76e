"""Fine-tuning: parts frozen or slowed down by name, and weights of a network that differs at its ends."""

import copy

import pytest
import torch
from conftest import CPU, batch, parameters, train
from torch import nn

import losses
from options.base import parse
from options.errors import UserError
from restore.networks import GeneratorOptions, build_generator
from restore.networks.weights import load_weights
from restore.training.consistency import contradictions
from restore.training.fine_tuning import freeze, rate_factors
from restore.training.lengths import RunLength
from restore.training.optimizers import OptimizerOptions
from restore.training.option_file import read_option_file
from restore.training.precision import choose_precision
from restore.training.schedules import ScheduleSection
from restore.training.trainer import Trainer

UNET = {"class_name": "UNet", "n_channels": 4, "widths": [8, 16]}
SCUNET = {"class_name": "SCUNet", "n_channels": 4, "config": [1] * 7}
OPTIMIZERS = [
    {"class_name": "Adam"},
    {"class_name": "AdamW", "weight_decay": 0.1},
    {"class_name": "SGD", "weight_decay": 0.1},
]


def network(section=UNET, seed=0, **changes):
    torch.manual_seed(seed)
    return build_generator(section | changes)


def trainer_of(net, factors, optimizer=OPTIMIZERS[0], scheduler=None):
    schedule = parse(ScheduleSection, scheduler or {"class_name": "ReduceLROnPlateau"})
    return Trainer(
        net,
        None,
        losses.build({"pixel": {"class_name": "L1"}}, 4),
        parse(OptimizerOptions, optimizer),
        schedule.schedule(1e-3, RunLength(10, per_epoch=10)),
        choose_precision("off", CPU, True, True),
        CPU,
        rate_factors=rate_factors(net, factors),
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda section: section["class_name"])
def test_what_is_frozen_stays_to_the_bit_and_the_rest_is_trained(optimizer):
    net = network()
    assert freeze(net, ["down_levels.*", "halvings.0.bias"]) == sum(
        p.numel() for n, p in net.named_parameters() if n.startswith("down_levels") or n == "halvings.0.bias"
    )
    before = {name: weights.clone() for name, weights in net.named_parameters()}
    trainer = trainer_of(net, {}, optimizer)
    for seed in range(3):
        trainer.step([batch(seed)])
    for name, weights in net.named_parameters():
        frozen = name.startswith("down_levels") or name == "halvings.0.bias"
        assert torch.equal(weights, before[name]) == frozen, name


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda section: section["class_name"])
@pytest.mark.parametrize("scheduler", [None, {"class_name": "Cosine"}], ids=["plateau", "cosine"])
def test_each_parameter_moves_by_its_own_factor_of_the_schedules_rate(optimizer, scheduler):
    patterns = {"tail.*": 1, "*_levels.*": 0.1}
    whole, slowed = network(), network()
    one, other = trainer_of(whole, {}, optimizer, scheduler), trainer_of(slowed, patterns, optimizer, scheduler)
    begin = {name: weights.detach().clone() for name, weights in whole.named_parameters()}
    one.step([batch()])
    other.step([batch()])
    slow = dict(slowed.named_parameters())
    for name, weights in whole.named_parameters():
        factor = 0.1 if "_levels." in name else 1
        moved, less = weights - begin[name], slow[name] - begin[name]
        torch.testing.assert_close(less, factor * moved, rtol=1e-3, atol=2e-8)
    one.step([batch(1)])
    other.step([batch(1)])
    rates = sorted({group["lr"] for group in other.optimizers["generator"].param_groups})
    assert rates == pytest.approx([0.1 * one.learning_rate, one.learning_rate])
    assert _decays(other) == _decays(one)


def _decays(trainer):
    """The weight decay of each parameter by its name."""
    groups = trainer.optimizers["generator"].param_groups
    decays = {weights: group["weight_decay"] for group in groups for weights in group["params"]}
    return {name: decays[weights] for name, weights in trainer.generator.named_parameters()}


def test_a_trainer_with_factors_goes_on_from_its_state_to_the_same_weights():
    patterns = {"tail.*": 3, "*": 0.5}
    whole = trainer_of(network(), patterns)
    whole.step([batch(0)])
    again = trainer_of(network(seed=1), patterns)
    again.load_state(copy.deepcopy(whole.state()))
    for trainer in (whole, again):
        trainer.step([batch(1)])
    assert torch.equal(parameters(whole.generator), parameters(again.generator))


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda net: freeze(net, ["down_level.*"]), r"freeze\.0: \"down_level\.\*\" given, .*near it: down_levels\.\*"),
        (lambda net: freeze(net, ["tail.*", "xyz"]), r"freeze\.1: \"xyz\" given, .*near it: \w+"),
        (lambda net: freeze(net, ["*"]), r"freeze: matches every parameter of the generator; leave some"),
        (lambda net: rate_factors(net, {"tial.*": 0.1}), r"learning_rate_factors\.tial\.\*: .*near it: tail\.\*"),
        (
            lambda net: rate_factors(net, {"*": 0.1, "tail.*": 1}),
            r"learning_rate_factors\.tail\.\*: matches nothing but what .*put it first",
        ),
        (
            lambda net: (freeze(net, ["tail.*"]), rate_factors(net, {"tail.*": 1})),
            r"learning_rate_factors\.tail\.\*: matches nothing but what is frozen",
        ),
    ],
)
def test_a_pattern_that_does_nothing_is_a_mistake(call, line):
    with pytest.raises(UserError, match=line) as mistake:
        call(network())
    assert len(str(mistake.value).splitlines()) == 1


def test_all_patterns_that_match_nothing_are_named_at_once():
    with pytest.raises(UserError) as mistake:
        freeze(network(), ["a", "tail.*", "b"])
    assert [line.split(":")[0] for line in str(mistake.value).splitlines()] == ["freeze.0", "freeze.2"]


def test_random_weights_are_not_frozen():
    generator = parse(GeneratorOptions, UNET, "generator")
    [line] = contradictions({"freeze": ("tail.*",), "pretrained_model": None, "generator": generator})
    assert line.startswith('freeze: ["tail.*"] given, but without a pretrained_model')


def test_an_option_file_fine_tunes(option_file, workplace):
    pretrained = network()
    torch.save(pretrained.state_dict(), "old.pth")
    level_map = {"class_name": "NoiseLevelMap"}
    raw = [{"class_name": "RandomCrop", "h": 32, "w": 32}, {"class_name": "RgbToRawTransform"}, level_map]
    chain = [*raw, {"class_name": "ToTensor2"}]
    path = option_file(
        generator=UNET | {"in_channels": 8},
        pretrained_model="old.pth",
        freeze=["down_levels.1.*"],
        learning_rate_factors={"tail.*": 1, "*": 0.1},
        transforms_train=chain,
        transforms_test=chain,
        total_iterations=3,
        validate_every=3,
    )
    assert read_option_file(path).freeze == ("down_levels.1.*",)
    train("-opt", path, "--run-name", "tuned")
    tuned = torch.load("model_zoo/tuned/best.pth", weights_only=True)
    old = pretrained.state_dict()
    first = tuned["down_levels.0.0.weight"]
    assert torch.equal(tuned["down_levels.1.0.weight"], old["down_levels.1.0.weight"])
    torch.testing.assert_close(first[:, :4], old["down_levels.0.0.weight"], rtol=0, atol=2e-3)
    assert (first[:, 4:] != 0).any()


@pytest.mark.parametrize("section", [UNET, SCUNET], ids=["UNet", "SCUNet"])
def test_a_network_with_a_noise_level_map_begins_as_the_one_without(section):
    old, new = network(section), network(section, seed=1, in_channels=8)
    report = load_weights(new, old.state_dict(), "old.pth", adapt=True)
    image = torch.rand(1, 4, 64, 64)
    with torch.no_grad():
        seen = new.eval()(torch.cat([image, torch.rand(1, 4, 64, 64)], 1))
        torch.testing.assert_close(seen, old.eval()(image), rtol=0, atol=1e-6)
    assert report.adapted == (new.first_layer,)
    assert f"1 of them adapted, with 0 for the planes that are added ({new.first_layer})" in str(report)


@pytest.mark.parametrize("section", [UNET, SCUNET], ids=["UNet", "SCUNet"])
def test_a_network_for_another_image_has_new_ends_and_the_rest_taken(section):
    old, new = network(section, n_channels=3), network(section, seed=1)
    before = {name: weights.clone() for name, weights in new.state_dict().items()}
    report = load_weights(new, old.state_dict(), "old.pth", adapt=True)
    assert new.first_layer in report.renewed
    assert all(name == new.first_layer or name.startswith(new.last_layers) for name in report.renewed)
    for name, weights in new.state_dict().items():
        source = before if name in report.renewed else old.state_dict()
        assert torch.equal(weights, source[name]), name
    assert "left new" in str(report)


def test_a_network_of_another_scale_has_a_new_tail_and_the_added_planes():
    old, new = network(scale=2), network(seed=1, scale=3, in_channels=8)
    report = load_weights(new, old.state_dict(), "old.pth", adapt=True)
    assert report.adapted == ("down_levels.0.0.weight",)
    assert report.missing == ["up_tail.x3.weight", "up_tail.x3.bias"]
    assert "2 missing in the file (up_tail.x3.weight, up_tail.x3.bias)" in str(report)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"in_channels": 8}, {}),  # planes taken away
        ({"widths": [8, 24]}, {}),
        ({"widths": [8]}, {"in_channels": 8}),  # a level that the file lacks
        ({"widths": [8, 16, 32]}, {"in_channels": 8}),
        ({"n_channels": 3, "widths": [12, 16]}, {}),
    ],
)
def test_weights_of_a_network_that_differs_elsewhere_are_refused_and_change_nothing(old, new):
    net = network(seed=1, **new)
    before = parameters(net)
    with pytest.raises(UserError, match="shapes differ"):
        load_weights(net, network(**old).state_dict(), "old.pth", adapt=True)
    assert torch.equal(parameters(net), before)


def test_a_model_in_use_is_never_adapted():
    with pytest.raises(UserError, match="shapes differ"):
        load_weights(network(in_channels=8), network().state_dict(), "old.pth", complete=True)
    assert isinstance(network().tail, nn.Conv2d)
