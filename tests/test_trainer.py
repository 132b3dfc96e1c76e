"""The step: what an update does to the networks, term by term."""

import copy

import pytest
import torch
from conftest import CPU, batch, parameters, trainer_of
from torch import nn

from options.errors import Diverged, UserError
from restore.networks import build_generator
from restore.training.optimizers import SGD, Adam, AdamW, step_if
from restore.training.precision import Precision, choose_precision

L1 = {"pixel": {"class_name": "L1"}}


def test_training_on_a_pixel_term_lowers_it():
    trainer = trainer_of(L1)
    first = float(trainer.step([batch()])["loss/pixel"])
    for _ in range(200):
        last = float(trainer.step([batch()])["loss/pixel"])
    assert last < 0.8 * first
    assert trainer.iteration == 201


def test_terms_of_one_family_are_logged_under_their_own_names_and_weighted_in_the_total():
    trainer = trainer_of({"pixel": {"class_name": "L1", "weight": 10}, "second": {"class_name": "L1", "weight": 0.5}})
    terms = trainer.step([batch()])
    assert terms["loss/pixel"] == terms["loss/second"]
    assert float(terms["loss/total"]) == pytest.approx(10.5 * float(terms["loss/pixel"]))


def test_the_gradient_is_clipped_after_backward_and_its_norm_logged_before_clipping():
    trainer = trainer_of({"pixel": {"class_name": "L2", "weight": 1e4}}, grad_clip=0.4)
    seen = {}
    optimizer = trainer.optimizers["generator"]
    optimizer.register_step_pre_hook(
        lambda *_: seen.update(norm=nn.utils.get_total_norm(p.grad for p in trainer.generator.parameters()))
    )
    logged = trainer.step([batch()])["gradient_norm/generator"]
    assert float(logged) > 10
    assert float(seen["norm"]) == pytest.approx(0.4, rel=1e-3)


def test_without_a_limit_the_gradient_is_left_as_it_is():
    trainer = trainer_of({"pixel": {"class_name": "L2", "weight": 1e4}}, grad_clip=None)
    logged = trainer.step([batch()])["gradient_norm/generator"]
    remaining = nn.utils.get_total_norm(p.grad for p in trainer.generator.parameters())
    assert float(remaining) == pytest.approx(float(logged))


def test_bf16_trains_with_float32_weights_and_a_float32_loss():
    trainer = trainer_of(L1, amp="bf16")
    seen = []
    trainer.generator.tail.register_forward_hook(lambda *hooked: seen.append(hooked[2].dtype))
    terms = trainer.step([batch()])
    assert seen == [torch.bfloat16]
    assert terms["loss/pixel"].dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in trainer.generator.parameters())
    assert not trainer.scaler.is_enabled(), "bfloat16 has float32's range and wants no scaler"


def test_the_learning_rate_falls_with_the_validation_loss_alone():
    trainer = trainer_of(L1, scheduler={"class_name": "ReduceLROnPlateau", "factor": 0.5, "patience": 0, "min_lr": 0.0})
    rates = []
    for loss in (1.0, 0.5, 0.6, 0.4):
        trainer.step([batch()])
        trainer.end_savepoint(loss)
        rates.append(trainer.learning_rate)
    assert rates == [1e-3, 1e-3, 5e-4, 5e-4]


def test_state_restores_networks_optimisers_and_counters_to_the_same_next_step():
    one, other = trainer_of(L1), trainer_of(L1)
    for number in range(3):
        one.step([batch(number)])
    one.end_savepoint(0.5)
    other.load_state(copy.deepcopy(one.state()))
    assert (other.iteration, other.progress.validated, other.progress.best_loss) == (3, 3, 0.5)
    one.step([batch(9)])
    other.step([batch(9)])
    assert torch.equal(parameters(one.generator), parameters(other.generator))


@pytest.mark.parametrize(
    ("amp", "safe", "pixel_only", "expected"),
    [
        ("off", True, True, torch.float32),
        ("bf16", True, True, torch.bfloat16),
        ("bf16", True, False, torch.bfloat16),
        ("auto", False, True, torch.float32),
        ("auto", True, False, torch.float32),
    ],
)
def test_precision_is_what_was_asked_for_and_auto_is_careful(amp, safe, pixel_only, expected):
    assert choose_precision(amp, CPU, safe, pixel_only).dtype == expected


@pytest.mark.parametrize(("amp", "safe"), [("fp16", True), ("bf16", False)])
def test_half_precision_that_is_not_there_is_refused_and_not_replaced(amp, safe):
    with pytest.raises(UserError, match=f'amp: "{amp}" given'):
        choose_precision(amp, CPU, safe, True)


@pytest.mark.parametrize(("instructions", "dtype"), [("amx_bf16", torch.bfloat16), ("avx2", torch.float32)])
def test_auto_takes_half_precision_where_the_processor_has_instructions_for_it(monkeypatch, instructions, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {instructions: True})
    assert choose_precision("auto", CPU, True, True).dtype == dtype


class Fp16(Precision):
    """No CPU option gives float16; its scaler is the same code on every device."""

    def scaler(self, device):
        return torch.amp.GradScaler("cpu", init_scale=float(self.why))


def test_fp16_scales_the_loss_and_unscales_before_clipping():
    terms = trainer_of(L1, precision=Fp16(torch.float16, "256")).step([batch()])
    assert terms["amp/scale"] == 256
    norm = float(trainer_of(L1).step([batch()])["gradient_norm/generator"])
    assert float(terms["gradient_norm/generator"]) == pytest.approx(norm, rel=0.05)


def test_fp16_leaves_out_an_update_that_overflows_and_scales_lower():
    trainer = trainer_of(L1, precision=Fp16(torch.float16, str(2.0**40)))
    before = parameters(trainer.generator)
    overflown = trainer.step([batch()])
    assert torch.equal(parameters(trainer.generator), before)
    assert overflown["skipped_updates"] == 1
    assert trainer.state()["scaler"]["scale"] == 2.0**39


def gradients(terms, count):
    """The clipped gradients of both networks in an update of four samples made in so many parts."""
    trainer = trainer_of(terms)
    trainer.step(batch(count=4).parts(count))
    return torch.cat([p.grad.flatten() for network in trainer.networks.values() for p in network.parameters()])


@pytest.mark.parametrize(
    "terms",
    [
        L1,
        {"pixel": {"class_name": "L1", "weight": 10}, "gan": {"class_name": "lsgan"}},
        {"pixel": {"class_name": "L1"}, "gan": {"class_name": "wgan", "constraint": "weight_clipping"}},
        {"pixel": {"class_name": "L1"}, "gan": {"class_name": "wgan", "critic_steps": 2}},
    ],
    ids=["L1", "lsgan", "wgan clipped", "wgan penalised"],
)
def test_an_update_in_parts_is_the_update_of_the_whole_batch(terms):
    torch.testing.assert_close(gradients(terms, 2), gradients(terms, 1), atol=1e-6, rtol=0)
    torch.testing.assert_close(gradients(terms, 4), gradients(terms, 1), atol=1e-6, rtol=0)


def test_an_update_in_one_part_runs_the_generator_once_and_one_in_parts_keeps_no_graph_for_the_discriminator():
    trainer = trainer_of({"pixel": {"class_name": "L1"}, "gan": {"class_name": "wgan"}})
    graphs = []
    trainer.generator.register_forward_hook(lambda *called: graphs.append(called[2].requires_grad))
    trainer.step(batch(count=4).parts(1))
    assert graphs == [True]
    trainer.step(batch(count=4).parts(2))
    assert graphs == [True, False, False, True, True]


def test_half_precision_too_can_be_computed_in_parts():
    one, other = (trainer_of(L1, precision=Fp16(torch.float16, "256")) for _ in range(2))
    whole, parts = one.step([batch(count=4)]), other.step(batch(count=4).parts(2))
    assert float(parts["loss/pixel"]) == pytest.approx(float(whole["loss/pixel"]), rel=1e-3)
    assert float(parts["gradient_norm/generator"]) == pytest.approx(float(whole["gradient_norm/generator"]), rel=1e-2)


def test_adding_a_part_to_the_state_is_one_line():
    one, other = trainer_of(L1), trainer_of(L1)
    one.parts["extra"], other.parts["extra"] = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    other.load_state(copy.deepcopy(one.state()))
    assert torch.equal(one.parts["extra"].weight, other.parts["extra"].weight)


def test_one_schedule_sets_the_rate_of_both_networks_before_each_update():
    trainer = trainer_of(
        {"pixel": {"class_name": "L1"}, "gan": {"class_name": "wgan"}}, scheduler={"class_name": "Cosine"}
    )
    for iteration in range(1, 4):
        terms = trainer.step([batch()])
        expected = trainer.schedule.rate(iteration)
        assert terms["learning_rate/generator"] == terms["learning_rate/discriminator"] == expected
        assert {group["lr"] for one in trainer.optimizers.values() for group in one.param_groups} == {expected}


@pytest.mark.parametrize("scheduler", ["ReduceLROnPlateau", "Cosine"])
def test_the_brake_is_halved_at_each_return_whatever_the_schedule_and_outlives_the_process(scheduler):
    trainer = trainer_of(L1, scheduler={"class_name": scheduler})
    good = copy.deepcopy(trainer.state())
    for expected in (5e-4, 2.5e-4):
        trainer.step([batch()])
        text = trainer.go_back(good, Diverged("diverged"))
        assert f"with the learning rate {expected:.3g}" in text
        good = copy.deepcopy(trainer.state())
    resumed = trainer_of(L1, scheduler={"class_name": scheduler})
    resumed.load_state(good)
    assert resumed.step([batch()])["learning_rate/generator"] == 2.5e-4
    assert resumed.guard.returns == 2


SGD_NESTEROV = SGD(initial_learning_rate=1e-2, momentum=0.9, nesterov=True, weight_decay=1e-3)


@pytest.mark.parametrize("optimizer", [SGD_NESTEROV, AdamW(weight_decay=0.1)], ids=["SGD", "AdamW"])
def test_an_update_that_is_not_finite_leaves_weights_and_optimiser_as_they_were(optimizer):
    network = nn.Linear(3, 3)
    built = optimizer.build(network)
    twin = copy.deepcopy(network)
    other = optimizer.build(twin)
    for number, finite in enumerate([False, True, False, True]):
        for net, rule in ((network, built), (twin, other)):
            for parameter in net.parameters():
                parameter.grad = torch.full_like(parameter, number + 1.0 if finite else torch.nan)
            if net is network or finite:
                step_if(torch.tensor(finite), rule)
    assert torch.equal(parameters(network), parameters(twin))


def test_weight_decay_spares_biases_norms_and_position_tables_unless_asked():
    network = build_generator({"class_name": "SCUNet", "n_channels": 4, "config": [1] * 7})
    decayed, spared = AdamW(weight_decay=0.1).build(network).param_groups
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert all(
        names[id(p)].endswith(("bias", "norm.weight", "relative_position_params")) or p.ndim == 1
        for p in spared["params"]
    )
    assert any(names[id(p)].endswith("relative_position_params") for p in spared["params"])
    assert not any(names[id(p)].endswith(("bias", "relative_position_params")) for p in decayed["params"])
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0)
    assert len(decayed["params"]) + len(spared["params"]) == len(names)
    (everything,) = AdamW(weight_decay=0.1, decay_all=True).build(network).param_groups
    assert len(everything["params"]) == len(names)


@pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=["SGD", "Adam"])
def test_a_cycled_momentum_reaches_the_optimiser_and_the_log(optimizer):
    trainer = trainer_of(L1, optimizer=optimizer, scheduler={"class_name": "OneCycle", "max_lr": 1e-2})
    for iteration in range(1, 4):
        terms = trainer.step([batch()])
        (group,) = trainer.optimizers["generator"].param_groups
        momentum = group["betas"][0] if "betas" in group else group["momentum"]
        assert momentum == terms["momentum/generator"] == trainer.schedule.momentum(iteration) <= 0.95


def test_without_a_cycle_the_momentum_stays_the_optimisers_own():
    trainer = trainer_of(L1, optimizer=SGD(momentum=0.7))
    assert "momentum/generator" not in trainer.step([batch()])
    assert trainer.optimizers["generator"].param_groups[0]["momentum"] == 0.7


RESUMED = [
    {"class_name": "Cosine", "warmup": {"iterations": 8}},
    {"class_name": "Cosine", "period": {"iterations": 3}, "period_factor": 2},
    {"class_name": "ReduceLROnPlateau", "factor": 0.5, "patience": 0, "warmup": {"iterations": 6}},
    {"class_name": "OneCycle", "max_lr": 0.01},
]


@pytest.mark.parametrize("scheduler", RESUMED, ids=["warm-up", "restarts", "plateau", "OneCycle"])
@pytest.mark.parametrize("optimizer", [SGD_NESTEROV, AdamW()], ids=["SGD", "AdamW"])
def test_a_state_taken_anywhere_in_a_schedule_goes_on_to_the_same_bits(scheduler, optimizer):
    terms = {"pixel": {"class_name": "L1"}, "gan": {"class_name": "wgan"}}

    def go_on(trainer, until):
        while trainer.iteration < until:
            trainer.step([batch(trainer.iteration)])
            if trainer.iteration % 2 == 0:
                trainer.end_savepoint(1.0)
        return trainer

    def made():
        return trainer_of(terms, optimizer=optimizer, scheduler=scheduler)

    whole = go_on(made(), 7)
    state = copy.deepcopy(go_on(made(), 5).state())
    resumed = made()
    torch.rand(3)  # another process would have other random numbers
    resumed.load_state(state)
    go_on(resumed, 7)
    for name, network in whole.networks.items():
        assert torch.equal(parameters(network), parameters(resumed.networks[name]))
    assert whole.schedule.rate(8) == resumed.schedule.rate(8)
