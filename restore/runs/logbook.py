"""All that a run says: on the console, live, and in TensorBoard."""

import math
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from restore.data.batches import Batches
from restore.evaluation.validation import ValidationReport
from restore.files.atomic import make_folder

LOGS = Path("tensorboard_logs")
CURVES_EVERY = 10  # iterations between two points of a curve, each the mean of those between
LINES_EVERY = 10.0  # seconds between two lines where there is no terminal for a live bar
PICTURES = "validation/degraded_restored_clean"  # one tag for all savepoints: a slider goes through time


class Logbook:
    """The console and TensorBoard of a run.

    name              the run's; TensorBoard's files go to tensorboard_logs/<name>
    iteration, until  the last update done and the last to do
    batches           what the updates are made from; of several processes that share them only the first speaks
    print_line        takes a line for the user
    """

    def __init__(self, name: str, iteration: int, until: int, batches: Batches, print_line: Callable[[str], None]):
        self.first = batches.process.first
        self.print_line = print_line
        self.folder, self.begun_at = LOGS / name if self.first else None, iteration
        self.batches = batches
        self.device = batches.device
        self.until = until
        hidden = not (self.first and sys.stderr.isatty())
        self.bar = tqdm(total=until, initial=iteration, unit="it", dynamic_ncols=True, disable=hidden)
        self.recent, self.since_savepoint = MeanTerms(), MeanTerms()
        self.noted = iteration
        self.noted_at = self.line_at = time.monotonic()

    def progress(self, iteration: int, terms: Mapping[str, Tensor | float], notices: list[str]) -> None:
        """Takes the terms of an update; now and then draws a point of each curve and shows how far the run is."""
        for notice in notices:
            self.say(notice)
        self.recent.add(terms)
        self.since_savepoint.add(terms)
        self.bar.update()
        if iteration % CURVES_EVERY and iteration != self.until:
            return
        now = time.monotonic()
        speed = (iteration - self.noted) / (now - self.noted_at)
        self.noted, self.noted_at = iteration, now
        batch_size = self.batches.stages[self.batches.stage(iteration)].batch_size
        means = self.recent.take() | {"speed/images_per_second": speed * batch_size}
        for name, value in means.items():
            self.curves.scalar(name, value, iteration)
        status = self._status(means)
        self.bar.set_postfix_str(status, refresh=False)
        if self.bar.disable and now - self.line_at >= LINES_EVERY:
            self.line_at = now
            left = tqdm.format_interval((self.until - iteration) / speed)
            self.say(f"iteration {iteration}/{self.until}, {speed:.2f} it/s, {status}, {left} left")

    def went_back(self, iteration: int, text: str) -> None:
        """The run goes on from an earlier iteration; the text says why."""
        self.say(text)
        self.curves.forget_after(iteration)
        self.recent, self.since_savepoint = MeanTerms(), MeanTerms()
        self.bar.update(iteration - self.bar.n)
        self.noted, self.noted_at = iteration, time.monotonic()

    def validation(self, iteration: int, report: ValidationReport, best: bool) -> None:
        """Draws and prints what a savepoint's validation measured."""
        self.curves.scalar("validation/loss", report.loss, iteration)
        for images, metrics in (("restored", report.restored), ("degraded", report.degraded)):
            for name, value in metrics.items():
                self.curves.scalar(f"validation_{name}/{images}", value, iteration)
        self.curves.image(PICTURES, report.pictures, iteration)
        self.curves.flush()
        gains = ", ".join(
            f"{name} {report.degraded[name]:.4g} -> {value:.4g}" for name, value in report.restored.items()
        )
        self.say(f"iteration {iteration}/{self.until}: validation loss {report.loss:.5f}, {gains}{', best' * best}")
        self.noted, self.noted_at = iteration, time.monotonic()  # the speed is that of the training alone

    def summary(self, run: Path, best: Mapping[str, Any]) -> None:
        """The last words of a run that came to its end: how good its best model is, and where to look."""
        if not best:
            self.say(f"{run}: no savepoint had a finite loss, so there is no best model")
            return
        measured = f"on {best['n_imgs_test']} validation photographs: {_gain(best['validation'])}\n"
        if held_out := best.get("held_out"):
            measured += f"on {held_out['n_imgs']} photographs that were held out: {_gain(held_out)}\n"
        self.say(
            f"best model, of iteration {best['iteration']}, {measured}"
            f"weights and how they were made: {run / 'best.pth'}, {run / 'best.json'}\n"
            f"curves and pictures: tensorboard --logdir {LOGS}\n"
            f"use it: python -m restore.test --model {run} --input <folder of photographs> --output results"
        )

    def training_loss(self) -> float | None:
        """Mean of the weighted loss over the updates since this was asked last; None if there were none."""
        return self.since_savepoint.take().get("loss/total")

    def say(self, text: str) -> None:
        """A line for the user that does not break the live bar."""
        if self.first:
            with tqdm.external_write_mode():
                self.print_line(text)

    def __enter__(self) -> "Logbook":
        self.former = threading.excepthook
        threading.excepthook = self._on_failed_thread
        self.curves = Curves(self.folder, self.begun_at, self.say)
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        self.curves.close()
        threading.excepthook = self.former

    def _on_failed_thread(self, failure: threading.ExceptHookArgs) -> None:
        """Of TensorBoard's writing thread a traceback would say what the curves' warning says in a line."""
        if not type(failure.thread).__module__.startswith("tensorboard."):
            self.former(failure)

    def _status(self, means: Mapping[str, float]) -> str:
        parts = [
            f"{means['speed/images_per_second']:.1f} images/s",
            f"loss {means.get('loss/total', math.nan):.4g}",
            f"lr {means['learning_rate/generator']:.3g}",
        ]
        if self.device.type == "cuda":
            parts.append(f"GPU {torch.cuda.max_memory_allocated(self.device) / 2**30:.1f} GiB")
        return ", ".join(parts)


def _gain(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """The PSNR of the images as they went in and of the restored ones."""
    kind = "psnr_raw" if "psnr_raw" in metrics["degraded"] else "psnr_srgb"
    noisy, restored = metrics["degraded"][kind], metrics["restored"][kind]
    return f"noisy PSNR {noisy:.2f} dB, restored PSNR {restored:.2f} dB ({restored - noisy:+.2f} dB, {kind[5:]})"


class Curves:
    """TensorBoard's files. They are not the training: where they cannot be written a line says so, and it goes on.

    folder     where they go; None: nowhere
    iteration  the last update done. A run that was killed goes on from its last state: what was drawn after that is
               forgotten.
    """

    def __init__(self, folder: Path | None, iteration: int, say: Callable[[str], None]):
        self.folder = folder
        self.say = say
        self.writer: SummaryWriter | None = None
        if folder:
            self._open(iteration)

    def scalar(self, name: str, value: float, iteration: int) -> None:
        self._write(lambda writer: writer.add_scalar(name, value, iteration))

    def image(self, name: str, image: Tensor, iteration: int) -> None:
        """image  (3, H, W) sRGB 0..1"""
        self._write(lambda writer: writer.add_image(name, image, iteration))

    def flush(self) -> None:
        self._write(lambda writer: writer.flush())

    def close(self) -> None:
        self._write(lambda writer: writer.close())

    def forget_after(self, iteration: int) -> None:
        """What was drawn for later iterations is not shown: they are done once more."""
        if self.writer:
            self.close()
            self._open(iteration)

    def _open(self, iteration: int) -> None:
        try:
            self.writer = SummaryWriter(
                str(make_folder(self.folder.parent) / self.folder.name), purge_step=iteration + 1
            )
        except Exception as error:
            self._give_up(error)

    def _write(self, action: Callable[[SummaryWriter], object]) -> None:
        try:
            if self.writer:
                action(self.writer)
        except Exception as error:  # of any kind: whatever TensorBoard's writing thread met
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.writer = None
        self.say(f"warning: {self.folder}: TensorBoard's curves cannot be written ({error}); the run goes on without")


class MeanTerms:
    """Means of named values. What is on an accelerator stays there until it is taken: no update waits for it."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor | float] = {}
        self.counts: dict[str, int] = {}

    def add(self, terms: Mapping[str, Tensor | float]) -> None:
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """The means of what was added since the last taking."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means
