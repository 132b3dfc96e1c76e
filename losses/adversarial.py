"""The game between generator and discriminator, in five formulas.

A discriminator is any callable from images (B, C, H, W) to logits (B, ...), high for what it takes for clean.
Every formula takes means over the batch and over all logits of an image.
"""

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import softplus

from losses.term import TermOptions


class AdversarialOptions(TermOptions):
    """What the adversarial terms have in common."""

    family: ClassVar = "gan"
    critic_steps: Annotated[PositiveInt, Field(le=100)] = 1
    """Updates of the discriminator to one update of the generator. All see the same batch, where the WGAN papers draw
    a new one each: so an iteration stands for one batch, whatever the losses."""

    @property
    def penalises_gradient(self) -> bool:
        """Whether the gradient of single images is looked at, which batch normalisation mixes up."""
        return False


class Gan(AdversarialOptions):
    """The original game in its non-saturating form (Goodfellow et al. 2014)."""

    class_name: Literal["gan"] = "gan"
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """The discriminator is asked to be sure of clean images to 1 - label_smoothing only (Salimans et al. 2016)."""

    def build(self) -> "AdversarialTerm":
        return LogisticGame(self.label_smoothing)


class SoftplusGan(AdversarialOptions):
    """The non-saturating game written with softplus (Karras et al. 2019): gan without label smoothing."""

    class_name: Literal["softplusgan"] = "softplusgan"

    def build(self) -> "AdversarialTerm":
        return LogisticGame(label_smoothing=0.0)


class LsGan(AdversarialOptions):
    """The least-squares game (Mao et al. 2017)."""

    class_name: Literal["lsgan"] = "lsgan"

    def build(self) -> "AdversarialTerm":
        return LeastSquaresGame()


class RaGan(AdversarialOptions):
    """The relativistic average game (Jolicoeur-Martineau 2018)."""

    class_name: Literal["ragan"] = "ragan"

    def build(self) -> "AdversarialTerm":
        return RelativisticAverageGame()


class WGan(AdversarialOptions):
    """The Wasserstein game (Arjovsky et al. 2017), its critic constrained by a gradient penalty or by clipping."""

    class_name: Literal["wgan"] = "wgan"
    constraint: Literal["gradient_penalty", "weight_clipping"] = "gradient_penalty"
    """What keeps the critic from growing without bound."""
    penalty_weight: Annotated[PositiveFloat, Field(le=1e6)] = 10.0
    """Weight of the gradient penalty in the critic's loss (Gulrajani et al. 2017)."""
    clip_bound: Annotated[PositiveFloat, Field(le=1e3)] = 0.01
    """With weight_clipping: largest magnitude of the critic's weights (Arjovsky et al. 2017)."""

    @property
    def penalises_gradient(self) -> bool:
        return self.constraint == "gradient_penalty"

    def build(self) -> "AdversarialTerm":
        if self.penalises_gradient:
            return PenalisedWassersteinGame(self.penalty_weight)
        return ClippedWassersteinGame(self.clip_bound)


class AdversarialTerm(nn.Module):
    """A game: the generator's turn is the call, the discriminator's turn is discriminator_loss."""

    def forward(self, restored: Tensor, clean: Tensor, discriminator: nn.Module) -> Tensor:
        """What the generator minimises: a scalar whose gradient reaches it by way of the logits of restored."""
        return self.generator_formula(discriminator(restored))

    def discriminator_loss(self, discriminator: nn.Module, real: Tensor, restored: Tensor) -> dict[str, Tensor]:
        """What the discriminator minimises, "loss", and beside it what is worth logging: scalars without gradient.

        on_real, on_restored  mean logits of the two kinds of image
        """
        on_real, on_restored = discriminator(real), discriminator(restored)
        return {
            "loss": self.discriminator_formula(on_real, on_restored),
            "on_real": on_real.detach().mean(),
            "on_restored": on_restored.detach().mean(),
        }

    def constrain(self, discriminator: nn.Module) -> None:
        """To be called after each update of the discriminator; most games have nothing to do here."""

    def generator_formula(self, on_restored: Tensor) -> Tensor:
        raise NotImplementedError

    def discriminator_formula(self, on_real: Tensor, on_restored: Tensor) -> Tensor:
        raise NotImplementedError


class LogisticGame(AdversarialTerm):
    """D: -t log s(real) - (1 - t) log(1 - s(real)) - log(1 - s(restored)), t = 1 - smoothing; G: -log s(restored).

    s is the sigmoid, and -log s(x) = softplus(-x), which is finite for every x.
    Source: Goodfellow et al., Generative Adversarial Nets, 2014; one-sided smoothing: Salimans et al. 2016.
    """

    def __init__(self, label_smoothing: float):
        super().__init__()
        self.label_smoothing = label_smoothing

    def generator_formula(self, on_restored: Tensor) -> Tensor:
        return softplus(-on_restored).mean()

    def discriminator_formula(self, on_real: Tensor, on_restored: Tensor) -> Tensor:
        # t softplus(-x) + (1 - t) softplus(x) = softplus(-x) + (1 - t) x
        return (softplus(-on_real) + self.label_smoothing * on_real).mean() + softplus(on_restored).mean()


class LeastSquaresGame(AdversarialTerm):
    """D: (real - 1)^2 / 2 + restored^2 / 2; G: (restored - 1)^2 / 2.

    Source: Mao et al., Least Squares Generative Adversarial Networks, 2017, equation 9.
    """

    def generator_formula(self, on_restored: Tensor) -> Tensor:
        return 0.5 * (on_restored - 1).square().mean()

    def discriminator_formula(self, on_real: Tensor, on_restored: Tensor) -> Tensor:
        return 0.5 * (on_real - 1).square().mean() + 0.5 * on_restored.square().mean()


class RelativisticAverageGame(AdversarialTerm):
    """D: -log s(real - E restored) - log(1 - s(restored - E real)); G: the same with the two kinds exchanged.

    E is the mean over the batch and over all logits of an image.
    Source: Jolicoeur-Martineau, The relativistic discriminator, 2018, equations 8 and 9 with the standard GAN's losses.
    """

    def forward(self, restored: Tensor, clean: Tensor, discriminator: nn.Module) -> Tensor:
        return self.discriminator_formula(discriminator(restored), discriminator(clean))

    def discriminator_formula(self, on_real: Tensor, on_restored: Tensor) -> Tensor:
        real_above, restored_above = on_real - on_restored.mean(), on_restored - on_real.mean()
        return softplus(-real_above).mean() + softplus(restored_above).mean()


class WassersteinGame(AdversarialTerm):
    """D: restored - real; G: -restored. The critic must be constrained: its output has no bound.

    Source: Arjovsky, Chintala and Bottou, Wasserstein GAN, 2017, algorithm 1.
    """

    def generator_formula(self, on_restored: Tensor) -> Tensor:
        return -on_restored.mean()

    def discriminator_formula(self, on_real: Tensor, on_restored: Tensor) -> Tensor:
        return on_restored.mean() - on_real.mean()


class ClippedWassersteinGame(WassersteinGame):
    """The critic's weights stay in [-bound, bound] (Arjovsky et al. 2017)."""

    def __init__(self, bound: float):
        super().__init__()
        self.bound = bound

    @torch.no_grad()
    def constrain(self, discriminator: nn.Module) -> None:
        for parameter in discriminator.parameters():
            parameter.clamp_(-self.bound, self.bound)


class PenalisedWassersteinGame(WassersteinGame):
    """D: restored - real + weight * (norm of the gradient - 1)^2, which draws the norm to 1 from both sides.

    Source: Gulrajani et al., Improved Training of Wasserstein GANs, 2017, equation 3.
    """

    def __init__(self, penalty_weight: float):
        super().__init__()
        self.penalty_weight = penalty_weight

    def discriminator_loss(self, discriminator: nn.Module, real: Tensor, restored: Tensor) -> dict[str, Tensor]:
        """Beside the other parts: gradient_penalty, unweighted but part of the loss, and the mean gradient_norm."""
        parts = super().discriminator_loss(discriminator, real, restored)
        norms = gradient_norms(discriminator, real, restored)
        penalty = (norms - 1).square().mean()
        parts["loss"] = parts["loss"] + self.penalty_weight * penalty
        return parts | {"gradient_penalty": penalty.detach(), "gradient_norm": norms.detach().mean()}


def gradient_norms(critic: nn.Module, real: Tensor, restored: Tensor) -> Tensor:
    """Norms (B,) of the critic's gradient at a random point between each real image and its restored one.

    Of a critic with several outputs for an image it is the gradient of their sum, by all pixels and channels of the
    image. The points are drawn from the device's global random state, which a continued run restores.
    """
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = torch.lerp(restored.detach(), real.detach(), share).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return gradient.flatten(1).norm(dim=1)
