"""What restore.test found out about each file: as lines for the console, in results.json and in results.csv."""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from options.errors import UserError
from restore.evaluation.metrics import changes
from restore.files.atomic import make_folder, write_atomically
from restore.inference.outputs import RESULTS, TABLE
from transforms import RGGB

RESTORED = "restored"
ABOUT_RESULTS = ("complete", "notes", "mean", "mean_by_iso", "pictures", "left_out")
"""The keys of results.json that do not tell how the files were restored."""
Metrics = dict[str, float | None]
"""By their names; None for one that is not finite."""
Size = tuple[int, int]
"""(width, height) [px]"""
WRITTEN = ("outputs", "strip", "source", "size", "restored_size")
"""The fields of a row on its files."""


class Row(NamedTuple):
    """One restored file."""

    outputs: dict[str, str]
    """The files that were written, inside the output folder, by their format."""
    strip: str
    source: tuple[int, float]
    """Bytes of the file that was read, and when it was changed last [s since 1970]."""
    size: Size
    """Of the file that was read."""
    restored_size: Size
    """Of what was written."""
    metrics: dict[str, Metrics]
    """By the names of the images that are compared, the restored one last; all empty without a clean image."""
    facts: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    """What else results.json says of it."""
    warnings: tuple[str, ...] = ()

    @property
    def measured(self) -> bool:
        return bool(self.metrics.get(RESTORED))


class Results:
    """The restored files of an output folder.

    about   how they were restored, by the keys of results.json: the same for all of them
    images  names of the images that are compared: what a restored image is compared with ("degraded", or "bicubic" in
            super-resolution), classical denoisers, and last RESTORED
    """

    def __init__(self, about: dict[str, Any], images: Sequence[str]):
        self.about, self.images = about, images
        self.rows: dict[str, Row] = {}
        self.notes: list[str] = []
        """Lines for the user on how the files were restored."""
        self.left_out: list[str] = []
        self.complete = False
        """Whether every file was tried: False where the command was stopped."""

    @classmethod
    def read(cls, folder: Path) -> "Results | None":
        """Those that write() wrote into the folder; None where there is no such file. UserError for any other file."""
        path = folder / RESULTS
        if not path.exists():
            return None
        try:
            whole = json.loads(path.read_bytes())
            results = cls({name: whole[name] for name in whole if name not in ABOUT_RESULTS}, list(whole["mean"]))
            results.rows = {file: _row(entry, results.images) for file, entry in whole["pictures"].items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise UserError(
                f"output: {path} is damaged, of another version of the suite or of another program; name another "
                f"folder, or give --overwrite to replace it"
            ) from None
        return results

    def add(self, file: str, row: Row) -> None:
        """Takes a file; a metric that is not a finite number becomes None."""
        self.rows[file] = row._replace(metrics={image: _finite(values) for image, values in row.metrics.items()})

    @property
    def measured(self) -> bool:
        """Whether any file was compared with a clean one."""
        return any(row.measured for row in self.rows.values())

    def mean(self, iso: float | None = None) -> dict[str, Metrics]:
        """Each metric's mean over the files that have it: of all, or of those of one ISO speed."""
        rows = [row for row in self.rows.values() if iso in (None, row.facts.get("iso"))]
        return {image: _mean([row.metrics[image] for row in rows]) for image in self.images}

    @property
    def speeds(self) -> list[float]:
        """The ISO speeds of measured files, where there are several."""
        speeds = {row.facts["iso"] for row in self.rows.values() if row.measured and row.facts.get("iso")}
        return sorted(speeds) if len(speeds) > 1 else []

    def lines(self, files: Iterable[str]) -> list[str]:
        """A line for each of these files and, where any was measured, for the means of all."""
        rows = [(file, _line(self.rows[file])) for file in files]
        if self.measured:
            rows += [(f"mean at ISO {iso:g}", _comparison(self.mean(iso), RESTORED)) for iso in self.speeds]
            name = f"mean of {sum(row.measured for row in self.rows.values())}"
            rows += [(name, _comparison(self.mean(), image)) for image in self.images[1:]]
        width = max((len(name) for name, _ in rows), default=0)
        return [f"{name:<{width}}  {text}".rstrip() for name, text in rows]

    def write(self, folder: Path) -> None:
        """results.json. It keeps the bytes of file names that are not UTF-8, by Python's "surrogateescape"."""
        whole = {
            **self.about,
            "complete": self.complete,
            "notes": self.notes,
            "mean": self.mean(),
            "mean_by_iso": {f"{iso:g}": self.mean(iso) for iso in self.speeds},
            "pictures": {file: _entry(row) for file, row in sorted(self.rows.items())},
            "left_out": self.left_out,
        }
        make_folder(folder)
        write_atomically(folder / RESULTS, json.dumps(whole, indent=2, allow_nan=False).encode())

    def write_table(self, folder: Path) -> None:
        """results.csv: a row for each file and the mean."""
        make_folder(folder)
        write_atomically(folder / TABLE, self._csv().encode("utf-8", "surrogateescape"))

    def _csv(self) -> str:
        rows = [
            {
                "file": file,
                "output": next(iter(row.outputs.values())),
                **dict(zip(("width", "height"), row.size, strict=True)),
                **dict(zip(("restored_width", "restored_height"), row.restored_size, strict=True)),
                **_flat(row.facts),
                **_flat(row.metrics),
                "warnings": "; ".join(row.warnings),
            }
            for file, row in sorted(self.rows.items())
        ]
        if self.measured:
            rows.append({"file": "mean", **_flat(self.mean())})
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list({name: None for row in rows for name in row}))
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def _entry(row: Row) -> dict[str, Any]:
    """As it stands in results.json."""
    fields = row._asdict()
    return {name: fields.pop(name) for name in WRITTEN} | row.metrics | row.facts | {"warnings": row.warnings}


def _row(entry: dict[str, Any], images: Sequence[str]) -> Row:
    """The inverse of _entry. KeyError or ValueError for anything else."""
    written, metrics = ({name: entry.pop(name) for name in names} for names in (WRITTEN, images))
    fields = {**written, "metrics": metrics, "warnings": tuple(entry.pop("warnings")), "facts": entry}
    return TypeAdapter(Row).validate_python(fields)


def _line(row: Row) -> str:
    """What the console says of a file."""
    parts = [_comparison(row.metrics, RESTORED)] if row.measured else []
    if "iso" in row.facts:  # a raw file
        iso, left = row.facts["iso"], row.facts["noise_left"]
        parts += [] if left is None else [f"{1 - left:.0%} of the noise's variance removed"]
        parts.append("ISO not known" if iso is None else f"ISO {iso:g}")
        parts.append(f"noise: {row.facts['noise']['from']}")
    return ", ".join(parts)


def _comparison(metrics: dict[str, Metrics], image: str) -> str:
    """The metrics as those of the image that it is compared with -> its own."""
    compared = next(iter(metrics))
    return f"{changes(metrics[compared], metrics[image])} ({compared} -> {image})"


def _finite(metrics: Metrics) -> Metrics:
    return {name: value if value is not None and math.isfinite(value) else None for name, value in metrics.items()}


def _mean(files: list[Metrics]) -> Metrics:
    finite: dict[str, list[float]] = {name: [] for metrics in files for name in metrics}
    for metrics in files:
        for name, value in metrics.items():
            if value is not None:
                finite[name].append(value)
    return {name: fmean(values) if values else None for name, values in finite.items()}


def _flat(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Numbers and texts by the names that lead to them, joined by "_"; those of R, G1, G2 and B by their names."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, list) and len(value) == len(RGGB.planes):
            value = dict(zip(RGGB.planes, value, strict=True))
        flat |= _flat(value, f"{prefix}{name}_") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
