"""What a search has found: a table, a picture, and the best option file."""

import csv
import io
import json
import math
from typing import Any, NamedTuple

from optuna.trial import FrozenTrial, TrialState

from options.errors import Failure
from restore.files.atomic import write_atomically
from restore.search.picture import picture, short
from restore.search.trials import ITERATION, MINUTES, OWN, REASON, Search

TABLE, PICTURE, BEST = "trials.csv", "trials.png", "best_options.json"
UNFINISHED = "unfinished"
STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: UNFINISHED,
}


class Row(NamedTuple):
    """A trial in the table."""

    number: int
    state: str
    value: float
    """Of the best model of a complete trial; of the last savepoint of a pruned or a running one; nan
    before the first."""
    iteration: int | None
    """The last savepoint."""
    minutes: float | None
    """Time of training, to the best model."""
    values: dict[str, Any]
    """The keys that the trial has set."""
    own: bool
    """Whether the values are the option file's own."""
    reason: str
    """Why it failed."""


def rows_of(search: Search) -> list[Row]:
    """A row for each trial that was begun, in their order."""
    return [_row(search, trial) for trial in search.study.get_trials(deepcopy=False) if trial.state in STATES]


def _row(search: Search, trial: FrozenTrial) -> Row:
    known, reached = trial.user_attrs, trial.intermediate_values
    value = trial.value if trial.value is not None else reached.get(trial.last_step or 0)
    return Row(
        trial.number,
        STATES[trial.state],
        math.nan if value is None else value,
        known.get(ITERATION, trial.last_step),
        known.get(MINUTES),
        search.space.from_stored(trial.params),
        known.get(OWN, False),
        known.get(REASON, ""),
    )


def write_report(search: Search) -> list[str]:
    """Writes the table, the picture and the best option file to the search's folder; returns lines for the user.

    Raises Failure where no trial is complete, after the table is written.
    """
    rows, folder, metric = rows_of(search), search.folder, search.plan.metric
    keys = list(search.space.dimensions)
    write_atomically(folder / TABLE, _csv(rows, keys, metric))
    complete = [row for row in rows if row.state == "complete"]
    if not complete:
        raise Failure(f"{folder}: no trial of {len(rows)} is complete; {folder / TABLE} says how each ended")
    best = rows[[row.number for row in rows].index(search.study.best_trial.number)]
    write_atomically(folder / PICTURE, picture(search, rows, best))
    options = search.space.options_with(search.plan.options, best.values, f"trial {best.number}")
    write_atomically(folder / BEST, options.model_dump_json(by_alias=True, indent=2).encode())
    own = next((f", with the option file as it is {row.value:.5g}" for row in complete if row.own), "")
    counts = {state: sum(row.state == state for row in rows) for state in STATES.values()}
    unfinished = counts[UNFINISHED] and (
        f"so far: {counts[UNFINISHED]} still run in other processes or were stopped; --report {folder} writes this anew"
    )
    return [
        *_console(rows, keys, metric, best),
        f"{len(rows)} trials: {', '.join(f'{count} {state}' for state, count in counts.items() if count)}",
        f"best: trial {best.number}, {metric} {best.value:.5g}{own}; its run is {search.run_folder(best.number)}",
        f"table and picture: {folder / TABLE}, {folder / PICTURE}",
        f"train with the best options: python -m restore.train -opt {folder / BEST}",
        *([unfinished] if unfinished else []),
    ]


def _csv(rows: list[Row], keys: list[str], metric: str) -> bytes:
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["trial", "state", metric, "iteration", "minutes", "own_settings", *keys, "reason"])
    for row in rows:
        cells = [_full(row.values[key]) if key in row.values else "" for key in keys]
        value = "" if math.isnan(row.value) else row.value
        table.writerow([row.number, row.state, value, row.iteration, row.minutes, int(row.own), *cells, row.reason])
    return text.getvalue().encode()


def _console(rows: list[Row], keys: list[str], metric: str, best: Row) -> list[str]:
    lines = [["trial", "", metric, "iteration", *keys]]
    for row in rows:
        value = "" if math.isnan(row.value) else f"{row.value:.5g}"
        cells = [short(row.values[key]) if key in row.values else "-" for key in keys]
        mark = "best" if row is best else row.state
        lines.append([str(row.number), mark, value, str(row.iteration or 0), *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]


def _full(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
