"""Adversarial training: stable, each network taught in its own turn, resumed to the bit, right in half precision."""

import pytest
import torch
from conftest import batch, parameters, photograph_pieces, trainer_of

from restore.data.batches import Batch
from restore.evaluation.metrics import psnr
from transforms import RGGB

GAMES = ["gan", "wgan", "lsgan", "ragan", "softplusgan"]


@pytest.mark.parametrize("game", GAMES)
def test_200_adversarial_updates_stay_finite_and_move_the_generator_by_themselves(game):
    trainer = trainer_of({"gan": {"class_name": game}})
    before = parameters(trainer.generator)
    for number in range(200):
        terms = trainer.step([batch(number)])
    assert trainer.guard.skipped == 0
    assert all(torch.isfinite(torch.as_tensor(value)).all() for value in terms.values())
    assert (parameters(trainer.generator) - before).norm() > 0.1
    assert parameters(trainer.generator).isfinite().all()


@pytest.mark.parametrize("game", GAMES)
def test_the_generators_turn_leaves_no_gradient_in_the_discriminator(game):
    trainer = trainer_of({"gan": {"class_name": game}})
    own = []
    trainer.optimizers["discriminator"].register_step_pre_hook(
        lambda *_: own.append([parameter.grad.clone() for parameter in trainer.discriminator.parameters()])
    )
    trainer.step([batch()])
    after = [parameter.grad for parameter in trainer.discriminator.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(own[0], after, strict=True))


def test_the_discriminators_turn_leaves_no_gradient_in_the_generator():
    trainer = trainer_of({"pixel": {"class_name": "L1", "weight": 0.0}, "gan": {"class_name": "wgan"}})
    seen = []
    trainer.optimizers["discriminator"].register_step_pre_hook(
        lambda *_: seen.extend(parameter.grad for parameter in trainer.generator.parameters())
    )
    trainer.step([batch()])
    assert seen
    assert all(gradient is None for gradient in seen)


def test_wgans_critic_keeps_its_constraint():
    trainer = trainer_of({"pixel": {"class_name": "L1", "weight": 10}, "gan": {"class_name": "wgan"}})
    norms = [float(trainer.step([batch(number)])["discriminator/gradient_norm"]) for number in range(200)]
    assert norms[0] < 0.5
    assert sum(norms[-20:]) / 20 == pytest.approx(1, abs=0.15)


def test_clipped_weights_stay_within_their_bound():
    trainer = trainer_of({"gan": {"class_name": "wgan", "constraint": "weight_clipping", "clip_bound": 0.02}})
    for number in range(3):
        trainer.step([batch(number)])
    assert parameters(trainer.discriminator).abs().max() <= 0.02


def test_critic_steps_are_updates_of_the_discriminator_to_one_of_the_generator():
    trainer = trainer_of({"gan": {"class_name": "wgan", "critic_steps": 3}})
    counts = dict.fromkeys(trainer.optimizers, 0)
    for name, optimizer in trainer.optimizers.items():
        optimizer.register_step_post_hook(lambda *_, name=name: counts.update({name: counts[name] + 1}))
    trainer.step([batch()])
    assert counts == {"generator": 1, "discriminator": 3}


def test_both_networks_gradients_are_clipped_and_logged_as_they_were():
    trainer = trainer_of({"pixel": {"class_name": "L2", "weight": 1e4}, "gan": {"class_name": "wgan"}}, grad_clip=0.01)
    terms = trainer.step([batch()])
    for name, network in trainer.networks.items():
        clipped = torch.nn.utils.get_total_norm(parameter.grad for parameter in network.parameters())
        assert float(clipped) == pytest.approx(0.01, rel=1e-2)
        assert terms[f"gradient_norm/{name}"] > 0.01


def test_verdicts_rates_and_every_term_are_logged():
    terms = trainer_of({"pixel": {"class_name": "L1"}, "gan": {"class_name": "wgan"}}).step([batch()])
    assert {
        "loss/pixel", "loss/gan", "loss/total", "discriminator/loss", "discriminator/on_real",
        "discriminator/on_restored", "discriminator/gradient_penalty", "discriminator/gradient_norm",
        "gradient_norm/generator", "gradient_norm/discriminator", "learning_rate/generator",
        "learning_rate/discriminator", "skipped_updates",
    } <= set(terms)  # fmt: skip


def test_in_half_precision_only_the_generators_forward_pass_is_half():
    trainer = trainer_of({"pixel": {"class_name": "L1"}, "gan": {"class_name": "wgan"}}, amp="bf16")
    seen = {"generator": [], "discriminator": []}
    trainer.generator.tail.register_forward_hook(lambda *called: seen["generator"].append(called[2].dtype))
    trainer.discriminator.register_forward_hook(lambda *called: seen["discriminator"].append(called[2].dtype))
    terms = trainer.step([batch()])
    assert set(seen["generator"]) == {torch.bfloat16}
    assert set(seen["discriminator"]) == {torch.float32}
    assert all(terms[name].dtype == torch.float32 for name in ("loss/pixel", "loss/gan", "discriminator/loss"))


def test_1000_updates_in_bf16_skip_none_and_restore_as_well_as_float32():
    def trained(amp):
        terms = {"pixel": {"class_name": "L1", "weight": 10}, "gan": {"class_name": "wgan", "weight": 0.01}}
        trainer = trainer_of(terms, amp=amp)
        for number in range(1000):
            trainer.step([noisy_pieces(number)])
        assert trainer.guard.skipped == 0
        held_out = noisy_pieces(5000, 64)
        with torch.inference_mode():
            return float(psnr(trainer.generator.eval()(held_out.degraded), held_out.clean).mean())

    in_float32 = trained("off")
    held_out = noisy_pieces(5000, 64)
    assert in_float32 > float(psnr(held_out.degraded, held_out.clean).mean()) + 1
    assert trained("bf16") == pytest.approx(in_float32, abs=0.2)


def noisy_pieces(seed, count=2, noise=0.1):
    """Pieces of a photograph, its three colours and green again for the four planes, with noise on them."""
    rng = torch.Generator().manual_seed(seed)
    clean = photograph_pieces(rng, count, 16)[:, [0, 1, 1, 2]]
    return Batch(clean + noise * torch.randn(clean.shape, generator=rng), clean, None, RGGB, ("piece",) * count)
