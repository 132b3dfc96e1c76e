"""The metrics of a restored folder: as lines for the console, in results.json and in results.csv."""

import csv
import io
import json
import math
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from restore.evaluation.metrics import changes
from restore.files.atomic import make_folder, write_atomically
from restore.inference.outputs import RESULTS, TABLE, Outputs

Metrics = dict[str, float | None]
"""By their names; None for one that is not finite."""
Size = tuple[int, int]
"""(width, height) [px]"""


class Row(NamedTuple):
    """One restored picture."""

    outputs: Outputs
    size: Size
    """Of the file that was read."""
    restored_size: Size
    """Of the picture that was written."""
    baseline: Metrics
    """Of what the restored picture is compared with; empty without a clean image to measure by."""
    restored: Metrics
    facts: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    """What else results.json says of it."""


class Results:
    """The pictures of a folder that were restored, and those that were not."""

    def __init__(self, about: dict[str, Any], baseline: str, left_out: list[str]):
        self.about = about
        """How the pictures were restored, by the keys of results.json."""
        self.baseline = baseline
        """What the restored pictures are compared with: "degraded", or in super-resolution "bicubic"."""
        self.rows: dict[str, Row] = {}
        self.left_out = list(left_out)
        self.complete = False
        """Whether every file was tried: False where the command was stopped."""

    def add(self, file: str, row: Row) -> None:
        """Takes a picture; a metric that is not a finite number becomes None."""
        self.rows[file] = row._replace(baseline=_finite(row.baseline), restored=_finite(row.restored))

    @property
    def measured(self) -> bool:
        """Whether any picture was compared with a clean one."""
        return any(row.restored for row in self.rows.values())

    def mean(self) -> dict[str, Metrics]:
        """Each metric's mean over the pictures that have it."""
        measured = [self._metrics(row) for row in self.rows.values()]
        return {image: _mean([metrics[image] for metrics in measured]) for image in (self.baseline, "restored")}

    def lines(self) -> list[str]:
        """A line for each picture and, where any was measured, the mean; each metric as baseline -> restored."""
        rows = {file: self._metrics(row) for file, row in self.rows.items()}
        if self.measured:
            rows[f"mean of {sum(bool(row.restored) for row in self.rows.values())}"] = self.mean()
        width = max(map(len, rows))
        lines = [f"{file:<{width}}  {changes(*metrics.values())}".rstrip() for file, metrics in rows.items()]
        return [*lines[:-1], f"{lines[-1]}  ({self.baseline} -> restored)"] if self.measured else lines

    def write(self, folder: Path) -> None:
        """results.json (everything) and results.csv (a row for each picture and the mean).

        Both keep the bytes of file names that are not UTF-8, by Python's "surrogateescape".
        """
        whole = {
            **self.about,
            "complete": self.complete,
            "mean": self.mean(),
            "pictures": {file: self._entry(row) for file, row in self.rows.items()},
            "left_out": self.left_out,
        }
        make_folder(folder)
        write_atomically(folder / RESULTS, json.dumps(whole, indent=2, allow_nan=False).encode())
        write_atomically(folder / TABLE, self._csv().encode("utf-8", "surrogateescape"))

    def _csv(self) -> str:
        rows = [
            {
                "file": file,
                "output": row.outputs.restored.as_posix(),
                **dict(zip(("width", "height"), row.size, strict=True)),
                **dict(zip(("restored_width", "restored_height"), row.restored_size, strict=True)),
                **_flat(self._metrics(row)),
            }
            for file, row in self.rows.items()
        ]
        rows.append({"file": "mean", **_flat(self.mean())})
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list({name: None for row in rows for name in row}))
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def _entry(self, row: Row) -> dict[str, Any]:
        return {
            "output": row.outputs.restored.as_posix(),
            "strip": row.outputs.strip.as_posix(),
            "size": row.size,
            "restored_size": row.restored_size,
            **self._metrics(row),
            **row.facts,
        }

    def _metrics(self, row: Row) -> dict[str, Metrics]:
        return {self.baseline: row.baseline, "restored": row.restored}


def _finite(metrics: Metrics) -> Metrics:
    return {name: value if value is not None and math.isfinite(value) else None for name, value in metrics.items()}


def _mean(pictures: list[Metrics]) -> Metrics:
    finite: dict[str, list[float]] = {name: [] for picture in pictures for name in picture}
    for picture in pictures:
        for name, value in picture.items():
            if value is not None:
                finite[name].append(value)
    return {name: fmean(values) if values else None for name, values in finite.items()}


def _flat(metrics: dict[str, Metrics]) -> dict[str, Any]:
    return {f"{image}_{name}": value for image, named in metrics.items() for name, value in named.items()}
