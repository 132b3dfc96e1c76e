"""The losses of generator and discriminator in adversarial training, in five formulas.

A discriminator is any callable from images (B, C, H, W) to logits (B, ...), high for images that it considers clean.
The discriminator of a WGAN is called a critic.
Every formula takes means over the batch and over all logits of an image.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import softplus

from losses.term import TermOptions

Uniform = Callable[..., Tensor]
"""uniform(*shape, device=...) -> (B, *shape): random numbers from 0 to 1 for the B images of a batch."""


class AdversarialOptions(TermOptions):
    """What the adversarial terms have in common."""

    family: ClassVar = "gan"
    critic_steps: Annotated[PositiveInt, Field(le=100)] = 1
    """Updates of the discriminator to one update of the generator. All of them use the same batch, while the WGAN
    papers draw a new one for each: so an iteration is one batch, whatever the losses."""

    @property
    def penalises_gradient(self) -> bool:
        """Whether the gradient for each single image is penalised. Batch normalisation would mix the images."""
        return False


class Gan(AdversarialOptions):
    """The original GAN loss in its non-saturating form (Goodfellow et al. 2014)."""

    class_name: Literal["gan"] = "gan"
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """The discriminator's target for clean images is 1 - label_smoothing (Salimans et al. 2016)."""

    def build(self) -> "AdversarialTerm":
        return LogisticLoss(self.label_smoothing)


class SoftplusGan(AdversarialOptions):
    """The non-saturating GAN loss written with softplus (Karras et al. 2019): gan without label smoothing."""

    class_name: Literal["softplusgan"] = "softplusgan"

    def build(self) -> "AdversarialTerm":
        return LogisticLoss(label_smoothing=0.0)


class LsGan(AdversarialOptions):
    """The least-squares GAN loss (Mao et al. 2017)."""

    class_name: Literal["lsgan"] = "lsgan"

    def build(self) -> "AdversarialTerm":
        return LeastSquaresLoss()


class RaGan(AdversarialOptions):
    """The relativistic average GAN loss (Jolicoeur-Martineau 2018)."""

    class_name: Literal["ragan"] = "ragan"

    def build(self) -> "AdversarialTerm":
        return RelativisticAverageLoss()


class WGan(AdversarialOptions):
    """The Wasserstein GAN loss (Arjovsky et al. 2017). A gradient penalty or clipping constrains the critic."""

    class_name: Literal["wgan"] = "wgan"
    constraint: Literal["gradient_penalty", "weight_clipping"] = "gradient_penalty"
    """What limits the slope of the critic."""
    penalty_weight: Annotated[PositiveFloat, Field(le=1e6)] = 10.0
    """Weight of the gradient penalty in the critic's loss (Gulrajani et al. 2017)."""
    clip_bound: Annotated[PositiveFloat, Field(le=1e3)] = 0.01
    """With weight_clipping: largest magnitude of the critic's weights (Arjovsky et al. 2017)."""

    @property
    def penalises_gradient(self) -> bool:
        return self.constraint == "gradient_penalty"

    def build(self) -> "AdversarialTerm":
        if self.penalises_gradient:
            return PenalisedWassersteinLoss(self.penalty_weight)
        return ClippedWassersteinLoss(self.clip_bound)


class AdversarialTerm(nn.Module):
    """The losses of both networks: a call gives the generator's, discriminator_loss the discriminator's."""

    def forward(self, restored: Tensor, clean: Tensor, discriminator: nn.Module) -> Tensor:
        """What the generator minimises: a scalar. Its gradient passes through the discriminator."""
        return self.generator_formula(discriminator(restored))

    def discriminator_loss(
        self, discriminator: nn.Module, real: Tensor, restored: Tensor, uniform: Uniform | None = None
    ) -> dict[str, Tensor]:
        """What the discriminator minimises, "loss", and what is logged beside it: scalars without gradient.

        on_real, on_restored  mean logits of the clean and of the restored images
        uniform               draws the random numbers; None: the device's global generator does
        """
        real_logits, restored_logits = discriminator(real), discriminator(restored)
        return {
            "loss": self.discriminator_formula(real_logits, restored_logits),
            "on_real": real_logits.detach().mean(),
            "on_restored": restored_logits.detach().mean(),
        }

    def constrain(self, discriminator: nn.Module) -> None:
        """To be called after each update of the discriminator. Only weight clipping does something here."""

    def generator_formula(self, restored_logits: Tensor) -> Tensor:
        raise NotImplementedError

    def discriminator_formula(self, real_logits: Tensor, restored_logits: Tensor) -> Tensor:
        raise NotImplementedError


class LogisticLoss(AdversarialTerm):
    """D: -t log s(real) - (1 - t) log(1 - s(real)) - log(1 - s(restored)), t = 1 - smoothing; G: -log s(restored).

    s is the sigmoid, and -log s(x) = softplus(-x), which is finite for every x.
    Source: Goodfellow et al., Generative Adversarial Nets, 2014; one-sided smoothing: Salimans et al. 2016.
    """

    def __init__(self, label_smoothing: float):
        super().__init__()
        self.label_smoothing = label_smoothing

    def generator_formula(self, restored_logits: Tensor) -> Tensor:
        return softplus(-restored_logits).mean()

    def discriminator_formula(self, real_logits: Tensor, restored_logits: Tensor) -> Tensor:
        # t softplus(-x) + (1 - t) softplus(x) = softplus(-x) + (1 - t) x
        return (softplus(-real_logits) + self.label_smoothing * real_logits).mean() + softplus(restored_logits).mean()


class LeastSquaresLoss(AdversarialTerm):
    """D: (real - 1)^2 / 2 + restored^2 / 2; G: (restored - 1)^2 / 2.

    Source: Mao et al., Least Squares Generative Adversarial Networks, 2017, equation 9.
    """

    def generator_formula(self, restored_logits: Tensor) -> Tensor:
        return 0.5 * (restored_logits - 1).square().mean()

    def discriminator_formula(self, real_logits: Tensor, restored_logits: Tensor) -> Tensor:
        return 0.5 * (real_logits - 1).square().mean() + 0.5 * restored_logits.square().mean()


class RelativisticAverageLoss(AdversarialTerm):
    """D: -log s(real - E restored) - log(1 - s(restored - E real)); G: the same with real and restored exchanged.

    E is the mean over the batch and over all logits of an image.
    Source: Jolicoeur-Martineau, The relativistic discriminator, 2018, equations 8 and 9 with the standard GAN's losses.
    """

    def forward(self, restored: Tensor, clean: Tensor, discriminator: nn.Module) -> Tensor:
        return self.discriminator_formula(discriminator(restored), discriminator(clean))

    def discriminator_formula(self, real_logits: Tensor, restored_logits: Tensor) -> Tensor:
        real_above, restored_above = real_logits - restored_logits.mean(), restored_logits - real_logits.mean()
        return softplus(-real_above).mean() + softplus(restored_above).mean()


class WassersteinLoss(AdversarialTerm):
    """D: restored - real; G: -restored. The critic must be constrained, since its output has no bound.

    Source: Arjovsky, Chintala and Bottou, Wasserstein GAN, 2017, algorithm 1.
    """

    def generator_formula(self, restored_logits: Tensor) -> Tensor:
        return -restored_logits.mean()

    def discriminator_formula(self, real_logits: Tensor, restored_logits: Tensor) -> Tensor:
        return restored_logits.mean() - real_logits.mean()


class ClippedWassersteinLoss(WassersteinLoss):
    """The critic's weights stay in [-bound, bound] (Arjovsky et al. 2017)."""

    def __init__(self, bound: float):
        super().__init__()
        self.bound = bound

    @torch.no_grad()
    def constrain(self, discriminator: nn.Module) -> None:
        for parameter in discriminator.parameters():
            parameter.clamp_(-self.bound, self.bound)


class PenalisedWassersteinLoss(WassersteinLoss):
    """D: restored - real + weight * (norm of the gradient - 1)^2, which draws the norm to 1 from both sides.

    Source: Gulrajani et al., Improved Training of Wasserstein GANs, 2017, equation 3.
    """

    def __init__(self, penalty_weight: float):
        super().__init__()
        self.penalty_weight = penalty_weight

    def discriminator_loss(
        self, discriminator: nn.Module, real: Tensor, restored: Tensor, uniform: Uniform | None = None
    ) -> dict[str, Tensor]:
        """With the penalty in the loss, and two more parts: gradient_penalty, unweighted, and gradient_norm."""
        parts = super().discriminator_loss(discriminator, real, restored)
        norms = gradient_norms(discriminator, real, restored, uniform)
        penalty = (norms - 1).square().mean()
        parts["loss"] = parts["loss"] + self.penalty_weight * penalty
        return parts | {"gradient_penalty": penalty.detach(), "gradient_norm": norms.detach().mean()}


def gradient_norms(critic: nn.Module, real: Tensor, restored: Tensor, uniform: Uniform | None = None) -> Tensor:
    """Norms (B,) of the critic's gradient at a random point between each real image and its restored one.

    If a critic has several logits for an image, it is the gradient of their sum. The norm is taken over all pixels and
    channels. Without `uniform` the points are drawn from the device's global random state.
    """
    uniform = uniform or partial(torch.rand, len(real))
    share = uniform(1, 1, 1, device=real.device)
    between = torch.lerp(restored.detach(), real.detach(), share).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return gradient.flatten(1).norm(dim=1)
