"""All that a run says: on the console, live, in its folder and in its trackers."""

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from restore.data.batches import Batch
from restore.evaluation.metrics import baseline_name, changes
from restore.evaluation.validation import ValidationReport
from restore.runs.card import model_card
from restore.runs.curves import PICTURE, Curves
from restore.tracking.base import TrackedRun
from restore.tracking.tensorboard import LOGS
from restore.tracking.trackers import Trackers
from restore.training.assembly import Parts
from restore.training.option_file import TrainingOptions

CURVES_EVERY = 10  # iterations between two points of a curve, each the mean of those between
LINES_EVERY = 10.0  # seconds between two lines where there is no terminal for a live bar
BAR = "{n_fmt}/{total_fmt} {bar} {remaining} left, {rate_fmt}{postfix}"  # short, so that the status fits 80 columns
PICTURES = "validation/strip_degraded_restored_clean"  # one tag for all savepoints: a slider goes through time


class Logbook:
    """The console, the curves and the trackers of a run.

    folder      the run's; TensorBoard's files go to tensorboard_logs/<its name>
    parts       what is trained, as it is to go on; of several processes that share the batches only the first speaks
    print_line  takes a line for the user
    """

    def __init__(self, folder: Path, options: TrainingOptions, parts: Parts, print_line: Callable[[str], None]):
        self.folder = folder
        self.options = options
        self.parts = parts
        self.process = parts.batches.process
        self.baseline = baseline_name(options.generator.scale)
        self.print_line = print_line
        self.device = parts.trainer.device
        self.until = parts.timetable.last
        iteration = parts.trainer.iteration
        hidden = not (self.process.first and sys.stderr.isatty())
        self.bar = tqdm(total=self.until, initial=iteration, bar_format=BAR, dynamic_ncols=True, disable=hidden)
        self.recent, self.since_savepoint = MeanTerms(), MeanTerms()
        self.pace = Pace(iteration)
        self.line_at = time.monotonic()

    def watched(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches, while it is noted how many images they hold and how long they are waited for."""
        while True:
            asked = time.monotonic()
            batch = next(batches, None)
            if batch is None:
                return
            self.pace.waited += time.monotonic() - asked
            self.pace.images += batch.share.size
            yield batch

    def progress(self, iteration: int, terms: Mapping[str, Tensor | float], notices: list[str]) -> None:
        """Takes the terms of an update; now and then draws a point of each curve and shows how far the run is."""
        for notice in notices:
            self.say(notice)
        self.recent.add(terms)
        self.since_savepoint.add(terms)
        self.bar.update()
        if iteration % CURVES_EVERY and iteration != self.until:
            return
        speed, self.pace = self.pace.until(iteration), Pace(iteration)
        means = self.recent.take() | {f"speed/{name}": value for name, value in speed.items()}
        self._draw(means, iteration)
        status = self._status(means)
        self.bar.set_postfix_str(status, refresh=False)
        now = time.monotonic()
        if self.bar.disable and now - self.line_at >= LINES_EVERY:
            self.line_at = now
            per_second = speed["iterations_per_second"]
            left = tqdm.format_interval((self.until - iteration) / per_second)
            self.say(f"iteration {iteration}/{self.until}, {per_second:.2f} it/s, {status}, {left} left")

    def went_back(self, iteration: int, text: str) -> None:
        """The run goes on from an earlier iteration; the text says why."""
        self.say(text)
        self.trackers.forget_after(iteration)
        self.curves.forget_after(iteration)
        self.recent, self.since_savepoint = MeanTerms(), MeanTerms()
        self.bar.update(iteration - self.bar.n)
        self.pace = Pace(iteration)

    def validation(self, iteration: int, report: ValidationReport, best: bool) -> None:
        """Draws and prints what a savepoint's validation measured."""
        restored = {"loss": report.loss} | report.restored
        values = {f"validation/{name}": value for name, value in restored.items()}
        values |= {f"{self.baseline}/{name}": value for name, value in report.baseline.items()}
        values |= {f"best_model/{name}": value for name, value in restored.items() if best}
        self._draw(values, iteration)
        self.trackers.image(PICTURES, report.pictures, iteration)
        self.settle(iteration)
        gains = f"{changes(report.baseline, report.restored)} ({self.baseline} -> restored)" + ", best" * best
        self.say(f"iteration {iteration}/{self.until}: validation loss {report.loss:.5f}, {gains}")
        self.pace = Pace(iteration)  # the speed is that of the training alone

    def settle(self, iteration: int) -> None:
        """The run's state is saved, so what was drawn up to this iteration stays true and is written."""
        self.trackers.settle(iteration)
        if self.process.first:
            self.curves.write()

    def summary(self, run: Path, best: Mapping[str, Any]) -> None:
        """The last words of a run that came to its end: how good its best model is, and where to look."""
        if not best:
            self.say(f"{run}: no savepoint had a finite loss, so there is no best model")
            return
        measured = f"on {best['n_imgs_test']} validation photographs: {_gain(best['validation'], self.baseline)}\n"
        if held_out := best.get("held_out"):
            measured += f"on {held_out['n_imgs']} photographs that were held out: {_gain(held_out, self.baseline)}\n"
        self.say(
            f"best model, of iteration {best['iteration']}, {measured}"
            f"weights and how they were made: {run / 'best.pth'}, {run / 'best.json'}\n"
            f"curves and pictures: tensorboard --logdir {LOGS}; the curves alone: {run / PICTURE}\n"
            f"use it: python -m restore.test --model {run} --input <folder of photographs> --output results"
        )

    def training_loss(self) -> float | None:
        """Mean of the weighted loss over the updates since this was asked last; None if there were none."""
        return self.since_savepoint.take().get("loss/total")

    def say(self, text: str) -> None:
        """A line for the user that does not break the live bar."""
        if self.process.first:
            with tqdm.external_write_mode():
                self.print_line(text)

    def __enter__(self) -> "Logbook":
        iteration = self.parts.trainer.iteration
        self.curves = Curves(self.folder, self.baseline, iteration, self.say)
        card, options = model_card(self.options, self.parts), self.options.model_dump(mode="json", by_alias=True)
        run = TrackedRun(self.folder, iteration, options, card, self.baseline) if self.process.first else None
        self.trackers = Trackers(run, self.options.trackers, self.say)
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        if self.process.first:
            self.curves.write(last=True)
        self.trackers.close()

    def _draw(self, values: Mapping[str, float], iteration: int) -> None:
        self.trackers.scalars(values, iteration)
        self.curves.add(values, iteration)

    def _status(self, means: Mapping[str, float]) -> str:
        parts = [
            f"{means['speed/images_per_second']:.1f} img/s",
            f"wait {means['speed/waiting_for_data']:.0%}",
            f"loss {means.get('loss/total', math.nan):.4g}",
            f"lr {means['learning_rate/generator']:.3g}",
        ]
        if self.device.type == "cuda":
            parts.append(f"GPU {torch.cuda.max_memory_allocated(self.device) / 2**30:.1f} GiB")
        return ", ".join(parts)


def _gain(metrics: Mapping[str, Mapping[str, float]], baseline: str) -> str:
    """The PSNR of the baseline and of the restored images, of the kind that the field compares."""
    kind = next(kind for kind in ("psnr_raw", "psnr_y", "psnr_srgb") if kind in metrics["restored"])
    before, after = metrics[baseline][kind], metrics["restored"][kind]
    return f"{baseline} PSNR {before:.2f} dB, restored PSNR {after:.2f} dB ({after - before:+.2f} dB, {kind[5:]})"


class Pace:
    """How fast updates are made, and what part of the time they wait for batches, by the training process's clock."""

    def __init__(self, iteration: int):
        self.iteration, self.since = iteration, time.monotonic()
        self.images, self.waited = 0, 0.0

    def until(self, iteration: int) -> dict[str, float]:
        """The pace from the first iteration to this one."""
        seconds = time.monotonic() - self.since
        return {
            "images_per_second": self.images / seconds,
            "iterations_per_second": (iteration - self.iteration) / seconds,
            "waiting_for_data": min(1.0, self.waited / seconds),
        }


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
