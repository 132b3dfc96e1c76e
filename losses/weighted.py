"""The weighted sum of all terms of a run."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from losses.adversarial import AdversarialTerm
from losses.term import TermOptions
from transforms import RawMetadata

Metadata = RawMetadata | None
Render = Callable[[Tensor, Metadata], Tensor]


class WeightedLoss(nn.Module):
    """Finished terms by name. All of it is computed in float32, whatever the images come in and autocast says.

        parts = loss.discriminator_loss(discriminator, real=clean, restored=restored)     # the discriminator's turn
        parts["loss"].backward()
        ...
        loss.constrain(discriminator)                                                     # after its update

        values = loss.generator_terms(restored, clean, metadata, discriminator)              # the generator's turn
        loss.total(values).backward()

    sections  the terms' options by name: their weight, family and class_name
    terms     the terms themselves, by the same names
    render    (image, metadata) -> sRGB (B, 3, H, W) in 0..1: what the feature terms look at
    warnings  what is allowed but hardly meant, a line each, for the caller to show
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
        return next((section.critic_steps for section in self.sections.values() if section.family == "gan"), 0)

    def generator_terms(
        self, restored: Tensor, clean: Tensor, metadata: Metadata, discriminator: nn.Module | None = None
    ) -> dict[str, Tensor]:
        """What the generator minimises: every term's unweighted value by name, scalars in float32.

        restored, clean  (B, C, H, W), nominally 0..1
        metadata         what the rendering for the feature terms needs, batched
        discriminator    needed where there is an adversarial term. It should be frozen: gradients flow through it.
        """
        return self._values(list(self.terms), restored, clean, metadata, discriminator)

    def comparison(self, restored: Tensor, clean: Tensor, metadata: Metadata) -> Tensor:
        """The weighted sum of the terms that compare with the clean image, the validation loss: a scalar.

        Where an adversarial term stands alone, it is the mean absolute difference: best.pth must mean something.
        """
        comparing = [name for name, section in self.sections.items() if section.family != "gan"]
        if not comparing:
            return (restored.float() - clean.float()).abs().mean()
        return self.total(self._values(comparing, restored, clean, metadata, None))

    def total(self, values: dict[str, Tensor]) -> Tensor:
        """Sum of weight * value: a scalar."""
        weighted = (self.sections[name].weight * value for name, value in values.items())
        return sum(weighted, torch.zeros(()))  # a tensor also where there is no value

    def discriminator_loss(self, discriminator: nn.Module, real: Tensor, restored: Tensor) -> dict[str, Tensor]:
        """What the discriminator minimises, "loss", beside the parts to log (see losses/adversarial.py).

        No gradient reaches what made the images. The weight of the term plays no part: it is the generator's.
        """
        with torch.autocast(real.device.type, enabled=False):
            return self.adversarial.discriminator_loss(discriminator, real.detach().float(), restored.detach().float())

    def constrain(self, discriminator: nn.Module) -> None:
        """To be called after each update of the discriminator: clips its weights where the term asks for it."""
        self.adversarial.constrain(discriminator)

    def _values(
        self, names: list[str], restored: Tensor, clean: Tensor, metadata: Metadata, discriminator: nn.Module | None
    ) -> dict[str, Tensor]:
        with torch.autocast(restored.device.type, enabled=False):
            restored, clean = restored.float(), clean.float()
            seen = {"pixel": (restored, clean), "gan": (restored, clean, discriminator)}
            if any(self.sections[name].family == "feature" for name in names):
                seen["feature"] = (self.render(restored, metadata), self.render(clean, metadata))
            return {name: self.terms[name](*seen[self.sections[name].family]) for name in names}
