"""Mistakes that no section of an option file can see by itself."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import losses
import transforms
from options.base import Options
from options.errors import UserError
from restore.data.sources import Source
from restore.evaluation.metrics import SSIM_WINDOW
from restore.training.optimizers import Optimizer, ReduceLROnPlateau
from transforms import Pipeline
from transforms.conditioning import Conditioning
from transforms.downsample import Downsample
from transforms.geometry import Crop
from transforms.rgb_to_raw import RgbToRawTransform

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
        ask(lambda *given, here=chain: _nothing_to_learn(here, *given), chain, path, "generator")
        ask(lambda *given, here=chain: _unlike_channels(here, *given), chain, "generator")
        ask(lambda *given, here=path: _raw_beside_srgb(here, *given), path, "generator")
        ask(lambda *given, here=chain, path=path: _unfit_pairs(here, path, *given), chain, path)
        ask(lambda *given, here=chain: _idle_iso(here, *given), chain)
    ask(_unlike_conditioning, "transforms_train", "transforms_test")
    ask(_no_batch, "transforms_train", "batch_size")
    ask(_unmeasurable, "transforms_test", "generator")
    ask(losses.mistakes_of_the_set, "losses")
    ask(losses.contradictions, "losses", "discriminator")
    ask(_rate_that_never_falls, "optimizer", "scheduler")
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


def _nothing_to_learn(here: str, chain: Pipeline, sources: list[Source], generator: Options) -> list[str]:
    degraded_already = all(source.paired or source.raw for source in sources)
    if chain.layout.channels != 3 or generator.n_channels != 3 or degraded_already:
        return []
    return [
        f"{here}: nothing degrades the image, so there is nothing to learn; add an RgbToRawTransform, or train on pairs"
    ]


def _unlike_channels(here: str, chain: Pipeline, generator: Options) -> list[str]:
    """Channels that the chain gives and shows, and the generator does not restore or take."""
    found = []
    made, shown, channels = chain.layout.channels, chain.in_channels, generator.n_channels
    if made != channels:
        remedy = "add an RgbToRawTransform" if channels == 4 else "set generator.n_channels to 4"
        found.append(f"{here}: gives {made} channels, but generator.n_channels is {channels}; {remedy}")
    if shown != (generator.in_channels or made):
        remedy = f"set it to {shown}" if shown != made else "leave it out"
        given = json.dumps(generator.in_channels)
        found.append(f"generator.in_channels: {given} given, but {here} shows {shown} channels; {remedy}")
    return found


def _raw_beside_srgb(here: str, sources: list[Source], generator: Options) -> list[str]:
    return [
        f"{here}.{number}: {source.class_name} holds raw images, but generator.n_channels is 3; set it to 4"
        for number, source in enumerate(sources)
        if source.raw and generator.n_channels == 3
    ]


def _unfit_pairs(here: str, path: str, chain: Pipeline, sources: list[Source]) -> list[str]:
    """Pairs that the chain cannot take, named before one of their files, which are large, is decoded."""
    found = []
    downsampled = any(isinstance(step, Downsample) for step in chain.transforms)
    for number, source in enumerate(sources):
        name = f"{path}.{number}: {source.class_name}"
        if source.paired and downsampled:
            found.append(f"{name} holds pairs, and Downsample would average their noise away; remove it from {here}")
        if source.paired and source.raw and chain.conditioning:
            knowing = chain.conditioning[0].class_name
            found.append(f"{name} does not tell its noise, and {knowing} has to know it; remove it from {here}")
    return found


def _idle_iso(here: str, chain: Pipeline) -> list[str]:
    """An ISO speed beside noise that is the same at any. As the default it is no choice of the user's: a run's
    options.json writes it out."""
    return [
        f"{here}.{number}.iso: {json.dumps(step.iso)} given, but the noise of {step.noise_model.class_name} is "
        f"the same at any ISO speed; leave it out"
        for number, step in enumerate(chain.transforms)
        if isinstance(step, RgbToRawTransform)
        and step.iso != RgbToRawTransform.model_fields["iso"].default
        and not step.noise_model.heeds_iso
    ]


def _unlike_conditioning(train: Pipeline, test: Pipeline) -> list[str]:
    """What the network is shown in training and in validation, and so in use, must be of one kind."""
    kinds = [
        [step.class_name for step in chain.transforms if isinstance(step, Conditioning)] for chain in (train, test)
    ]
    if kinds[0] == kinds[1]:
        return []
    shown, other = ("train", "test") if kinds[0] else ("test", "train")
    return [
        f"transforms_{other}: without the {(kinds[0] or kinds[1])[0]} that transforms_{shown} has; give both the same"
    ]


def _no_batch(chain: Pipeline, batch_size: int) -> list[str]:
    if batch_size == 1 or any(isinstance(step, Crop) for step in chain.transforms):
        return []
    return ["transforms_train: photographs of several sizes make no batch; add a RandomCrop or CenterCrop"]


def _unmeasurable(chain: Pipeline, generator: Options) -> list[str]:
    smallest = SSIM_WINDOW * (2 if generator.n_channels == 4 else 1)  # packed raw has half the sides
    return [
        f"transforms_test.{number}: {step.h} x {step.w} given, too small to measure SSIM on; "
        f"give at least {smallest} x {smallest}"
        for number, step in enumerate(chain.transforms)
        if isinstance(step, Crop) and min(step.h, step.w) < smallest
    ]


def _rate_that_never_falls(optimizer: Optimizer, scheduler: ReduceLROnPlateau) -> list[str]:
    if scheduler.min_lr < optimizer.initial_learning_rate:
        return []
    return [
        f"scheduler.min_lr: {scheduler.min_lr} is not below optimizer.initial_learning_rate, "
        f"{optimizer.initial_learning_rate}, so the learning rate would never fall; give a smaller one"
    ]
