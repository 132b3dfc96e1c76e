"""A search as a picture: how it went, which keys matter, and which values gave what."""

import io
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from options.mistakes import shortened
from restore.search.space import Dimension
from restore.search.trials import Search

if TYPE_CHECKING:
    from restore.search.report import Row

INCHES, DPI = (13, 10), 100
BLUE, ORANGE, GREEN, RED, GREY = "#1565c0", "#e65100", "#2e7d32", "#c62828", "#78909c"
UNUSED = -0.12
"""Height at which a line crosses the axis of a key that its trial has not set."""
BOX = {"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.7}
"""Behind the words on an axis."""
LONGEST = 24
"""Characters of a value."""
FAR = 3
"""The metric's axis ends so many times the spread of the better half of the complete trials beyond that half."""


def picture(search: Search, rows: Sequence["Row"], best: "Row") -> bytes:
    """A PNG of 1300 x 1000 pixels: history, importance, parallel coordinates."""
    figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{search.folder.name}: {len(rows)} trials", fontsize=13)
    halves = figure.add_gridspec(2, 1)
    upper, lower = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    history, importance = upper.subplots(1, 2, width_ratios=[3, 2])
    measured = [row for row in rows if not math.isnan(row.value) and row.state in ("complete", "pruned")]
    _history(history, search, measured)
    _importance(importance, search)
    _parallel_coordinates(lower, search, measured, best)
    for axes, name in ((history, "history; what is far worse is drawn at the edge"), (importance, "importance")):
        axes.set_title(name, fontsize=11, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _history(axes: Axes, search: Search, rows: Sequence["Row"]) -> None:
    metric = search.plan.metric
    low, high = _shown(rows, search)
    for state, colour, filling, label in (
        ("complete", BLUE, BLUE, "complete"),
        ("pruned", GREY, "none", "pruned, last savepoint"),
    ):
        points = [(row.number, min(max(row.value, low), high)) for row in rows if row.state == state]
        if points:
            axes.plot(*zip(*points, strict=True), "o", ms=6, color=colour, mfc=filling, label=label)
    complete = [row for row in rows if row.state == "complete"]
    reached = (np.minimum if metric == "loss" else np.maximum).accumulate([row.value for row in complete])
    numbers = [*(row.number for row in complete), rows[-1].number]
    axes.step(numbers, [*reached, reached[-1]], where="post", color=ORANGE, lw=1.4, label="best so far")
    for row in complete:
        if row.own:
            axes.axhline(row.value, color=GREEN, lw=1.2, ls="--", label="the option file as it is")
    margin = 0.05 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlabel("trial", fontsize=10)
    axes.set_ylabel(metric, fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25, lw=0.6)
    axes.legend(fontsize=9, frameon=False)


def _importance(axes: Axes, search: Search) -> None:
    """By PED-ANOVA, of the complete trials."""
    with warnings.catch_warnings(action="ignore"):  # of few trials, which the picture shows
        found = optuna.importance.get_param_importances(search.study)
    shares = sorted(found.items(), key=lambda item: item[1]) if any(found.values()) else []
    axes.barh([_wrapped(key) for key, _ in shares], [share for _, share in shares], color=BLUE, height=0.6)
    for place, (_, share) in enumerate(shares):
        axes.annotate(f"{share:.2f}", (share, place), (4, 0), textcoords="offset points", va="center", fontsize=9)
    if not shares:
        axes.text(0.5, 0.5, "too few complete trials", ha="center", transform=axes.transAxes, color=GREY)
    axes.set_xlim(0, 1.1)
    axes.set_xlabel("share of what separates the better trials", fontsize=10)


def _parallel_coordinates(figure: SubFigure, search: Search, rows: Sequence["Row"], best: "Row") -> None:
    axes = figure.subplots()
    dimensions = search.space.dimensions
    low, high = _shown(rows, search)
    better = search.plan.metric != "loss"
    colours, scale = colormaps["viridis" if better else "viridis_r"], Normalize(low, high if high > low else low + 1)
    places = range(len(dimensions) + 1)
    for row in sorted(rows, key=lambda row: (row is best, row.value if better else -row.value)):
        heights = [_height(dimension, row.values.get(key)) for key, dimension in dimensions.items()]
        heights.append(min(max(scale(row.value), 0), 1))
        width, colour = (3.0, RED) if row is best else (1.3, colours(scale(row.value)))
        axes.plot(places, heights, lw=width, color=colour, alpha=0.8 if row.state == "complete" else 0.35)
    for place, dimension in enumerate(dimensions.values()):
        axes.axvline(place, color="black", lw=0.8)
        for height, text in _ticks(dimension):
            axes.annotate(text, (place, height), (5, 0), textcoords="offset points", va="center", fontsize=8, bbox=BOX)
        if dimension.when:
            axes.annotate(
                "not set", (place, UNUSED), (5, 0), textcoords="offset points", va="center", fontsize=8, bbox=BOX
            )
    axes.axvline(len(dimensions), color="black", lw=0.8)
    axes.set_xticks(list(places), [*(_wrapped(key) for key in dimensions), search.plan.metric], fontsize=9)
    axes.set_yticks([])
    axes.set_ylim(UNUSED - 0.06, 1.06)
    axes.set_xlim(-0.1, len(dimensions) + 0.1)
    axes.spines[:].set_visible(False)
    axes.set_title("parallel coordinates; the best in red, pruned trials pale", fontsize=11, loc="left")
    figure.colorbar(ScalarMappable(scale, colours), ax=axes, pad=0.01, fraction=0.03).ax.tick_params(labelsize=9)


def _height(dimension: Dimension, value: Any) -> float:
    """Where on its axis a value lies, 0 to 1."""
    if value is None and (dimension.choices is None or None not in dimension.choices):
        return UNUSED
    if dimension.choices is not None:
        return dimension.choices.index(value) / max(len(dimension.choices) - 1, 1)
    scale = math.log if dimension.log else float
    low, high = scale(dimension.low), scale(dimension.high)
    return (scale(value) - low) / (high - low)


def _ticks(dimension: Dimension) -> list[tuple[float, str]]:
    if dimension.choices is not None:
        return [(_height(dimension, choice), _cut(short(choice))) for choice in dimension.choices]
    low, high = dimension.low, dimension.high
    middle = math.sqrt(low * high) if dimension.log else (low + high) / 2
    return [(_height(dimension, value), f"{value:.3g}") for value in (low, middle, high)]


def _shown(rows: Sequence["Row"], search: Search) -> tuple[float, float]:
    """The ends of the metric's axis, so that trials that went wrong do not squeeze the good ones together."""
    ordered = sorted((row.value for row in rows if row.state == "complete"), reverse=search.plan.metric != "loss")
    best, middle, worst = ordered[0], ordered[len(ordered) // 2], ordered[-1]
    far = best + (1 + FAR) * (middle - best)
    edge = min(worst, far) if worst >= best else max(worst, far)
    return min(best, edge), max(best, edge)


def short(value: Any) -> str:
    """A value as a column and an axis show it."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else shortened(value)


def _wrapped(key: str) -> str:
    """A key whose last part has a line to itself."""
    sections, dot, last = key.rpartition(".")
    return f"{sections}{dot}\n{last}" if dot else last


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2 - 1]}...{text[-LONGEST // 2 + 2 :]}"
