"""The weighted sum of all terms of a run."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from losses.adversarial import AdversarialOptions, AdversarialTerm, Uniform
from losses.pixel import DifferenceOptions
from losses.term import TermOptions
from options.errors import UserError
from transforms import RawMetadata, noise_deviation
from transforms.conditioning import LEAST_DEVIATION

Metadata = RawMetadata | None
Render = Callable[[Tensor, Metadata], Tensor]


class WeightedLoss(nn.Module):
    """Finished terms by name. All of them are computed in float32, whatever the images' dtype and autocast are.

        parts = loss.discriminator_loss(discriminator, real=clean, restored=restored)     # the discriminator's turn
        parts["loss"].backward()
        ...
        loss.constrain(discriminator)                                                     # after its update

        values = loss.generator_terms(restored, clean, metadata, discriminator)          # the generator's turn
        loss.total(values).backward()

    sections  the terms' options by name: their weight, family and class_name
    terms     the terms themselves, by the same names
    render    (image, metadata) -> sRGB (B, 3, H, W) in 0..1, which the feature terms compare
    warnings  options that are allowed but probably a mistake: one line for each, for the caller to show
    """

    def __init__(
        self, sections: dict[str, TermOptions], terms: dict[str, nn.Module], render: Render, warnings: list[str]
    ):
        super().__init__()
        self.sections = sections
        self.terms = terms
        self.registered = nn.ModuleList(self.terms.values())  # so that .to(device) reaches them, whatever their names
        self.render = render
        self.warnings = warnings

    @property
    def adversarial(self) -> AdversarialTerm | None:
        """The one term of the gan family; None: the run needs no discriminator."""
        return next((term for term in self.terms.values() if isinstance(term, AdversarialTerm)), None)

    @property
    def critic_steps(self) -> int:
        """Updates of the discriminator to one of the generator; 0 without an adversarial term."""
        sections = self.sections.values()
        return next((section.critic_steps for section in sections if isinstance(section, AdversarialOptions)), 0)

    @property
    def in_noise_units(self) -> bool:
        """Whether any term has to know the noise of the images."""
        return any(_in_noise_units(section) for section in self.sections.values())

    def generator_terms(
        self, restored: Tensor, clean: Tensor, metadata: Metadata, discriminator: nn.Module | None = None
    ) -> dict[str, Tensor]:
        """The terms that the generator minimises: their unweighted values by name, scalars in float32.

        restored, clean  (B, C, H, W), nominally 0..1
        metadata         what the rendering for the feature terms needs, batched
        discriminator    needed where there is an adversarial term. It should be frozen: gradients flow through it.
        """
        return self._values(list(self.terms), restored, clean, metadata, discriminator)

    def comparison(self, restored: Tensor, clean: Tensor, metadata: Metadata) -> Tensor:
        """The validation loss: the weighted sum of the terms that compare with the clean image, a scalar.

        Without such a term it is the mean absolute difference, so that the best model can still be chosen.
        """
        comparing = [name for name, section in self.sections.items() if section.family != "gan"]
        if not comparing:
            return (restored.float() - clean.float()).abs().mean()
        return self.total(self._values(comparing, restored, clean, metadata, None))

    def total(self, values: dict[str, Tensor]) -> Tensor:
        """Sum of weight * value: a scalar."""
        weighted = (self.sections[name].weight * value for name, value in values.items())
        return sum(weighted, torch.zeros(()))  # a tensor also where there is no value

    def discriminator_loss(
        self, discriminator: nn.Module, real: Tensor, restored: Tensor, uniform: Uniform | None = None
    ) -> dict[str, Tensor]:
        """What the discriminator minimises, "loss", and the parts to log (see losses/adversarial.py).

        No gradient reaches the generator. The term's weight is not applied: it is for the generator alone.
        """
        assert self.adversarial, "there is no adversarial term"
        with torch.autocast(real.device.type, enabled=False):
            images = real.detach().float(), restored.detach().float()
            return self.adversarial.discriminator_loss(discriminator, *images, uniform)

    def constrain(self, discriminator: nn.Module) -> None:
        """Clips the discriminator's weights where the term asks for it; to be called after each of its updates."""
        assert self.adversarial, "there is no adversarial term"
        self.adversarial.constrain(discriminator)

    def _values(
        self, names: list[str], restored: Tensor, clean: Tensor, metadata: Metadata, discriminator: nn.Module | None
    ) -> dict[str, Tensor]:
        with torch.autocast(restored.device.type, enabled=False):
            restored, clean = restored.float(), clean.float()
            arguments: dict[str, tuple[Any, ...]] = {
                "pixel": (restored, clean),
                "gan": (restored, clean, discriminator),
            }
            if any(_in_noise_units(self.sections[name]) for name in names):
                arguments["noise units"] = _over_noise(restored, clean, metadata)
            if any(self.sections[name].family == "feature" for name in names):
                arguments["feature"] = (self.render(restored, metadata), self.render(clean, metadata))
            return {name: self.terms[name](*arguments[_compared(self.sections[name])]) for name in names}


def _compared(section: TermOptions) -> str:
    """The key of what a term compares."""
    return "noise units" if _in_noise_units(section) else section.family


def _in_noise_units(section: TermOptions) -> bool:
    return isinstance(section, DifferenceOptions) and section.noise_units


def _over_noise(restored: Tensor, clean: Tensor, metadata: Metadata) -> tuple[Tensor, Tensor]:
    """Both images in units of the noise that the clean one would have, and of LEAST_DEVIATION where it has less."""
    if metadata is None:
        raise UserError("noise_units: true given, and the noise of sRGB images is not known; leave it out")
    deviation = noise_deviation(clean, metadata).clamp(min=LEAST_DEVIATION)
    return restored / deviation, clean / deviation
