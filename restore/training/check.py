"""--check: everything that a run does, once, without training."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from options.errors import UserError
from restore.data.batches import Samples
from restore.evaluation.strips import stack, strip
from restore.files.atomic import make_folder
from restore.files.images import to_uint, write_image
from restore.training.assembly import Parts
from restore.training.option_file import TrainingOptions
from restore.training.precision import training_arithmetic
from restore.training.timetable import Timetable
from transforms import degraded_to_raw, render, restored_to_raw

PER_FOLDER = 3  # pairs drawn from each folder
LARGEST = 384  # pixels of a picture's side in the contact sheet
LONGEST_NAME = 255  # bytes, of file systems in use
UPDATES = 3  # timed, after a first one that warms up


def contact_sheet(options: TrainingOptions) -> Path:
    """Where check draws. UserError where the option file's name makes no file name."""
    sheet = Path("model_zoo") / f"check_{options.name}.png"
    if len(os.fsencode(sheet.name)) > LONGEST_NAME:
        raise UserError(f"name: too long for the contact sheet's file name; give {LONGEST_NAME // 2} letters at most")
    return sheet


def check(options: TrainingOptions, parts: Parts) -> None:
    """Draws samples from every folder, runs updates on real batches, and prints what training would take."""
    sheet = contact_sheet(options)
    pairs = [
        *_pairs(parts.batches.samples, len(options.training_path)),
        *_pairs(parts.validation.samples, len(options.testing_path)),
    ]
    make_folder(sheet.parent)
    write_image(sheet, to_uint(stack(pairs), np.uint8))
    print(f"contact sheet: {sheet} (degraded | clean, {len(pairs)} pairs, from each folder in turn)")

    trainer, batches = parts.trainer, parts.batches
    with training_arithmetic():
        for number, batch in enumerate(batches.after(0, 1 + UPDATES)):
            trainer.step(batch.parts(options.accumulation))
            _finish(trainer.device)
            if number == 0:
                started = time.monotonic()
    seconds = (time.monotonic() - started) / UPDATES
    last = Timetable(options, batches.per_epoch).last
    print(f"one update: {seconds:.3f} s, {options.batch_size / seconds:.1f} images/s, {_memory(trainer.device)}")
    print(f"one epoch: {batches.per_epoch} updates, {_clock(seconds * batches.per_epoch)}")
    print(f"the run: {last} updates, {_clock(seconds * last)} without validation")


def _pairs(samples: Samples, entries: int) -> list[torch.Tensor]:
    """Degraded beside clean, rendered for the eye, of the first photographs of each folder or data set."""
    strips = []
    for entry in range(entries):
        inside = [n for n, photograph in enumerate(samples.photographs) if photograph.entry == entry]
        for index in inside[:PER_FOLDER]:
            degraded, clean, facts, _ = samples[0, index]
            recorded = degraded_to_raw(degraded, facts), restored_to_raw(clean, facts)
            strips.append(strip([render(image, facts) for image in recorded], LARGEST))
    return strips


def _finish(device: torch.device) -> None:
    """Waits until the device has done what it was given: it takes work faster than it does it."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


def _memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB of GPU memory at most"
    if sys.platform == "win32":  # counts no peak
        return "memory not measured"
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{peak * (1 if sys.platform == 'darwin' else 1024) / 2**30:.2f} GiB of memory at most"  # macOS: in bytes


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
