"""What training minimises: named terms of three families, and their weighted sum.

pixel    L1, L2, Charbonnier, ssim, ms_ssim                     the images as they are
gan      gan, wgan, lsgan, ragan, softplusgan                   a discriminator's verdict
feature  lpips_vgg, lpips_alex, lpips_squeeze, vgg              what a network for photographs sees in them
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from losses.adversarial import AdversarialOptions, Gan, LsGan, RaGan, SoftplusGan, WGan
from losses.perceptual import FeatureOptions, LpipsAlex, LpipsSqueeze, LpipsVgg, Vgg
from losses.pixel import L1, L2, Charbonnier, MsSsim, Ssim
from losses.term import TermOptions
from losses.weighted import Facts, Render, WeightedLoss
from options.base import Options, parse
from options.errors import UserError

LossOptions = Annotated[
    L1 | L2 | Charbonnier | Ssim | MsSsim
    | Gan | WGan | LsGan | RaGan | SoftplusGan
    | LpipsVgg | LpipsAlex | LpipsSqueeze | Vgg,
    Field(discriminator="class_name"),
]  # fmt: skip


def build(
    options: Mapping[str, dict[str, Any] | TermOptions], n_channels: int, render: Render | None = None
) -> WeightedLoss:
    """The weighted loss of an option file's "losses".

    options     a term's section by its name, as data or validated; terms of weight 0 are left out
    n_channels  planes of the images that will be compared
    render      (image, facts) -> sRGB (B, 3, H, W) in 0..1, differentiable: what the feature terms look at. Without it
                images of 3 channels are taken as they are.
    Raises UserError for mistakes in the options, and where a feature term's weights can't be had.
    """
    sections = _active(parse(dict[str, LossOptions], dict(options), "losses"))
    mistakes = _mistakes_of_the_set(sections)
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


def contradictions(options: Mapping[str, TermOptions], discriminator: Options | None) -> list[str]:
    """Mistakes that no section can see by itself, a line each.

    discriminator  a section with the property uses_batch_norm; None: the option file has none
    """
    sections = _active(options)
    mistakes = _mistakes_of_the_set(sections)
    for name, section in sections.items():
        if not isinstance(section, AdversarialOptions):
            continue
        if discriminator is None:
            mistakes.append(
                f'losses.{name}: {section.class_name} needs a discriminator; add "discriminator": '
                '{"class_name": "PatchDiscriminator"}'
            )
        elif section.penalises_gradient and discriminator.uses_batch_norm:
            mistakes.append(
                f'discriminator.norm: "batch" mixes the images whose single gradients losses.{name} penalises; '
                'use "instance" or "none"'
            )
    return mistakes


def _active(options: Mapping[str, TermOptions]) -> dict[str, TermOptions]:
    return {name: section for name, section in options.items() if section.weight > 0}


def _mistakes_of_the_set(sections: Mapping[str, TermOptions]) -> list[str]:
    if not sections:
        return ['losses: no term with a weight above 0; give one, as {"pixel": {"class_name": "L1"}}']
    if "total" in sections:
        return ["losses.total: the weighted sum of all terms has this name in the curves; give the term another"]
    adversarial = [name for name, section in sections.items() if isinstance(section, AdversarialOptions)]
    if len(adversarial) > 1:
        return [f"losses: {', '.join(adversarial)} are all played with the one discriminator; keep one of them"]
    return []


def _warnings(sections: Mapping[str, TermOptions]) -> list[str]:
    comparing = {name: section for name, section in sections.items() if section.family != "gan"}
    if not comparing:
        return [
            "losses: no term compares with the clean image, so nothing holds the restored image to it; add a pixel "
            "term. The validation loss is the mean absolute difference"
        ]
    if all(isinstance(section, Ssim | MsSsim) for section in comparing.values()):
        names = ", ".join(comparing)
        return [f"losses: {names} hardly sees brightness and colour and is not meant to train alone; add an L1"]
    return []


def _as_it_is(image: Tensor, facts: Facts) -> Tensor:
    return image
