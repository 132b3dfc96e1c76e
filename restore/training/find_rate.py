"""--find-lr: the learning rate rises from update to update until the training diverges; a curve and a suggestion.

Source: Smith, Cyclical Learning Rates, 2017, section 3.3.
"""

import copy
import csv
import io
import math
import time
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from options.errors import Diverged, UserError
from restore.files.atomic import make_folder, write_atomically
from restore.training.assembly import Parts
from restore.training.option_file import TrainingOptions
from restore.training.precision import training_arithmetic
from restore.training.schedules import Curve
from restore.training.trainer import Terms, Trainer

LOWEST, HIGHEST = 1e-7, 1.0
UPDATES = 150
MEMORY = 0.9
"""Of the smoothed loss: its weight of what was before."""
DIVERGED = 4
"""Times the lowest smoothed loss."""
FEWEST = 20
"""Points below which a curve says nothing."""


class Point(NamedTuple):
    """An update of the range test."""

    iteration: int
    learning_rate: float
    loss: float
    smoothed: float


def find_rate(options: TrainingOptions, parts: Parts) -> float:
    """Runs the range test, writes a table and a picture, prints and returns the suggested learning rate.

    The networks, the state and the random numbers are afterwards as they were.
    """
    points = range_test(options, parts)
    if len(points) < FEWEST:
        raise UserError(
            f"--find-lr: the loss was finite for {len(points)} updates only, too few to suggest a learning rate; look "
            f"at the samples with --check, and begin with finite weights"
        )
    suggested, steepest = suggestion(points), steepest_descent(points)
    path = Path("model_zoo") / f"find_lr_{options.name}"
    make_folder(path.parent)
    table = io.StringIO(newline="")
    csv.writer(table).writerows([Point._fields, *points])
    write_atomically(path.with_name(f"{path.name}.csv"), table.getvalue().encode())
    write_atomically(path.with_name(f"{path.name}.png"), plot(options.name, points, suggested, steepest))
    value = suggested / options.optimizer.scale(options.batch_size)
    print(f"range test: {len(points)} updates, learning rate {LOWEST:g} to {points[-1].learning_rate:.2g}")
    print(f"curve: {path}.png, {path}.csv")
    print(
        f"steepest descent at {steepest:.2g}; a tenth of the rate of the lowest loss: {suggested:.2g}, the suggestion"
    )
    print(f"set it: --set {options.scheduler.rate_key}={float(f'{value:.2g}')}")
    return suggested


def range_test(options: TrainingOptions, parts: Parts) -> list[Point]:
    """The points up to the divergence, from the weights as they are. Everything is put back."""
    trainer = parts.trainer
    state, schedule, guard = copy.deepcopy(trainer.state()), trainer.schedule, copy.deepcopy(vars(trainer.guard))
    clock = time.monotonic() - trainer.clock
    first = trainer.iteration
    growth = (HIGHEST / LOWEST) ** (1 / (UPDATES - 1))
    points: list[Point] = []
    average, lowest = 0.0, math.inf
    cuda = [trainer.device] if trainer.device.type == "cuda" else []
    with torch.random.fork_rng(cuda), training_arithmetic():
        trainer.schedule = Curve(lambda done: LOWEST * growth ** (done - first) / trainer.progress.brake)
        try:
            for batch in parts.batches.after(first, first + UPDATES):
                rate = trainer.schedule.rate(trainer.iteration + 1) * trainer.progress.brake
                loss = compared(trainer, trainer.step(batch.parts(options.accumulation)))
                if loss is None:
                    continue  # left out: float16's scale is being found, or the next ones end the test
                average = MEMORY * average + (1 - MEMORY) * loss
                smoothed = average / (1 - MEMORY ** (len(points) + 1))
                points.append(Point(len(points) + 1, rate, loss, smoothed))
                lowest = min(lowest, smoothed)
                if smoothed - lowest > (DIVERGED - 1) * abs(lowest):
                    break
        except Diverged:
            pass
        finally:
            trainer.schedule = schedule
            trainer.load_state(state)
            vars(trainer.guard).update(guard)
            trainer.clock = time.monotonic() - clock
            for optimizer in trainer.optimizers.values():
                optimizer.zero_grad(set_to_none=True)
    return points


def compared(trainer: Trainer, terms: Terms) -> float | None:
    """The weighted sum of the terms that compare with the clean image, as in validation: an adversarial term moves with
    the discriminator, and has no lowest value. It counts where it is alone. None: the update was left out."""
    if "loss/total" not in terms:
        return None
    comparing = {name: section for name, section in trainer.loss.sections.items() if section.family != "gan"}
    values = [section.weight * float(terms[f"loss/{name}"]) for name, section in comparing.items() if section.weight]
    return sum(values) if values else float(terms["loss/total"])


def suggestion(points: list[Point]) -> float:
    """A tenth of the learning rate of the lowest smoothed loss: below the brink of divergence by a wide margin.

    Rather this than the steepest descent, which one lucky batch can put anywhere where batches are small.
    """
    return min(points, key=lambda point: point.smoothed).learning_rate / 10


def steepest_descent(points: list[Point]) -> float:
    """The learning rate at which the smoothed loss falls most over a tenth of the updates."""
    span = max(len(points) // 10, 1)
    falls = [before.smoothed - after.smoothed for before, after in zip(points, points[span:], strict=False)]
    return points[falls.index(max(falls)) + span // 2].learning_rate


def plot(name: str, points: list[Point], suggested: float, steepest: float) -> bytes:
    """A PNG of the loss against the learning rate."""
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    rates = [point.learning_rate for point in points]
    axes.plot(rates, [point.loss for point in points], ".", ms=3, color="#b0bec5", label="loss of each update")
    axes.plot(rates, [point.smoothed for point in points], color="#1565c0", label="smoothed")
    axes.axvline(suggested, color="#2e7d32", label=f"suggestion, a tenth of the lowest: {suggested:.2g}")
    axes.axvline(steepest, color="#ef6c00", ls="--", label=f"steepest descent: {steepest:.2g}")
    smoothed = [point.smoothed for point in points]
    low, high = min(smoothed), max(smoothed[:FEWEST])
    margin = (high - low) or abs(high) or 1.0
    axes.set_ylim(low - 0.3 * margin, high + 0.7 * margin)  # the divergence would flatten all else
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.set_title(f"{name}: learning-rate range test")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", fontsize=9)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()
