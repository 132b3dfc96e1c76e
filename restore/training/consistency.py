"""Mistakes in an option file that lie between its sections, such as a crop too small for a loss."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import losses
import transforms
from losses.pixel import DifferenceOptions
from losses.term import TermOptions
from options.errors import UserError
from restore.data.batches import PREFETCH
from restore.data.sources import Source
from restore.evaluation.metrics import smallest_side
from restore.networks.base import DenoiserOptions, NetworkOptions
from restore.networks.discriminators import DiscriminatorBase
from restore.training.optimizers import Optimizer
from restore.training.savepoints import EarlyStopping
from restore.training.schedules import ScheduleOptions
from restore.training.stages import StageOptions
from transforms import RGGB, Pipeline

CHAINS = {"transforms_train": "training_path", "transforms_test": "testing_path"}
"""The images that each chain is applied to."""
PATHS = {"training_path": "transforms_train", "testing_path": "transforms_test", "held_out_path": "transforms_test"}
"""The chain that the photographs of each path go through."""


def contradictions(sections: Mapping[str, Any]) -> list[str]:
    """A line for each mistake.

    sections  the finished sections of an option file by their names. A section with mistakes of its own is not among
              them; the checks that need it are not made.
    """
    chains, found = _built_chains(sections)
    known = {**{name: section for name, section in sections.items() if name not in CHAINS}, **chains}

    def apply(check: Callable[..., list[str]], *names: str) -> None:
        if all(name in known for name in names):
            found.extend(check(*(known[name] for name in names)))

    for chain, path in CHAINS.items():
        apply(partial(_nothing_to_learn, chain), chain, path, "generator")
        apply(partial(_unlike_channels, chain), chain, "generator")
        apply(partial(_without_needed_conditioning, chain), chain, "generator")
        apply(partial(_unlike_scale, chain), chain, path, "generator")
        apply(partial(_without_effect, chain), chain)
        apply(partial(_too_small_for_losses, chain), chain, "losses")
    for path, chain in PATHS.items():
        apply(partial(_unlike_layout, chain, path), chain, path)
        apply(partial(_unfit_pairs, chain, path), chain, path)
        apply(partial(_noise_not_known, chain, path), chain, path, "losses")
    apply(_unlike_conditioning, "transforms_train", "transforms_test")
    apply(_for_training_alone, "transforms_test")
    apply(_no_batch, "transforms_train", "batch_size")
    apply(_no_worker, "workers", "prefetch")
    apply(_not_on_device, "transforms_train", "synthesis")
    apply(_unmeasurable, "transforms_test", "generator")
    apply(partial(_too_small_for_discriminator, "transforms_train"), "transforms_train", "discriminator")
    for number, stage in enumerate(known.get("stages") or []):
        here = f"stages.{number}"
        crop = f"{here}: transforms_train"
        if stage.crop_size and "transforms_train" in known:
            resized, mistakes = _resized(here, known["transforms_train"], stage.crop_size)
            known |= {crop: resized} if resized else {}
            found += mistakes
        apply(partial(_too_small_for_losses, crop), crop, "losses")
        apply(partial(_too_small_for_discriminator, crop), crop, "discriminator")
        if stage.batch_size:
            apply(partial(_no_batch, batch_size=stage.batch_size), "transforms_train")
            apply(partial(_uneven_parts, stage.batch_size, here=f"{here}: "), "accumulation")
    apply(_frozen_at_random, "freeze", "pretrained_model", "generator")
    apply(_endless_stages, "stages")
    apply(_nothing_to_restart, "stages", "restart_schedule")
    apply(_unmeasured, "transforms_test", "early_stopping")
    apply(losses.mistakes_of_the_set, "losses")
    apply(losses.contradictions, "losses", "discriminator")
    apply(_unlike_rates, "optimizer", "scheduler")
    apply(_beyond_the_end, "scheduler", "total_epochs", "total_iterations")
    apply(_uneven_parts, "batch_size", "accumulation")
    return found


def _built_chains(sections: Mapping[str, Any]) -> tuple[dict[str, Pipeline], list[str]]:
    chains, found = {}, []
    for name in CHAINS:
        if name in sections:
            try:
                chains[name] = transforms.build(sections[name], name)
            except UserError as error:
                found += str(error).splitlines()
    return chains, found


def _resized(here: str, chain: Pipeline, side: int) -> tuple[Pipeline | None, list[str]]:
    """The chain of a stage, or a line for each mistake in it."""
    try:
        resized = chain.with_size(side)
    except UserError as error:
        return None, [f"{here}.crop_size: {side} given, but in transforms_train {error}"]
    try:
        return transforms.build(resized, f"{here}: transforms_train"), []
    except UserError as error:
        return None, str(error).splitlines()


def _no_worker(workers: int | None, prefetch: int) -> list[str]:
    """Batches to be made ahead where nothing makes them ahead."""
    if workers != 0 or prefetch == PREFETCH:
        return []
    return [f"prefetch: {prefetch} given, but workers is 0, so that no batch is made ahead; leave it out"]


def _not_on_device(chain: Pipeline, synthesis: str) -> list[str]:
    """Transforms that cannot work where the network is."""
    return not_on_device(chain.one_at_a_time("transforms_train")) if synthesis == "device" else []


def not_on_device(reasons: list[str]) -> list[str]:
    """A line for each reason why what is asked for by synthesis: "device" cannot be."""
    return [f'synthesis: "device" given, but {reason}; set it to "auto" or "cpu"' for reason in reasons]


def _nothing_to_learn(here: str, chain: Pipeline, sources: list[Source], generator: NetworkOptions) -> list[str]:
    """Degraded images that equal the clean ones. If the channels differ too, only that is reported."""
    if chain.degrades or chain.layout.channels != generator.n_channels or all(source.paired for source in sources):
        return []
    if generator.n_channels == RGGB.channels:
        remedy = "an RgbToRawTransform"
    else:
        remedy = "a BicubicDownsample" if generator.scale > 1 else "a degradation, such as PictureNoise"
    return [f"{here}: nothing degrades the image, so there is nothing to learn; add {remedy}, or train on pairs"]


def _unlike_channels(here: str, chain: Pipeline, generator: NetworkOptions) -> list[str]:
    """Channels of the chain's clean and degraded images that differ from the generator's output and input."""
    found = []
    clean, degraded, channels = chain.layout.channels, chain.in_channels, generator.n_channels
    needed = generator.needed_conditioning
    if clean != channels:
        fixed = "model" if generator.file else "generator" if needed else None
        remedy = f"take a {fixed} of {clean}" if fixed else f"set generator.n_channels to {clean}"
        remedy += ", or remove the RgbToRawTransform" if chain.layout.raw else ", or add an RgbToRawTransform"
        found.append(
            f"{here}: gives {clean} channels, but generator.n_channels is {channels}{_by(generator)}; {remedy}"
        )
    if degraded != (generator.in_channels or clean) and not needed:
        remedy = f"set it to {degraded}" if degraded != clean else "leave it out"
        if generator.file:
            remedy = (
                f"remove the {chain.conditioning[0].class_name}, as the network in {generator.file} has no such input"
            )
        if isinstance(generator, DenoiserOptions) and generator.noise_residual:
            remedy = (
                "add a NoiseLevelMap, or a VarianceStabilization with noise_level, which noise_residual needs"
                if chain.layout.raw
                else "leave it and noise_residual out, which are for raw images"
            )
        given = json.dumps(generator.in_channels)
        found.append(
            f"generator.in_channels: {given} given, but {here} gives degraded images of {degraded} channels; {remedy}"
        )
    return found


def _without_needed_conditioning(here: str, chain: Pipeline, generator: NetworkOptions) -> list[str]:
    needed, given = generator.needed_conditioning, next(iter(chain.conditioning), None)
    if needed is None or isinstance(given, needed):
        return []
    place = f"in place of the {given.class_name}" if given else "behind the RgbToRawTransform"
    return [f"{here}: without the {needed.__name__} that {generator.class_name} needs; put one {place}"]


def _unlike_scale(here: str, chain: Pipeline, sources: list[Source], generator: NetworkOptions) -> list[str]:
    """A scale of the chain that is not the generator's. The files of recorded pairs are checked when they are read."""
    if chain.scale == generator.scale or all(source.paired for source in sources):
        return []
    return [
        f"{here}: makes clean images {chain.scale} times as large as degraded ones, but generator.scale is "
        f"{generator.scale}{_by(generator)}; give both the same"
    ]


def _by(generator: NetworkOptions) -> str:
    """What says the numbers of a network that its file describes."""
    return f", by {generator.file}" if generator.file else ""


def _unlike_layout(here: str, path: str, chain: Pipeline, sources: list[Source] | None) -> list[str]:
    return [
        f"{path}.{number}: {source.class_name} holds {source.layout.name} images, but {here} gives "
        f"{chain.layout.name} samples; add an RgbToRawTransform"
        for number, source in enumerate(sources or [])
        if source.layout and source.layout.raw and not chain.layout.raw
    ]


def _unfit_pairs(here: str, path: str, chain: Pipeline, sources: list[Source] | None) -> list[str]:
    """Pairs that the chain cannot take. They are reported before any of their large files is decoded."""
    found = []
    for number, source in enumerate(sources or []):
        if not source.paired:
            continue
        name = f"{path}.{number}: {source.class_name}"
        for step in chain.transforms:
            if step.refuses_pairs:
                found.append(f"{name} holds pairs, and {step.class_name} {step.refuses_pairs}; remove it from {here}")
            if step.needs_noise and not source.tells_noise:
                found.append(
                    f"{name} has no noise level, and {step.class_name} needs it; remove {step.class_name} from {here}"
                )
    return found


def _noise_not_known(
    here: str, path: str, chain: Pipeline, sources: list[Source] | None, terms: Mapping[str, TermOptions]
) -> list[str]:
    """Losses in units of the noise, of images whose noise nothing tells."""
    names = [name for name, term in terms.items() if isinstance(term, DifferenceOptions) and term.noise_units]
    if not names or sources is None:
        return []
    found = []
    if not chain.layout.raw:
        found = [f"{here} gives sRGB images"]
    found += [
        f"{path}.{number}: {source.class_name} does not tell it"
        for number, source in enumerate(sources)
        if chain.layout.raw and source.paired and not source.tells_noise
    ]
    return [
        f"losses.{name}.noise_units: true given, but the noise is not known, as {reason}; leave noise_units out"
        for name in names
        for reason in found
    ]


def _without_effect(here: str, chain: Pipeline) -> list[str]:
    return [f"{here}.{n}.{line}" for n, step in enumerate(chain.transforms) for line in step.without_effect()]


def _for_training_alone(chain: Pipeline) -> list[str]:
    return [
        f"transforms_test.{number}: {step.class_name} given, which is for training alone and would measure what no "
        f"camera records; remove it"
        for number, step in enumerate(chain.transforms)
        if step.training_only
    ]


def _unlike_conditioning(train: Pipeline, test: Pipeline) -> list[str]:
    """The network's input must be of one kind in training, in validation and in use."""
    kinds = [[step.class_name for step in chain.conditioning] for chain in (train, test)]
    if kinds[0] == kinds[1]:
        if train.conditioning == test.conditioning:
            return []
        return [
            f"transforms_test: a {kinds[0][0]} with other options than that of transforms_train; give both the same"
        ]
    given, other = ("train", "test") if kinds[0] else ("test", "train")
    return [
        f"transforms_{other}: without the {(kinds[0] or kinds[1])[0]} that transforms_{given} has; give both the same"
    ]


def _no_batch(chain: Pipeline, batch_size: int) -> list[str]:
    if batch_size == 1 or chain.size:
        return []
    return ["transforms_train: photographs of different sizes cannot form a batch; add a RandomCrop or CenterCrop"]


def _unmeasurable(chain: Pipeline, generator: NetworkOptions) -> list[str]:
    return _too_small("transforms_test", chain, smallest_side(chain.layout, generator.scale), "measure SSIM on")


def _too_small_for_losses(here: str, chain: Pipeline, terms: Mapping[str, TermOptions]) -> list[str]:
    return [
        line
        for name, term in terms.items()
        if term.weight > 0
        for line in _too_small(here, chain, term.smallest_side, f"compute losses.{name} ({term.class_name}) on")
    ]


def _too_small_for_discriminator(here: str, chain: Pipeline, discriminator: DiscriminatorBase | None) -> list[str]:
    if discriminator is None:
        return []
    return _too_small(here, chain, discriminator.smallest_side, f"show to {discriminator.class_name}")


def _too_small(here: str, chain: Pipeline, side: int, purpose: str) -> list[str]:
    """Crops whose tensors have a side shorter than `side` [pixels]."""
    smallest = side * chain.layout.cell
    return [
        f"{here}.{number}: {step.size[0]} x {step.size[1]} given, too small to {purpose}; "
        f"give at least {smallest} x {smallest}"
        for number, step in enumerate(chain.transforms)
        if step.size and min(step.size) < smallest
    ]


def _unlike_rates(optimizer: Optimizer, scheduler: ScheduleOptions) -> list[str]:
    return [f"scheduler.{line}" for line in scheduler.contradictions(optimizer.initial_learning_rate)]


def _beyond_the_end(scheduler: ScheduleOptions, total_epochs: int, total_iterations: int | None) -> list[str]:
    return [f"scheduler.{line}" for line in scheduler.too_long(total_epochs, total_iterations)]


def _uneven_parts(batch_size: int, accumulation: int, here: str = "") -> list[str]:
    if batch_size % accumulation == 0:
        return []
    return [
        f"{here}accumulation: {accumulation} given, which does not divide batch_size, {batch_size}; "
        f"give a divisor of it"
    ]


def _endless_stages(stages: list[StageOptions] | None) -> list[str]:
    """Lengths that are missing, and one that would say what total_epochs and total_iterations say."""
    *earlier, last = stages or [StageOptions()]
    found = [
        f"stages.{number}.iterations: null given; give the updates after which the next stage begins"
        for number, stage in enumerate(earlier)
        if stage.iterations is None
    ]
    if last.iterations is not None:
        found.append(
            f"stages.{len(earlier)}.iterations: {last.iterations} given, but the last stage lasts until the run ends, "
            f"by total_epochs or total_iterations; leave it out"
        )
    return found


def _frozen_at_random(freeze: Sequence[str], pretrained_model: str | None, generator: NetworkOptions) -> list[str]:
    if pretrained_model or generator.file or not freeze:
        return []
    return [
        f"freeze: {json.dumps(freeze)} given, but without a pretrained_model these are random numbers; give one, or "
        f"leave freeze out"
    ]


def _nothing_to_restart(stages: list[StageOptions] | None, restart_schedule: bool) -> list[str]:
    if stages or not restart_schedule:
        return []
    return ["restart_schedule: true given, but there are no stages to begin anew in; give stages, or leave it out"]


def _unmeasured(chain: Pipeline, stopping: EarlyStopping | None) -> list[str]:
    mistake = unmeasured(chain, stopping.metric) if stopping else None
    return [f"early_stopping.metric: {mistake}"] if mistake else []


def unmeasured(chain: Pipeline, metric: str) -> str | None:
    """What is wrong with the metric where validation does not measure it; the place goes before it."""
    if chain.layout.raw or not metric.endswith("_raw"):
        return None
    return (
        f'"{metric}" given, but transforms_test gives sRGB samples, which have none; '
        f'give "{metric.replace("_raw", "_srgb")}"'
    )
