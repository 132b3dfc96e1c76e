"""Builds the parts of a run from its options."""

import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from tqdm import tqdm

import losses
import transforms
from losses import Render
from options.errors import UserError
from restore.compute.process import Process
from restore.data.batches import Batches, Samples, ValidationBatches
from restore.data.sources import Source
from restore.data.store import CHAIN_OF, STORE, by_reason, clean_store, in_both, open_photographs
from restore.networks import build_generator
from restore.networks.weights import load_weights, read_state_dict
from restore.training.guard import non_finite_part
from restore.training.option_file import TrainingOptions
from restore.training.precision import choose_precision
from restore.training.timetable import Timetable
from restore.training.trainer import Trainer
from transforms import Layout, unconditioned

MOST_LINES = 10
"""Lines about files that were left out."""


class Parts(NamedTuple):
    """The parts of a run."""

    trainer: Trainer
    batches: Batches
    validation: ValidationBatches
    timetable: Timetable


def assemble(
    options: TrainingOptions,
    device: torch.device,
    say: Callable[[str], None],
    anomaly: bool = False,
    resumed: bool = False,
    process: Process = Process(),
) -> Parts:
    """Builds and loads all parts, and makes no run's folder. UserError for a file or option that cannot be used.

    say      called with messages for the user: what was found, loaded and chosen
    anomaly  name the layer in which a loss or gradient that is not finite arose
    resumed  the caller will load a state, which holds the generator's weights
    process  which process of the run this is
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
    discriminator = options.discriminator.build(channels) if options.discriminator and loss.adversarial else None
    pixel_only = all(term.family == "pixel" for term in loss.sections.values())
    precision = choose_precision(options.amp, device, generator.half_precision_safe, pixel_only)
    say(f"precision: {precision.why}")
    scale = options.generator.scale
    training = _samples(options.training_path, chain, scale, options.seed, "training", say)
    validation = _samples(options.testing_path, chain_test, scale, options.seed, "validation", say)
    if count := in_both(training.photographs, validation.photographs):
        say(
            f"warning: testing_path: {count} of its {len(validation)} photographs are in training_path too, so that "
            f"validation overestimates the quality; remove them from one of the two"
        )
    if line := clean_store():
        say(line)
    batches = Batches(training, options.batch_size, options.workers, device, process)
    timetable = Timetable(options, batches.per_epoch)
    if timetable.warning:
        say(f"warning: {timetable.warning}")
    trainer = Trainer(
        generator,
        discriminator,
        loss,
        options.optimizer,
        options.scheduler.build(options.optimizer.initial_learning_rate, timetable.last),
        precision,
        device,
        grad_clip=options.grad_clip,
        compile=options.compile,
        anomaly=anomaly,
    )
    if place := non_finite_part(trainer.state()):
        raise UserError(
            f"pretrained_model: {options.pretrained_model} holds numbers that are not finite ({place}); take another"
        )
    parts = Parts(trainer, batches, ValidationBatches(validation, options.workers, device), timetable)
    _check_crop_sizes(parts)
    return parts


def _check_crop_sizes(parts: Parts) -> None:
    """Passes one sample of each chain to the losses and the discriminator. UserError where its crop is too small."""
    trainer, discriminator = parts.trainer, parts.trainer.discriminator
    if discriminator:
        discriminator.eval()  # so that its spectral norms and batch statistics stay unchanged
    for place, samples in (("transforms_train", parts.batches.samples), ("transforms_test", parts.validation.samples)):
        batch = next(iter(ValidationBatches(samples, 0, trainer.device)))
        try:
            with torch.no_grad():
                if place == "transforms_train":
                    trainer.loss.generator_terms(batch.clean, batch.clean, batch.metadata, discriminator)
                else:
                    trainer.loss.comparison(batch.clean, batch.clean, batch.metadata)
        except UserError as mistake:
            raise UserError(f"{place}: {mistake}") from None
    if discriminator:
        discriminator.train()


def _rendering(layout: Layout) -> Render:
    """Renders an image of this layout to sRGB, the input of the feature terms."""
    return lambda image, metadata: layout.render(unconditioned(image, metadata), metadata)


def count_parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _progress_bar(outcomes: Iterable, total: int) -> Iterable:
    """Shows a bar while photographs are decoded, which takes long the first time."""
    return tqdm(outcomes, "photographs", total, leave=False, disable=not sys.stderr.isatty())


def _samples(
    sources: list[Source],
    chain: transforms.Pipeline,
    scale: int,
    seed: int,
    purpose: str,
    say: Callable[[str], None],
) -> Samples:
    place = "training_path" if purpose == "training" else "testing_path"
    photographs = open_photographs(sources, chain, place, _progress_bar, scale)
    say(f"{purpose}: {len(photographs.usable)} photographs in {', '.join(map(str, sources))}")
    if photographs.damaged:
        say(f"{STORE}: {photographs.damaged} damaged images were decoded again")
    if photographs.left_out:
        say(f"{place}: left out {len(photographs.left_out)} files:")
        lines = by_reason(photographs.left_out, chain, CHAIN_OF[place])
        for line in lines[:MOST_LINES]:
            say(f"  {line}")
        if len(lines) > MOST_LINES:
            say(f"  and {len(lines) - MOST_LINES} lines more")
    return Samples(photographs.usable, chain.tail, seed, purpose)
