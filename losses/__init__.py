"""What training minimises: named terms of three families, and their weighted sum.

pixel    L1, L2, Charbonnier, ssim, ms_ssim                     the images as they are
gan      gan, wgan, lsgan, ragan, softplusgan                   the logits that the discriminator gives for them
feature  lpips_vgg, lpips_alex, lpips_squeeze, vgg              the features of a network trained on photographs
"""

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from torch import Tensor

from losses.adversarial import AdversarialOptions, Gan, LsGan, RaGan, SoftplusGan, WGan
from losses.perceptual import FeatureOptions, LpipsAlex, LpipsSqueeze, LpipsVgg, Vgg
from losses.pixel import L1, L2, Charbonnier, MsSsim, Ssim
from losses.term import TermOptions
from losses.weighted import Metadata, Render, WeightedLoss
from options.base import parse
from options.choices import Choices
from options.errors import UserError

LOSSES = Choices(
    TermOptions,
    L1, L2, Charbonnier, Ssim, MsSsim,
    Gan, WGan, LsGan, RaGan, SoftplusGan,
    LpipsVgg, LpipsAlex, LpipsSqueeze, Vgg,
)  # fmt: skip
LossOptions = Annotated[TermOptions, LOSSES]
TOTAL = "total"
"""The name of the weighted sum of all terms in the log, beside the names of the terms."""


class DiscriminatorOptions(Protocol):
    """What the terms must know of the discriminator's section."""

    @property
    def uses_batch_norm(self) -> bool: ...


def build(
    options: Mapping[str, dict[str, Any] | TermOptions], n_channels: int, render: Render | None = None
) -> WeightedLoss:
    """The weighted loss of an option file's "losses".

    options     a term's section by its name, as data or finished; terms of weight 0 are left out
    n_channels  planes of the images that will be compared
    render      (image, metadata) -> sRGB (B, 3, H, W) in 0..1, differentiable: what the feature terms look at. Without
                it images of 3 channels are taken as they are.
    Raises UserError for mistakes in the options, and where a feature term's weights are not found.
    """
    finished = {name: section for name, section in options.items() if isinstance(section, TermOptions)}
    if len(finished) < len(options):
        finished = parse(dict[str, LossOptions], dict(options), "losses")
    sections = _active(finished)
    mistakes = mistakes_of_the_set(sections)
    terms = {}
    for name, section in sections.items():
        if isinstance(section, FeatureOptions) and render is None and n_channels != 3:
            mistakes.append(
                f"losses.{name}: {section.class_name} looks at sRGB, but the images have {n_channels} channels; "
                "give losses.build a render function"
            )
            continue
        try:
            terms[name] = section.build()
        except UserError as mistake:
            mistakes.append(f"losses.{name}.{mistake}")
    if mistakes:
        raise UserError(*mistakes)
    return WeightedLoss(sections, terms, render or _as_it_is, _warnings(sections))


def mistakes_of_the_set(options: Mapping[str, TermOptions]) -> list[str]:
    """Mistakes in the terms as a set, one line for each."""
    sections = _active(options)
    mistakes = []
    if not sections:
        mistakes.append('losses: no term with a weight above 0; give one, as {"pixel": {"class_name": "L1"}}')
    if len(adversarial := _adversarial(sections)) > 1:
        mistakes.append(
            f"losses: {', '.join(adversarial)} are adversarial, and there is one discriminator; keep one of them"
        )
    if TOTAL in sections:
        mistakes.append(f"losses.{TOTAL}: the weighted sum of all terms is called so; give the term another name")
    return mistakes


def contradictions(options: Mapping[str, TermOptions], discriminator: DiscriminatorOptions | None) -> list[str]:
    """Contradictions between the terms and the discriminator, one line for each.

    discriminator  its section; None: the option file has none
    """
    mistakes = []
    adversarial = _adversarial(_active(options))
    if discriminator and not adversarial:
        mistakes.append(
            "discriminator: given, but losses has no adversarial term with a weight above 0; remove it, or add one, as "
            '{"gan": {"class_name": "wgan"}}'
        )
    for name, section in adversarial.items():
        if discriminator is None:
            mistakes.append(
                f'losses.{name}: {section.class_name} needs a discriminator; add "discriminator": '
                '{"class_name": "PatchDiscriminator"}'
            )
        elif section.penalises_gradient and discriminator.uses_batch_norm:
            mistakes.append(
                f'discriminator.norm: "batch" mixes the images of a batch, and losses.{name} penalises the gradient of '
                'each image; use "instance" or "none"'
            )
    return mistakes


def _active(options: Mapping[str, TermOptions]) -> dict[str, TermOptions]:
    return {name: section for name, section in options.items() if section.weight > 0}


def _adversarial(sections: Mapping[str, TermOptions]) -> dict[str, AdversarialOptions]:
    return {name: section for name, section in sections.items() if isinstance(section, AdversarialOptions)}


def _warnings(sections: Mapping[str, TermOptions]) -> list[str]:
    comparing = {name: section for name, section in sections.items() if section.family != "gan"}
    if not comparing:
        return [
            "losses: no term compares with the clean image, so nothing keeps the restored image close to it; add a "
            "pixel term. The validation loss is the mean absolute difference"
        ]
    if all(isinstance(section, Ssim | MsSsim) for section in comparing.values()):
        names = ", ".join(comparing)
        return [f"losses: {names} hardly reacts to brightness and colour and is not meant to be used alone; add L1"]
    return []


def _as_it_is(image: Tensor, metadata: Metadata) -> Tensor:
    return image
