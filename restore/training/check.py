"""--check: draws samples, runs a few updates and prints what training would cost. Nothing is saved but a picture."""

import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

from restore.compute.device import wait_for_device
from restore.data.batches import Samples
from restore.evaluation.strips import stack, strip
from restore.files.atomic import make_folder
from restore.files.images import to_uint, write_image
from restore.training.assembly import Parts
from restore.training.option_file import TrainingOptions
from restore.training.precision import training_arithmetic
from transforms import unconditioned, unconditioned_degraded

PER_FOLDER = 3  # pairs drawn from each folder
LARGEST = 384  # [pixels] longest side of a picture in the contact sheet
UPDATES = 3  # timed ones, after one that is not


def check(options: TrainingOptions, parts: Parts) -> None:
    """Draws samples from every folder, runs updates of each stage, and prints the time and memory of training."""
    sheet = Path("model_zoo") / f"check_{options.name}.png"
    pairs = [
        *_pairs(parts.batches.samples, len(options.training_path)),
        *_pairs(parts.validation.samples, len(options.testing_path)),
    ]
    make_folder(sheet.parent)
    write_image(sheet, to_uint(stack(pairs), np.uint8))
    print(f"contact sheet: {sheet} (degraded | clean, {len(pairs)} pairs, from each folder in turn)")

    trainer, batches = parts.trainer, parts.batches
    last, whole = parts.timetable.last, 0.0
    ends = [stage.begin for stage in batches.stages[1:]] + [last]
    for number, (stage, end) in enumerate(zip(batches.stages, ends, strict=True)):
        seconds = _seconds(parts, number, options.accumulation)
        speed = f"one update: {seconds:.3f} s, {stage.batch_size / seconds:.1f} images/s, {_memory(trainer.device)}"
        speed += f" (measured over {UPDATES} updates on {torch.get_num_threads()} threads)"
        print(f"stages.{number}: {speed}" if options.stages else speed)
        whole += seconds * (end - stage.begin)
    epoch = batches.iterations(1)
    print(f"one epoch: {epoch} updates, {_clock(whole / last * epoch)}")
    print(f"the run: {last} updates, {_clock(whole)}, validation not counted")


def _seconds(parts: Parts, stage: int, accumulation: int) -> float:
    """The time of an update of this stage, after one that warms up."""
    alone = parts.batches.of_stage(stage)
    with training_arithmetic():
        for number, batch in enumerate(alone.after(0, 1 + UPDATES)):
            parts.trainer.step(batch.parts(accumulation))
            wait_for_device(parts.trainer.device)
            if number == 0:
                started = time.monotonic()
    return (time.monotonic() - started) / UPDATES


def _pairs(samples: Samples, entries: int) -> list[torch.Tensor]:
    """Degraded | clean, rendered to sRGB, of the first photographs of each folder or data set."""
    strips = []
    for entry in range(entries):
        inside = [n for n, photograph in enumerate(samples.photographs) if photograph.entry == entry]
        for index in inside[:PER_FOLDER]:
            sample, _ = samples.sample((0, index))
            degraded = unconditioned_degraded(sample.degraded, sample.metadata, sample.layout)
            pair = degraded, unconditioned(sample.clean, sample.metadata)
            strips.append(strip([sample.layout.render(image, sample.metadata) for image in pair], LARGEST))
    return strips


def _memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB of GPU memory at most"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{peak * (1 if sys.platform == 'darwin' else 1024) / 2**30:.2f} GiB of memory at most"  # macOS: in bytes


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
