"""The step: what an update does to the networks, term by term."""

import copy

import pytest
import torch
from torch import nn

import losses
from options.base import parse
from options.errors import UserError
from restore.data.batches import Batch
from restore.networks import build_generator
from restore.training.option_file import TrainingOptions
from restore.training.precision import Precision, choose_precision
from restore.training.trainer import Trainer

CPU = torch.device("cpu")
FLOAT32 = choose_precision("off", CPU, True, True)


def trainer_of(terms, **changes):
    torch.manual_seed(0)
    chain = [{"class_name": "RgbToRawTransform"}, {"class_name": "ToTensor2"}]
    data = {
        "name": "test",
        "generator": {"class_name": "UNet", "n_channels": 4, "widths": [8]},
        "discriminator": {"class_name": "PatchDiscriminator", "width": 8, "n_layers": 1},
        "losses": terms,
        "training_path": ["x"],
        "testing_path": ["x"],
        "transforms_train": chain,
        "transforms_test": chain,
        "batch_size": 2,
        "total_epochs": 1,
        "optimizer": {"class_name": "Adam", "initial_learning_rate": 1e-3},
    }
    options = parse(TrainingOptions, data | changes)
    loss = losses.build(options.losses, 4)
    discriminator = options.discriminator.build(4) if loss.adversarial else None
    precision = choose_precision(changes.get("amp", "off"), CPU, True, not loss.adversarial)
    return Trainer(build_generator(options.generator), discriminator, loss, options, precision, CPU)


def batch(seed=0, size=16):
    rng = torch.Generator().manual_seed(seed)
    clean = torch.rand(2, 4, size, size, generator=rng)
    return Batch(clean + 0.1 * torch.randn(clean.shape, generator=rng), clean, {}, ("a", "b"))


def parameters(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).clone()


L1 = {"pixel": {"class_name": "L1"}}


def test_training_on_a_pixel_term_lowers_it():
    trainer = trainer_of(L1)
    first = float(trainer.step(batch())["loss/pixel"])
    for _ in range(200):
        last = float(trainer.step(batch())["loss/pixel"])
    assert last < 0.8 * first
    assert trainer.iteration == 201


def test_terms_of_one_family_are_logged_under_their_own_names_and_weighted_in_the_total():
    trainer = trainer_of({"pixel": {"class_name": "L1", "weight": 10}, "second": {"class_name": "L1", "weight": 0.5}})
    terms = trainer.step(batch())
    assert terms["loss/pixel"] == terms["loss/second"]
    assert float(terms["loss/total"]) == pytest.approx(10.5 * float(terms["loss/pixel"]))


def test_the_gradient_is_clipped_after_backward_and_its_norm_logged_before_clipping():
    trainer = trainer_of({"pixel": {"class_name": "L2", "weight": 1e4}}, grad_clip=0.4)
    seen = {}
    optimizer = trainer.optimizers["generator"]
    optimizer.register_step_pre_hook(
        lambda *_: seen.update(norm=nn.utils.get_total_norm(p.grad for p in trainer.generator.parameters()))
    )
    logged = trainer.step(batch())["gradient_norm/generator"]
    assert float(logged) > 10
    assert float(seen["norm"]) == pytest.approx(0.4, rel=1e-3)


def test_without_a_limit_the_gradient_is_left_as_it_is():
    trainer = trainer_of({"pixel": {"class_name": "L2", "weight": 1e4}}, grad_clip=None)
    logged = trainer.step(batch())["gradient_norm/generator"]
    remaining = nn.utils.get_total_norm(p.grad for p in trainer.generator.parameters())
    assert float(remaining) == pytest.approx(float(logged))


def test_bf16_trains_with_float32_weights_and_a_float32_loss():
    trainer = trainer_of(L1, amp="bf16")
    seen = []
    trainer.generator.tail.register_forward_hook(lambda *hooked: seen.append(hooked[2].dtype))
    terms = trainer.step(batch())
    assert seen == [torch.bfloat16]
    assert terms["loss/pixel"].dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in trainer.generator.parameters())
    assert not trainer.scaler.is_enabled(), "bfloat16 has float32's range and wants no scaler"


def test_the_learning_rate_falls_with_the_validation_loss_alone():
    trainer = trainer_of(L1, scheduler={"class_name": "ReduceLROnPlateau", "factor": 0.5, "patience": 0, "min_lr": 0.0})
    rates = []
    for loss in (1.0, 0.5, 0.6, 0.4):
        trainer.step(batch())
        trainer.end_savepoint(loss)
        rates.append(trainer.learning_rate)
    assert rates == [1e-3, 1e-3, 5e-4, 5e-4]


def test_state_restores_networks_optimisers_and_counters_to_the_same_next_step():
    one, other = trainer_of(L1), trainer_of(L1)
    for number in range(3):
        one.step(batch(number))
    one.end_savepoint(0.5)
    other.load_state(copy.deepcopy(one.state()))
    assert (other.iteration, other.validated, other.best_loss) == (3, 3, 0.5)
    one.step(batch(9))
    other.step(batch(9))
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


def test_auto_takes_half_precision_where_the_device_gains_by_it():
    able = torch.cpu.get_capabilities()
    gains = able.get("avx512_bf16") or able.get("amx_bf16")
    chosen = choose_precision("auto", CPU, True, True).dtype
    assert chosen == (torch.bfloat16 if gains else torch.float32)


def test_fp16_scales_the_loss_unscales_before_clipping_and_leaves_out_an_update_that_overflows():
    # No CPU option gives fp16; its scaler is the same code on every device.
    trainer = trainer_of(L1)
    trainer.precision = Precision(torch.float16, "a test")
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    reference = trainer_of(L1)
    terms, expected = trainer.step(batch()), reference.step(batch())
    assert terms["amp/scale"] == 256
    assert float(terms["gradient_norm/generator"]) == pytest.approx(
        float(expected["gradient_norm/generator"]), rel=0.05
    )
    before = parameters(trainer.generator)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    overflown = trainer.step(batch())
    assert torch.equal(parameters(trainer.generator), before)
    assert overflown["skipped_updates"] == 1
    assert trainer.scaler.get_scale() == 2.0**39
