"""The game between generator and discriminator: its formulas, whom they move, and the critic's constraint."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

import losses
from losses.adversarial import gradient_norms
from restore.networks.discriminators import PatchDiscriminatorOptions

GAMES = ["gan", "wgan", "lsgan", "ragan", "softplusgan"]


def game(class_name: str, **options) -> losses.WeightedLoss:
    return losses.build({"judge": {"class_name": class_name, **options}}, n_channels=3)


def verdict_is_the_image(image: torch.Tensor) -> torch.Tensor:
    return image


def images(*levels: float) -> torch.Tensor:
    return torch.tensor(levels).view(-1, 1, 1, 1)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def tiny_critic() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 3))


# Verdicts 2 and 1 on real, -1 and 0 on restored.
REAL, RESTORED = images(2.0, 1.0), images(-1.0, 0.0)
BY_HAND = {
    "gan": ((softplus(1) + softplus(0)) / 2, (softplus(-2) + softplus(-1) + softplus(-1) + softplus(0)) / 2),
    "softplusgan": ((softplus(1) + softplus(0)) / 2, (softplus(-2) + softplus(-1) + softplus(-1) + softplus(0)) / 2),
    "lsgan": ((2**2 + 1) / 4, (1 + 0 + 1 + 0) / 4),
    # Means: 1.5 on real, -0.5 on restored.
    "ragan": (
        (softplus(2.5) + softplus(1.5) + softplus(2.5) + softplus(1.5)) / 2,
        (softplus(-2.5) + softplus(-1.5) + softplus(-2.5) + softplus(-1.5)) / 2,
    ),
    "wgan": (0.5, -0.5 - 1.5),
}


@pytest.mark.parametrize("class_name", GAMES)
def test_both_turns_have_the_values_computed_by_hand(class_name):
    options = {"constraint": "weight_clipping"} if class_name == "wgan" else {}
    weighted = game(class_name, **options)
    generator, discriminator = BY_HAND[class_name]
    values = weighted.generator_terms(RESTORED, REAL, {}, verdict_is_the_image)
    assert values["judge"].item() == pytest.approx(generator)
    parts = weighted.discriminator_loss(verdict_is_the_image, real=REAL, restored=RESTORED)
    assert parts["loss"].item() == pytest.approx(discriminator)
    assert parts["on_real"].item() == 1.5
    assert parts["on_restored"].item() == -0.5


def test_label_smoothing_asks_for_less_than_certainty_on_real_images_only():
    smoothed = game("gan", label_smoothing=0.1).discriminator_loss(verdict_is_the_image, REAL, RESTORED)["loss"]
    expected = binary_cross_entropy_with_logits(REAL, torch.full_like(REAL, 0.9))
    expected += binary_cross_entropy_with_logits(RESTORED, torch.zeros_like(RESTORED))
    assert smoothed.item() == pytest.approx(expected.item())
    generator = game("gan", label_smoothing=0.1).generator_terms(RESTORED, REAL, {}, verdict_is_the_image)
    assert generator["judge"].item() == pytest.approx(BY_HAND["gan"][0])


@pytest.mark.parametrize("class_name", GAMES)
def test_adversarial_term_moves_the_generator_and_not_the_frozen_discriminator(class_name):
    generator, critic = nn.Conv2d(3, 3, 3, padding=1), tiny_critic().requires_grad_(False)
    weighted = game(class_name)
    clean = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    values = weighted.generator_terms(generator(0.5 * clean), clean, {}, critic)
    weighted.total(values).backward()
    assert generator.weight.grad.norm() > 1e-4
    assert all(parameter.grad is None for parameter in critic.parameters())


@pytest.mark.parametrize("class_name", GAMES)
def test_one_generator_step_raises_the_verdict_on_its_images(class_name):
    critic = tiny_critic().requires_grad_(False)
    weighted = game(class_name)
    clean = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    restored = (0.5 * clean).requires_grad_()
    weighted.total(weighted.generator_terms(restored, clean, {}, critic)).backward()
    better = restored.detach() - 0.05 * restored.grad / restored.grad.norm()
    assert critic(better).mean() > critic(restored).mean()


@pytest.mark.parametrize("class_name", GAMES)
def test_the_discriminators_turn_moves_it_and_not_the_generator(class_name):
    generator, critic = nn.Conv2d(3, 3, 3, padding=1), tiny_critic()
    clean = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    game(class_name).discriminator_loss(critic, clean, generator(clean))["loss"].backward()
    assert generator.weight.grad is None
    assert all(parameter.grad.isfinite().all() for parameter in critic.parameters())
    assert critic[0].weight.grad.norm() > 0


@pytest.mark.parametrize("class_name", GAMES)
def test_a_trained_discriminator_tells_real_from_restored(class_name):
    critic, weighted = tiny_critic(), game(class_name)
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.01)
    rng = torch.Generator().manual_seed(2)
    for _ in range(40):
        clean = torch.rand(4, 3, 12, 12, generator=rng)
        parts = weighted.discriminator_loss(critic, clean, 0.5 * clean)
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
        weighted.constrain(critic)
    assert parts["on_real"] > parts["on_restored"]


@pytest.mark.parametrize("class_name", ["gan", "ragan", "softplusgan"])
@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_extreme_verdicts_give_finite_losses_and_gradients(class_name, logit):
    weighted = game(class_name)
    restored = images(logit, -logit / 2).requires_grad_()
    weighted.generator_terms(restored, -restored.detach(), {}, verdict_is_the_image)["judge"].backward()
    assert restored.grad.isfinite().all()
    assert weighted.discriminator_loss(verdict_is_the_image, restored, -restored)["loss"].isfinite()


@pytest.mark.parametrize("slope", [0.25, 1.0, 3.0])
def test_the_gradient_penalty_is_two_sided_around_1(slope):
    """A linear critic has the same gradient everywhere: its slope in one pixel, shared by both of its verdicts."""

    def critic(image):
        return 0.5 * slope * image[:, 0, 0, :1].expand(-1, 2)

    clean = torch.rand(3, 3, 4, 4)
    parts = game("wgan").discriminator_loss(critic, clean, clean)
    assert parts["gradient_norm"].item() == pytest.approx(slope)
    assert parts["gradient_penalty"].item() == pytest.approx((slope - 1) ** 2, abs=1e-6)
    assert parts["loss"].item() == pytest.approx(10 * (slope - 1) ** 2, abs=1e-5)


def test_the_penalty_looks_at_points_between_the_two_images():
    seen = []

    def critic(image):
        seen.append(image.detach())
        return image.square().sum(dim=(1, 2, 3))

    torch.manual_seed(5)
    gradient_norms(critic, torch.ones(64, 1, 1, 1), torch.zeros(64, 1, 1, 1))
    (between,) = seen
    assert 0 <= between.min() < 0.2
    assert 0.8 < between.max() <= 1
    torch.manual_seed(5)
    gradient_norms(critic, torch.ones(64, 1, 1, 1), torch.zeros(64, 1, 1, 1))
    assert torch.equal(seen[0], seen[1]), "a restored random state must give the same points"


def test_wgan_draws_the_critics_gradient_to_the_norm_1():
    torch.manual_seed(0)
    critic = PatchDiscriminatorOptions(width=4, n_layers=1).build(n_channels=3)
    weighted = game("wgan")
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.01)
    rng = torch.Generator().manual_seed(1)
    norms = []
    for _ in range(60):
        clean = torch.rand(8, 3, 16, 16, generator=rng)
        parts = weighted.discriminator_loss(critic, clean, 0.7 * clean)
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
        norms.append(parts["gradient_norm"].item())
    assert abs(norms[0] - 1) > 0.5, "the test starts far from the constraint"
    assert norms[-1] == pytest.approx(1, abs=0.15)


def test_a_critic_without_a_slope_has_a_finite_penalty():
    critic = tiny_critic()
    nn.init.zeros_(critic[2].weight)
    parts = game("wgan").discriminator_loss(critic, torch.rand(2, 3, 12, 12), torch.rand(2, 3, 12, 12))
    parts["loss"].backward()
    assert parts["gradient_penalty"].item() == 1
    assert all(parameter.grad.isfinite().all() for parameter in critic.parameters())


def test_weight_clipping_bounds_every_weight_after_an_update():
    critic = tiny_critic()
    game("wgan", constraint="weight_clipping", clip_bound=0.02).constrain(critic)
    assert max(parameter.abs().max().item() for parameter in critic.parameters()) == pytest.approx(0.02)
    untouched = tiny_critic()
    game("wgan").constrain(untouched)
    assert torch.equal(untouched[0].weight, tiny_critic()[0].weight)


def test_critic_steps_are_what_the_option_says():
    assert game("lsgan").critic_steps == 1
    assert game("wgan", critic_steps=5).critic_steps == 5


@pytest.mark.parametrize("class_name", GAMES)
@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_the_discriminator_judges_in_float32_whatever_autocast_says(class_name, precision):
    seen = []

    class Critic(nn.Conv2d):
        def forward(self, image):
            verdict = super().forward(image)
            seen.append((image.dtype, verdict.dtype))
            return verdict

    weighted, critic = game(class_name), Critic(3, 1, 3)
    restored, clean = torch.rand(2, 3, 8, 8).to(precision), torch.rand(2, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        generators = weighted.generator_terms(restored, clean, {}, critic)["judge"]
        discriminators = weighted.discriminator_loss(critic, clean, restored)["loss"]
    assert generators.dtype == discriminators.dtype == torch.float32
    assert set(seen) == {(torch.float32, torch.float32)}
