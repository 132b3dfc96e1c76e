"""A run's curves as a picture: losses, PSNR, learning rate and momentum, length of the gradient."""

import io
import math
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INCHES, DPI = (12, 8), 100
SMOOTHING = 40  # a noisy curve's mean is drawn over so large a part of its points
DECADES = 0.7  # a range of values from which on a logarithmic axis shows more
BLUE, ORANGE, GREEN, RED, GREY = "#1565c0", "#e65100", "#2e7d32", "#c62828", "#78909c"
METRICS = {"psnr_raw": ("raw", BLUE), "psnr_y": ("Y", GREEN), "psnr_srgb": ("sRGB", ORANGE)}

Rows = Mapping[int, Mapping[str, float]]
Points = tuple[list[int], list[float]]


def picture(title: str, rows: Rows, baseline: str) -> bytes:
    """A PNG of 1200 x 800 pixels.

    rows      the curves' values by iteration and name
    baseline  the group of the metrics that validation compares with
    """
    figure = Figure(figsize=INCHES, dpi=DPI)
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.06, right=0.94, top=0.91, bottom=0.07, hspace=0.24, wspace=0.2)
    figure.suptitle(f"{title}, iteration {max(rows)}", fontsize=13)
    (losses, metrics), (rates, gradients) = figure.subplots(2, 2)
    _losses(losses, rows)
    _metrics(metrics, rows, baseline)
    _rates(rates, rows)
    _gradients(gradients, rows)
    for axes, name in ((losses, "loss"), (metrics, "PSNR [dB]"), (rates, "learning rate"), (gradients, "gradient")):
        axes.set_title(name, fontsize=11, loc="left")
        axes.grid(alpha=0.25, lw=0.6, which="both")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(0, 1.02 * max(rows))
        axes.tick_params(labelsize=9)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=9, frameon=False)
    for axes in (rates, gradients):
        axes.set_xlabel("iteration", fontsize=10)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _losses(axes: Axes, rows: Rows) -> None:
    training, validation = _points(rows, "loss/total"), _points(rows, "validation/loss")
    _noisy(axes, training, "training", BLUE)
    axes.plot(*validation, "o-", ms=_size(validation), lw=1.2, color=ORANGE, label="validation")
    _logarithmic(axes, training[1] + validation[1])


def _metrics(axes: Axes, rows: Rows, baseline: str) -> None:
    for metric, (name, colour) in METRICS.items():
        restored, compared = _points(rows, f"validation/{metric}"), _points(rows, f"{baseline}/{metric}")
        if restored[0]:
            label = f"{name}, restored: {restored[1][-1]:.2f}"
            axes.plot(*restored, "o-", ms=_size(restored), lw=1.2, color=colour, label=label)
        if compared[0]:
            label = f"{name}, {baseline}: {compared[1][-1]:.2f}"
            axes.axhline(compared[1][-1], ls="--", lw=1.2, color=colour, label=label)


def _rates(axes: Axes, rows: Rows) -> None:
    points = _points(rows, "learning_rate/generator")
    axes.plot(*points, lw=1.4, color=GREEN, label="learning rate")
    if not _logarithmic(axes, points[1]) and points[1]:
        axes.set_ylim(0, 1.2 * max(points[1]))
    momentum = _points(rows, "momentum/generator")
    if momentum[0]:
        other = axes.twinx()
        other.plot(*momentum, lw=1.2, ls="--", color=GREY)
        other.spines["top"].set_visible(False)
        other.tick_params(labelsize=9)
        axes.plot([], [], lw=1.2, ls="--", color=GREY, label="momentum (right axis)")


def _gradients(axes: Axes, rows: Rows) -> None:
    values = []
    for name, colour in (("generator", RED), ("discriminator", GREY)):
        points = _points(rows, f"gradient_norm/{name}")
        if points[0]:
            _noisy(axes, points, f"norm, {name}", colour)
            values += points[1]
    _logarithmic(axes, values)


def _noisy(axes: Axes, points: Points, label: str, colour: str) -> None:
    """The points as they are, faintly, and their moving mean."""
    iterations, values = points
    reach = max(1, len(values) // SMOOTHING // 2)
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    ends = [(max(0, n - reach), min(len(values), n + reach + 1)) for n in range(len(values))]
    means = [(sums[end] - sums[begin]) / (end - begin) for begin, end in ends]
    axes.plot(iterations, values, lw=0.8, alpha=0.3, color=colour)
    axes.plot(iterations, means, lw=1.4, color=colour, label=label)


def _points(rows: Rows, name: str) -> Points:
    known = [at for at in sorted(rows) if math.isfinite(rows[at].get(name, math.nan))]
    return known, [rows[at][name] for at in known]


def _size(points: Points) -> float:
    """Of the marker of a savepoint: where there are many they would hide the line."""
    return 4 if len(points[0]) <= 40 else 0


def _logarithmic(axes: Axes, values: list[float]) -> bool:
    """A logarithmic axis where all values are positive and it shows more than a linear one; returns whether it is."""
    logarithmic = bool(values) and min(values) > 0 and math.log10(max(values) / min(values)) > DECADES
    if logarithmic:
        axes.set_yscale("log")
    return logarithmic
