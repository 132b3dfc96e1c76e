"""A run's curves in its folder: curves.csv to compute with, curves.png to look at."""

import csv
import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from options.errors import SaveError
from restore.files.atomic import write_atomically

CSV, PICTURE = "curves.csv", "curves.png"
ITERATION = "iteration"
MOST = 2000  # rows of a training; where there are more, neighbours are averaged
SHARE = 0.02  # of a run's time, for drawing
FIRST_DRAWING = 0.2  # seconds that it takes, as long as it was not measured

Row = dict[str, float]


class Curves:
    """The points of a run's curves, from its first update on, however often it was continued.

    folder     the run's
    baseline   the group of the metrics that validation compares with
    iteration  the last update done: points of later ones, from a process that was killed, are forgotten
    say        takes a line for the user
    curves.csv has a row for each point: iteration, and a column for each curve, empty where it has no value there.
    What cannot be read or written is one warning.
    """

    def __init__(self, folder: Path, baseline: str, iteration: int, say: Callable[[str], None]):
        self.folder = folder
        self.baseline = baseline
        self.say = say
        self.warned = False
        self.drawn_at, self.drawing_took = time.monotonic(), FIRST_DRAWING
        self.rows: dict[int, Row] = {}
        self.kept: set[int] = set()
        if iteration:
            self._read()
        self.forget_after(iteration)

    def add(self, values: Mapping[str, float], iteration: int) -> None:
        """A point of each of these curves. Those of savepoints are all kept."""
        self.rows.setdefault(iteration, {}).update(values)
        if any(name.startswith("validation/") for name in values):
            self.kept.add(iteration)

    def forget_after(self, iteration: int) -> None:
        self.rows = {at: row for at, row in self.rows.items() if at <= iteration}
        self.kept = {at for at in self.kept if at <= iteration}

    def write(self, last: bool = False) -> None:
        """Writes curves.csv, and draws curves.png unless that would take too large a share of the run's time.

        last  whether this is the end, where it is drawn in any case
        """
        if not self.rows:
            return
        self.rows = thinned(self.rows, self.kept)
        begun = time.monotonic()
        try:
            write_atomically(self.folder / CSV, self._table().encode())
            if last or begun - self.drawn_at >= self.drawing_took / SHARE:
                from restore.runs.curves_picture import picture  # matplotlib takes a while to import

                write_atomically(self.folder / PICTURE, picture(self.folder.name, self.rows, self.baseline))
                self.drawn_at = time.monotonic()
                self.drawing_took = self.drawn_at - begun
        except SaveError as error:
            self._warn(str(error))

    def _table(self) -> str:
        names = list(dict.fromkeys(name for row in self.rows.values() for name in row))
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow([ITERATION, *names])
        for iteration, row in sorted(self.rows.items()):
            table.writerow([iteration, *(f"{row[name]:.7g}" if name in row else "" for name in names)])
        return text.getvalue()

    def _read(self) -> None:
        path = self.folder / CSV
        try:
            with path.open(encoding="utf-8", newline="") as file:
                for cells in csv.DictReader(file):
                    iteration = int(cells.pop(ITERATION))
                    self.add({name: float(cell) for name, cell in cells.items() if cell}, iteration)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
            self.rows, self.kept = {}, set()
            self._warn(f"{path}: cannot be read ({error}); the curves begin anew")

    def _warn(self, text: str) -> None:
        if not self.warned:
            self.warned = True
            self.say(f"warning: {text}")


def thinned(rows: dict[int, Row], kept: set[int], most: int = MOST) -> dict[int, Row]:
    """At most so many rows, beside those that are to be kept: of neighbours the mean, at the last one's iteration.

    The rows that are averaged are those of a range of iterations of one length, which is a power of two. So rows that
    were averaged before fall into one range again, and thinning many times gives the curve that thinning once gives.
    """
    length = 1
    while len(rows) - len(kept) > most:
        length *= 2
        ranges: dict[int, list[int]] = {}
        for iteration in sorted(rows):
            if iteration not in kept:
                ranges.setdefault((iteration - 1) // length, []).append(iteration)
        if len(ranges) <= most // 2:
            means = {inside[-1]: _mean([rows[iteration] for iteration in inside]) for inside in ranges.values()}
            rows = dict(sorted(({iteration: rows[iteration] for iteration in kept} | means).items()))
    return rows


def _mean(rows: list[Row]) -> Row:
    names = dict.fromkeys(name for row in rows for name in row)
    values = {name: [row[name] for row in rows if name in row] for name in names}
    return {name: sum(known) / len(known) for name, known in values.items()}
