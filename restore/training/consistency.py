"""Mistakes that no section of an option file can see by itself."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import losses
import transforms
from losses.term import TermOptions
from options.errors import UserError
from restore.data.sources import Source
from restore.evaluation.metrics import SSIM_WINDOW
from restore.networks.base import NetworkOptions
from restore.networks.discriminators import DiscriminatorBase
from restore.training.optimizers import Optimizer
from restore.training.schedules import ScheduleOptions
from transforms import Pipeline

CHAINS = {"transforms_train": "training_path", "transforms_test": "testing_path"}
"""What each chain is for."""


def contradictions(sections: Mapping[str, Any]) -> list[str]:
    """A line for each mistake, in an order that follows the file.

    sections  the finished sections of an option file by their names. Those that have mistakes of their own are left
              out, and only the questions that need them are not asked.
    """
    chains, found = _built_chains(sections)
    known = {**{name: section for name, section in sections.items() if name not in CHAINS}, **chains}

    def ask(question: Callable[..., list[str]], *names: str) -> None:
        if all(name in known for name in names):
            found.extend(question(*(known[name] for name in names)))

    for chain, path in CHAINS.items():
        ask(partial(_nothing_to_learn, chain), chain, path, "generator")
        ask(partial(_unlike_channels, chain), chain, "generator")
        ask(partial(_unlike_scale, chain), chain, path, "generator")
        ask(partial(_unlike_layout, chain, path), chain, path)
        ask(partial(_unfit_pairs, chain, path), chain, path)
        ask(partial(_without_effect, chain), chain)
        ask(partial(_too_small_for_losses, chain), chain, "losses")
    ask(_unlike_conditioning, "transforms_train", "transforms_test")
    ask(_for_training_alone, "transforms_test")
    ask(_no_batch, "transforms_train", "batch_size")
    ask(_unmeasurable, "transforms_test")
    ask(_too_small_for_discriminator, "transforms_train", "discriminator")
    ask(losses.mistakes_of_the_set, "losses")
    ask(losses.contradictions, "losses", "discriminator")
    ask(_unlike_rates, "optimizer", "scheduler")
    ask(_uneven_parts, "batch_size", "accumulation")
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


def _nothing_to_learn(here: str, chain: Pipeline, sources: list[Source], generator: NetworkOptions) -> list[str]:
    """Images that are degraded and clean at once. Where the channels differ, that is said instead."""
    if chain.degrades or chain.layout.channels != generator.n_channels or all(source.paired for source in sources):
        return []
    return [
        f"{here}: nothing degrades the image, so there is nothing to learn; add an RgbToRawTransform, or train on pairs"
    ]


def _unlike_channels(here: str, chain: Pipeline, generator: NetworkOptions) -> list[str]:
    """Channels that the chain gives and shows, and the generator does not restore or take."""
    found = []
    made, shown, channels = chain.layout.channels, chain.in_channels, generator.n_channels
    if made != channels:
        remedy = f"set generator.n_channels to {made}" + ("" if chain.layout.raw else ", or add an RgbToRawTransform")
        found.append(f"{here}: gives {made} channels, but generator.n_channels is {channels}; {remedy}")
    if shown != (generator.in_channels or made):
        remedy = f"set it to {shown}" if shown != made else "leave it out"
        given = json.dumps(generator.in_channels)
        found.append(f"generator.in_channels: {given} given, but {here} shows {shown} channels; {remedy}")
    return found


def _unlike_scale(here: str, chain: Pipeline, sources: list[Source], generator: NetworkOptions) -> list[str]:
    """Sizes that the chain makes and the generator does not; those of recorded pairs are looked at file by file."""
    if chain.scale == generator.scale or all(source.paired for source in sources):
        return []
    return [
        f"{here}: makes clean images {chain.scale} times as large as degraded ones, but generator.scale is "
        f"{generator.scale}; give both the same"
    ]


def _unlike_layout(here: str, path: str, chain: Pipeline, sources: list[Source]) -> list[str]:
    return [
        f"{path}.{number}: {source.class_name} holds {source.layout.name} images, but {here} gives "
        f"{chain.layout.name} samples; add an RgbToRawTransform"
        for number, source in enumerate(sources)
        if source.layout and source.layout.raw and not chain.layout.raw
    ]


def _unfit_pairs(here: str, path: str, chain: Pipeline, sources: list[Source]) -> list[str]:
    """Pairs that the chain cannot take, named before one of their files, which are large, is decoded."""
    found = []
    for number, source in enumerate(sources):
        if not source.paired:
            continue
        name = f"{path}.{number}: {source.class_name}"
        for step in chain.transforms:
            if step.refuses_pairs:
                found.append(f"{name} holds pairs, and {step.class_name} {step.refuses_pairs}; remove it from {here}")
            if step.needs_noise and not source.tells_noise:
                found.append(
                    f"{name} does not tell its noise, and {step.class_name} has to know it; remove it from {here}"
                )
    return found


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
    """What the network is shown in training and in validation, and so in use, must be of one kind."""
    kinds = [[step.class_name for step in chain.conditioning] for chain in (train, test)]
    if kinds[0] == kinds[1]:
        return []
    shown, other = ("train", "test") if kinds[0] else ("test", "train")
    return [
        f"transforms_{other}: without the {(kinds[0] or kinds[1])[0]} that transforms_{shown} has; give both the same"
    ]


def _no_batch(chain: Pipeline, batch_size: int) -> list[str]:
    if batch_size == 1 or chain.size:
        return []
    return ["transforms_train: photographs of several sizes make no batch; add a RandomCrop or CenterCrop"]


def _unmeasurable(chain: Pipeline) -> list[str]:
    return _too_small("transforms_test", chain, SSIM_WINDOW, "measure SSIM on")


def _too_small_for_losses(here: str, chain: Pipeline, terms: Mapping[str, TermOptions]) -> list[str]:
    return [
        line
        for name, term in terms.items()
        if term.weight > 0
        for line in _too_small(here, chain, term.smallest_side, f"compute losses.{name} ({term.class_name}) on")
    ]


def _too_small_for_discriminator(chain: Pipeline, discriminator: DiscriminatorBase | None) -> list[str]:
    if discriminator is None:
        return []
    return _too_small("transforms_train", chain, discriminator.smallest_side, f"show to {discriminator.class_name}")


def _too_small(here: str, chain: Pipeline, side: int, purpose: str) -> list[str]:
    """Crops whose tensors have a shorter side than this [px]."""
    smallest = side * chain.layout.cell
    return [
        f"{here}.{number}: {step.size[0]} x {step.size[1]} given, too small to {purpose}; "
        f"give at least {smallest} x {smallest}"
        for number, step in enumerate(chain.transforms)
        if step.size and min(step.size) < smallest
    ]


def _unlike_rates(optimizer: Optimizer, scheduler: ScheduleOptions) -> list[str]:
    return [f"scheduler.{line}" for line in scheduler.contradictions(optimizer.initial_learning_rate)]


def _uneven_parts(batch_size: int, accumulation: int) -> list[str]:
    if batch_size % accumulation == 0:
        return []
    return [f"accumulation: {accumulation} given, which does not divide batch_size, {batch_size}; give a divisor of it"]
