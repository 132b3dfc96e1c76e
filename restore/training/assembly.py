"""Builds the parts of a run from its options."""

from collections.abc import Callable
from typing import NamedTuple

import torch

import losses
import transforms
from losses import Render
from options.errors import UserError
from restore.command.progress import photographs_bar
from restore.compute.process import Process
from restore.data.batches import Batches, Samples, Stage, ValidationBatches
from restore.data.sources import Source
from restore.data.store import STORE, Photograph, in_both, open_photographs
from restore.data.store_size import clean_store
from restore.files.paths import printable
from restore.networks import build_generator
from restore.networks.weights import load_weights, read_state_dict
from restore.training.consistency import not_on_device
from restore.training.fine_tuning import freeze, rate_factors
from restore.training.guard import non_finite_part
from restore.training.lengths import RunLength
from restore.training.option_file import TrainingOptions
from restore.training.precision import choose_precision
from restore.training.rates import Schedule
from restore.training.savepoints import Patience
from restore.training.stages import Restarting, begins
from restore.training.timetable import Timetable
from restore.training.trainer import Trainer
from transforms import Layout, unconditioned

PURPOSES = {"training_path": "training", "testing_path": "validation", "held_out_path": "held out"}
NAMED = 10
"""Photographs that mistakes of one kind name at most."""
MOST_LINES = 10
"""Lines about files that were left out."""


class Parts(NamedTuple):
    """The parts of a run."""

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
    """Builds and loads all parts, and makes no run's folder. UserError for a file or option that cannot be used.

    say      called with messages for the user: what was found, loaded and chosen
    anomaly  name the layer in which a loss or gradient that is not finite arose
    resumed  the caller will load a state, which holds the generator's weights
    process  which process of the run this is
    """
    torch.manual_seed(options.seed)
    stages = [options.of_stage(number) for number in range(len(options.stages or [None]))]
    chains = [transforms.build(stage.transforms_train, "transforms_train") for stage in stages]
    chain_test = transforms.build(options.transforms_test, "transforms_test")
    generator = build_generator(options.generator)
    described = f", with the weights of {options.generator.file}" if options.generator.file else ""
    say(f"generator: {options.generator.class_name}, {count_parameters(generator):,} parameters{described}")
    if options.pretrained_model and not resumed:
        weights = read_state_dict(options.pretrained_model)
        say(f"pretrained_model: {load_weights(generator, weights, options.pretrained_model, adapt=True)}")
    if frozen := freeze(generator, options.freeze):
        say(f"freeze: {frozen:,} parameters stay as they are, {count_parameters(generator) - frozen:,} are trained")
    factors = rate_factors(generator, options.learning_rate_factors)
    channels = options.generator.n_channels
    loss = losses.build(options.losses, channels, _rendering(chain_test.layout))
    for warning in loss.warnings:
        say(f"warning: {warning}")
    discriminator = options.discriminator.build(channels) if options.discriminator and loss.adversarial else None
    pixel_only = all(term.family == "pixel" for term in loss.sections.values())
    precision = choose_precision(options.amp, device, generator.half_precision_safe, pixel_only)
    say(f"precision: {precision.why}")
    scale = options.generator.scale
    largest = max(chains, key=lambda chain: chain.smallest_image())  # what it leaves out is left out of all stages
    with process.first_before_others():  # it fills the store, with a bar for the user, and the others read it
        training = _photographs(options.training_path, largest, scale, "training_path", say)
        validation = _photographs(options.testing_path, chain_test, scale, "testing_path", say)
        held_out = _photographs(options.held_out_path or [], chain_test, scale, "held_out_path", say)
    if count := in_both(training, validation):
        say(
            f"warning: testing_path: {count} of its {len(validation)} photographs are in training_path too, so that "
            f"validation overestimates the quality; remove them from one of the two"
        )
    _refuse_seen(held_out, training, validation)
    if process.first and (line := clean_store()):
        say(line)

    def for_validation(photographs: list[Photograph]) -> ValidationBatches:
        samples = Samples(photographs, chain_test.tail, options.seed, "validation")
        return ValidationBatches(samples, options.workers, device, process)

    on_device = _synthesised_on_device(options, chains, training, device, say)
    samples = [Samples(training, chain.tail, options.seed, "training", on_device) for chain in chains]
    sizes = [stage.batch_size for stage in stages]
    parts_of_run = zip(begins(options.stages or []), samples, sizes, strict=True)
    batches = Batches(
        [Stage(*part) for part in parts_of_run],
        options.workers,
        device,
        process,
        options.crops_per_photograph,
        options.prefetch,
    )
    timetable = Timetable(options, batches)
    if timetable.warning:
        say(f"warning: {timetable.warning}")
    _check_stages(batches, timetable)
    _check_shares(batches, options.accumulation)
    trainer = Trainer(
        generator,
        discriminator,
        loss,
        options.optimizer,
        _schedule(options, batches, timetable.last, say),
        precision,
        device,
        grad_clip=options.grad_clip,
        rate_factors=factors,
        ema=options.ema,
        compile=options.compile,
        anomaly=anomaly,
        process=process,
    )
    if place := non_finite_part(trainer.state()):
        raise UserError(
            f"pretrained_model: {options.pretrained_model} holds numbers that are not finite ({place}); take another"
        )
    patience = Patience(options.early_stopping)
    trainer.parts["patience"] = patience
    measured = for_validation(held_out) if held_out else None
    parts = Parts(trainer, batches, for_validation(validation), measured, timetable, patience)
    _check_samples(parts)
    return parts


def _synthesised_on_device(
    options: TrainingOptions,
    chains: list[transforms.Pipeline],
    photographs: list[Photograph],
    device: torch.device,
    say: Callable[[str], None],
) -> bool:
    """Whether the training batches are synthesised where the network is. UserError where that is asked for and cannot
    be."""
    if options.synthesis == "cpu" or (options.synthesis == "auto" and device.type != "cuda"):
        return False
    reasons = [reason for chain in chains for reason in chain.one_at_a_time("transforms_train")]
    if other := next((one for one in photographs if len(one.stored) > 1 or one.stored[0].metadata), None):
        reasons.append(f"training_path: {printable(other.source)} is a raw file or one of a pair, no single photograph")
    if reasons and options.synthesis == "device":
        raise UserError(*not_on_device(reasons))
    say(f"synthesis: on the CPU, since {reasons[0]}" if reasons else "synthesis: on the device, a batch at a time")
    return not reasons


def _schedule(options: TrainingOptions, batches: Batches, last: int, say: Callable[[str], None]) -> Schedule:
    """The learning rate of a run of so many iterations. UserError for a length that is beyond its end."""
    initial, scale = options.optimizer.initial_learning_rate, options.optimizer.scale(options.batch_size)
    if options.optimizer.scale_learning_rate:
        say(f"learning rates: {scale:g} times those given, {initial * scale:.3g} for {initial:.3g}, by the batch size")
    starts = begins(options.stages or []) if options.restart_schedule else [0]
    schedules = []
    for begin, end in zip(starts, [*starts[1:], last], strict=True):
        run = RunLength(end - begin, batches.of_stage(batches.stage(begin + 1)).iterations(1))
        if mistakes := options.scheduler.too_long(None, run.iterations, run.per_epoch):
            raise UserError(*(f"scheduler.{line}" for line in mistakes))
        schedules.append(options.scheduler.schedule(initial, run, scale))
    return Restarting(schedules, starts) if options.restart_schedule else schedules[0]


def _check_stages(batches: Batches, timetable: Timetable) -> None:
    """UserError for a stage that would never begin."""
    if (begin := batches.stages[-1].begin) >= timetable.last:
        raise UserError(
            f"stages: the last one begins after {begin} updates, but the run ends after {timetable.last}, so it would "
            f"never begin; make the earlier stages shorter or the run longer"
        )


def _check_shares(batches: Batches, accumulation: int) -> None:
    """UserError for batches of which some process would have no sample."""
    smallest, processes = min(stage.batch_size for stage in batches.stages), batches.process.count
    if smallest // accumulation < processes:
        in_parts = f" in {accumulation} parts" if accumulation > 1 else ""
        raise UserError(
            f"batch_size: {smallest}{in_parts} given, too few for {processes} processes, each of which needs a sample "
            f"of every part; raise it{', lower accumulation' if in_parts else ''} or start fewer processes"
        )


def _refuse_seen(held_out: list[Photograph], training: list[Photograph], validation: list[Photograph]) -> None:
    """UserError for held-out photographs that are also trained or validated on; they are compared by content."""
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


def _check_samples(parts: Parts) -> None:
    """Passes one sample of each chain to the losses and the discriminator. UserError where its crop is too small, or
    its noise is not known and has to be."""
    trainer, discriminator = parts.trainer, parts.trainer.discriminator
    if discriminator:
        discriminator.eval()  # so that its spectral norms and batch statistics stay unchanged
    kinds = [("transforms_train", stage.samples) for stage in parts.batches.stages]
    for place, samples in (*kinds, ("transforms_test", parts.validation.samples)):
        batch = next(iter(ValidationBatches(samples, 0, trainer.device)))
        if trainer.loss.in_noise_units and batch.metadata and not batch.metadata.noise.known:
            raise UserError(
                f"{place}: {printable(batch.files[0])} does not tell its noise, and a loss with noise_units needs it; "
                f"leave noise_units out"
            )
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


def _photographs(
    sources: list[Source], chain: transforms.Pipeline, scale: int, place: str, say: Callable[[str], None]
) -> list[Photograph]:
    if not sources:
        return []
    photographs = open_photographs(sources, chain, place, photographs_bar, scale)
    say(f"{PURPOSES[place]}: {len(photographs.usable)} photographs in {', '.join(map(str, sources))}")
    for line in photographs.cut:
        say(line)
    if photographs.damaged:
        say(f"{STORE}: {photographs.damaged} damaged images were decoded again")
    if photographs.left_out:
        say(f"{place}: left out {len(photographs.left_out)} files:")
        lines = photographs.reasons
        for line in lines[:MOST_LINES]:
            say(f"  {line}")
        if len(lines) > MOST_LINES:
            say(f"  and {len(lines) - MOST_LINES} lines more")
    return photographs.usable
