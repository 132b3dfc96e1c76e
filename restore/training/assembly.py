"""The sections of an option file -> the finished parts of a run."""

import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from tqdm import tqdm

import losses
import transforms
from losses import Render
from restore.data.batches import Batches, Samples, ValidationBatches
from restore.data.sources import Source
from restore.data.store import open_photographs
from restore.networks import build_generator
from restore.networks.weights import load_weights, read_state_dict
from restore.training.option_file import TrainingOptions
from restore.training.precision import choose_precision
from restore.training.trainer import Trainer
from transforms import Layout, unconditioned


class Parts(NamedTuple):
    """What a run is made of."""

    trainer: Trainer
    batches: Batches
    validation: ValidationBatches


def assemble(
    options: TrainingOptions,
    device: torch.device,
    say: Callable[[str], None],
    anomaly: bool = False,
    resumed: bool = False,
) -> Parts:
    """Builds and loads everything before anything is written. UserError where a file or a choice does not do.

    say      takes a line for the user: what was found, loaded and chosen
    anomaly  whether the layer is looked for where a loss or gradient ceases to be finite
    resumed  whether a state will be loaded, which has the generator's weights
    """
    torch.manual_seed(options.seed)
    chain = transforms.build(options.transforms_train, "transforms_train")
    chain_test = transforms.build(options.transforms_test, "transforms_test")
    generator = build_generator(options.generator)
    say(f"generator: {options.generator.class_name}, {count_parameters(generator):,} parameters")
    if options.pretrained_model and not resumed:
        report = load_weights(generator, read_state_dict(options.pretrained_model), options.pretrained_model)
        say(f"pretrained_model: {report}")
    channels = options.generator.n_channels
    loss = losses.build(options.losses, channels, _rendering(chain.layout))
    for warning in loss.warnings:
        say(f"warning: {warning}")
    discriminator = options.discriminator.build(channels) if loss.adversarial else None
    pixel_only = all(term.family == "pixel" for term in loss.sections.values())
    precision = choose_precision(options.amp, device, generator.half_precision_safe, pixel_only)
    say(f"precision: {precision.why}")
    training = _samples(options.training_path, chain, options.seed, "training", say)
    validation = _samples(options.testing_path, chain_test, options.seed, "validation", say)
    return Parts(
        Trainer(generator, discriminator, loss, options, precision, device, anomaly),
        Batches(training, options.batch_size, options.workers, device),
        ValidationBatches(validation, options.workers, device),
    )


def _rendering(layout: Layout) -> Render:
    """What the feature terms look at: the restored or the clean image, for the eye."""
    return lambda image, metadata: layout.render(unconditioned(image, metadata), metadata)


def count_parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _watch(outcomes: Iterable, total: int) -> Iterable:
    """A bar while photographs are decoded, which takes a while when it is done first."""
    return tqdm(outcomes, "photographs", total, leave=False, disable=not sys.stderr.isatty())


def _samples(
    sources: list[Source], chain: transforms.Pipeline, seed: int, purpose: str, say: Callable[[str], None]
) -> Samples:
    place = "training_path" if purpose == "training" else "testing_path"
    photographs = open_photographs(sources, chain, place, _watch)
    say(f"{purpose}: {len(photographs.usable)} photographs in {', '.join(map(str, sources))}")
    if photographs.left_out:
        say(f"{place}: left out {len(photographs.left_out)} files:")
        for line in photographs.left_out:
            say(f"  {line}")
    return Samples(photographs.usable, chain.tail, seed, purpose)
