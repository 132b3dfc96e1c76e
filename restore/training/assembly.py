"""The sections of an option file -> the finished parts of a run."""

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
from restore.data.batches import Batches, Samples, Stage, ValidationBatches
from restore.data.sources import Source
from restore.data.store import STORE, Photograph, clean_store, open_photographs
from restore.files.paths import printable
from restore.networks import build_generator
from restore.networks.weights import load_weights, read_state_dict
from restore.training.guard import non_finite_part
from restore.training.option_file import TrainingOptions
from restore.training.precision import choose_precision
from restore.training.savepoints import Patience
from restore.training.schedules import Schedule
from restore.training.stages import Restarting, begins
from restore.training.timetable import Timetable
from restore.training.trainer import Trainer
from transforms import Layout, unconditioned

PURPOSES = {"training_path": "training", "testing_path": "validation", "held_out_path": "held out"}
NAMED = 10  # photographs, in mistakes of one kind


class Parts(NamedTuple):
    """What a run is made of."""

    trainer: Trainer
    batches: Batches
    validation: ValidationBatches
    held_out: ValidationBatches | None
    timetable: Timetable
    patience: Patience


def assemble(
    options: TrainingOptions,
    device: torch.device,
    say: Callable[[str], None],
    anomaly: bool = False,
    resumed: bool = False,
    process: Process = Process(),
) -> Parts:
    """Builds and loads everything before anything is written. UserError where a file or a choice does not do.

    say      takes a line for the user: what was found, loaded and chosen
    anomaly  whether the layer is looked for where a loss or gradient ceases to be finite
    resumed  whether a state will be loaded, which has the generator's weights
    process  which process of the run this is
    """
    torch.manual_seed(options.seed)
    stages = [options.of_stage(number) for number in range(len(options.stages or [None]))]
    chains = [transforms.build(stage.transforms_train, "transforms_train") for stage in stages]
    chain_test = transforms.build(options.transforms_test, "transforms_test")
    generator = build_generator(options.generator)
    say(f"generator: {options.generator.class_name}, {count_parameters(generator):,} parameters")
    if options.pretrained_model and not resumed:
        report = load_weights(generator, read_state_dict(options.pretrained_model), options.pretrained_model)
        say(f"pretrained_model: {report}")
    channels = options.generator.n_channels
    loss = losses.build(options.losses, channels, _rendering(chain_test.layout))
    for warning in loss.warnings:
        say(f"warning: {warning}")
    discriminator = options.discriminator.build(channels) if loss.adversarial else None
    pixel_only = all(term.family == "pixel" for term in loss.sections.values())
    precision = choose_precision(options.amp, device, generator.half_precision_safe, pixel_only)
    say(f"precision: {precision.why}")
    scale = options.generator.scale
    largest = max(chains, key=lambda chain: chain.smallest_image())  # what it leaves out is left out of all stages
    training = _photographs(options.training_path, largest, scale, "training_path", say)
    validation = _photographs(options.testing_path, chain_test, scale, "testing_path", say)
    held_out = _photographs(options.held_out_path or [], chain_test, scale, "held_out_path", say)
    _refuse_seen(held_out, training, validation)
    if line := clean_store():
        say(line)

    def for_validation(photographs: list[Photograph]) -> ValidationBatches:
        samples = Samples(photographs, chain_test.tail, options.seed, "validation")
        return ValidationBatches(samples, options.workers, device)

    samples = [Samples(training, chain.tail, options.seed, "training") for chain in chains]
    sizes = [stage.batch_size for stage in stages]
    started = [Stage(*stage) for stage in zip(begins(options.stages or []), samples, sizes, strict=True)]
    batches = Batches(started, options.workers, device, process, options.crops_per_photograph)
    timetable = Timetable(options, batches)
    _check_length(options, batches, timetable, say)
    trainer = Trainer(
        generator,
        discriminator,
        loss,
        options.optimizer,
        _schedule(options, timetable.last),
        precision,
        device,
        grad_clip=options.grad_clip,
        ema=options.ema,
        compile=options.compile,
        anomaly=anomaly,
    )
    if place := non_finite_part(trainer.state()):
        raise UserError(
            f"pretrained_model: {options.pretrained_model} holds numbers that are not finite ({place}); take another"
        )
    patience = Patience(options.early_stopping)
    trainer.parts["patience"] = patience
    measured = for_validation(held_out) if held_out else None
    parts = Parts(trainer, batches, for_validation(validation), measured, timetable, patience)
    _rehearse(parts)
    return parts


def _schedule(options: TrainingOptions, last: int) -> Schedule:
    """The learning rate of a run of this length."""
    section, initial = options.scheduler, options.optimizer.initial_learning_rate
    if options.restart_schedule:
        return Restarting(section, initial, begins(options.stages or []), last)
    return section.build(initial, last)


def _check_length(options: TrainingOptions, batches: Batches, timetable: Timetable, say: Callable[[str], None]) -> None:
    """UserError for a stage that would never begin; a line where the run ends before it was asked to."""
    ends = f"total_epochs, {options.total_epochs}, ends the run after {timetable.last} updates"
    if options.total_iterations and options.total_iterations > timetable.last:
        say(f"total_iterations: {options.total_iterations} given, but {ends}; for a longer one raise both")
    elif options.total_iterations:
        ends = f"total_iterations ends the run after {timetable.last} updates"
    if (begin := batches.stages[-1].begin) >= timetable.last:
        raise UserError(
            f"stages: the last one begins after {begin} updates, but {ends}, so it would never begin; make the earlier "
            f"stages shorter or the run longer"
        )


def _refuse_seen(held_out: list[Photograph], training: list[Photograph], validation: list[Photograph]) -> None:
    """UserError for photographs to be held out whose content, of one of a pair too, the run sees before its end."""
    seen = {
        content: f"{place} ({printable(photograph.source)})"
        for place, photographs in (("testing_path", validation), ("training_path", training))
        for photograph in photographs
        for content in photograph.contents
    }
    mistakes = [
        f"held_out_path: {printable(photograph.source)} is also in {place}; remove it from one of them"
        for photograph in held_out
        if (place := next((seen[content] for content in photograph.contents if content in seen), None))
    ]
    if mistakes:
        more = [f"held_out_path: {len(mistakes) - NAMED} more of this kind"] * (len(mistakes) > NAMED)
        raise UserError(*mistakes[:NAMED], *more)


def _rehearse(parts: Parts) -> None:
    """Shows the losses and the discriminator a sample of each kind, so that crops they refuse are known at once."""
    trainer = parts.trainer
    judge = trainer.discriminator and trainer.discriminator.eval()  # nothing of its state may change
    kinds = [("transforms_train", stage.samples) for stage in parts.batches.stages]
    for place, samples in (*kinds, ("transforms_test", parts.validation.samples)):
        batch = next(iter(ValidationBatches(samples, 0, trainer.device)))
        try:
            with torch.no_grad():
                if place == "transforms_train":
                    trainer.loss.generator_terms(batch.clean, batch.clean, batch.metadata, judge)
                else:
                    trainer.loss.comparison(batch.clean, batch.clean, batch.metadata)
        except UserError as mistake:
            raise UserError(f"{place}: {mistake}") from None
    if judge:
        judge.train()


def _rendering(layout: Layout) -> Render:
    """What the feature terms look at: the restored or the clean image, for the eye."""
    return lambda image, metadata: layout.render(unconditioned(image, metadata), metadata)


def count_parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _watch(outcomes: Iterable, total: int) -> Iterable:
    """A bar while photographs are decoded, which takes a while when it is done first."""
    return tqdm(outcomes, "photographs", total, leave=False, disable=not sys.stderr.isatty())


def _photographs(
    sources: list[Source], chain: transforms.Pipeline, scale: int, place: str, say: Callable[[str], None]
) -> list[Photograph]:
    if not sources:
        return []
    photographs = open_photographs(sources, chain, place, _watch, scale)
    say(f"{PURPOSES[place]}: {len(photographs.usable)} photographs in {', '.join(map(str, sources))}")
    if photographs.damaged:
        say(f"{STORE}: {photographs.damaged} damaged images were decoded anew")
    if photographs.left_out:
        say(f"{place}: left out {len(photographs.left_out)} files:")
        for line in photographs.left_out:
            say(f"  {line}")
    return photographs.usable
