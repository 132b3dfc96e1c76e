"""What was measured on a folder of pictures: lines for the console, results.json and results.csv."""

import csv
import io
import json
from pathlib import Path
from statistics import fmean
from typing import Any

from restore.files.atomic import write_atomically

Metrics = dict[str, float]


class Results:
    """Metrics of each picture, as it went in and restored. Pictures without a clean one to compare with have none."""

    def __init__(self, model: str, iso: int | None = None):
        self.model = model
        self.iso = iso
        """ISO speed that was asked for; None: as in the model's validation."""
        self.pictures: dict[str, dict[str, Metrics]] = {}
        self.left_out: list[str] = []

    def add(self, file: str, degraded: Metrics, restored: Metrics) -> None:
        """Takes the metrics of a picture by their names."""
        self.pictures[file] = {"noisy": degraded, "restored": restored}

    def mean(self) -> dict[str, Metrics]:
        """Each metric's mean over the pictures that have it."""
        means = {}
        for images in ("noisy", "restored"):
            measured = [picture[images] for picture in self.pictures.values() if picture[images]]
            means[images] = {name: fmean(one[name] for one in measured) for name in (measured[0] if measured else {})}
        return means

    def lines(self) -> list[str]:
        """A table: a line for each picture and the mean, each metric as noisy -> restored."""
        rows = {**self.pictures, f"mean of {len(self.pictures)}": self.mean()}
        width = max(map(len, rows))
        return [f"{file:<{width}}  {_changes(**metrics)}".rstrip() for file, metrics in rows.items()]

    def write(self, folder: Path) -> None:
        """results.json (everything) and results.csv (a row for each picture and the mean)."""
        about = {"model": self.model, "iso": self.iso}
        whole = {**about, "mean": self.mean(), "pictures": self.pictures, "left_out": self.left_out}
        write_atomically(folder / "results.json", json.dumps(whole, indent=2).encode())
        write_atomically(folder / "results.csv", self._csv().encode())

    def _csv(self) -> str:
        rows = [{"file": file, **_flat(metrics)} for file, metrics in {**self.pictures, "mean": self.mean()}.items()]
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[-1]))
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def _changes(noisy: Metrics, restored: Metrics) -> str:
    return "  ".join(f"{name} {_short(name, noisy[name])} -> {_short(name, restored[name])}" for name in restored)


def _short(name: str, value: float) -> str:
    return f"{value:5.2f}" if name.startswith("psnr") else f"{value:.4f}"


def _flat(metrics: dict[str, Metrics]) -> dict[str, Any]:
    return {f"{images}_{name}": value for images, named in metrics.items() for name, value in named.items()}
