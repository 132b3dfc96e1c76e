"""Makes every chart, degrades, restores and measures it, and writes what was found: numbers, plots and pictures."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from options.errors import UserError
from restore.chart import edge, measures, patterns
from restore.chart.charts import CHARTS, Images, Measured, summary
from restore.data.batches import seeded_generator
from restore.evaluation.metrics import rendered
from restore.evaluation.strips import strip
from restore.files.atomic import make_folder, write_atomically
from restore.files.images import to_uint, write_image
from restore.inference.inputs import Images as Compared
from restore.inference.restorer import Restorer
from restore.inference.showing import shown
from restore.report import Report, Table
from transforms import RGGB, RawMetadata
from transforms.noise import Dng, NoiseModel, add_noise
from transforms.sensor.cameras import NEUTRAL

NUMBERS, PAGE = "chart.json", "index.html"
LEAST_CONTRAST = 0.01
SMALLEST, LARGEST = 256, 2048
"""Sides of a chart [px]: the edge of a smaller one is not measured to 2 %, and a larger one takes gigabytes."""
DEFAULT_ISO, HIGHEST_ISO = 1600, 10_000_000
SHOWN = 1024
"""Pixels of a chart's side in its strip."""


class ChartReport(NamedTuple):
    """What a model does to the charts. Dictionaries of charts are by the names of CHARTS."""

    numbers: dict[str, Any]
    """The content of chart.json: how the charts were made, the summary, and all that was measured of each chart."""
    measured: dict[str, Measured]
    images: dict[str, Images]
    metadata: RawMetadata
    """Of the images."""

    def table(self) -> Table:
        """The summary, a row for each image."""
        columns = (
            "MTF50 [cycles/px]",
            "faint detail [%]",
            "noise of grey [%]",
            "correlation [px]",
            "DE2000",
            "largest",
        )
        rows = []
        for image, row in self.numbers["summary"].items():
            percent = {name: 100 * row[name] for name in ("faint_detail", "grey_noise")}
            rows.append([image, *("-" if value is None else f"{value:.3g}" for value in (row | percent).values())])
        return Table("Summary", ["image", *columns], rows)

    def lines(self) -> list[str]:
        """The summary for the console."""
        _, (_, *columns), rows = self.table()
        lines = ["  ".join((" " * 8, *columns))]
        for image, *texts in rows:
            lines.append(
                "  ".join([image, *(text.rjust(len(name)) for name, text in zip(columns, texts, strict=True))])
            )
        return lines

    def write(self, folder: Path) -> None:
        """Writes chart.json, of each chart its plot and its strip degraded | restored | clean, and the page for a
        browser. Raises UserError for a folder that holds other files, some of which it could replace."""
        make_folder(folder)
        if not (folder / NUMBERS).exists() and any(folder.iterdir()):
            raise UserError(f"output: {folder} holds other files; give a new folder, or one of test charts")
        for name, chart in CHARTS.items():
            plot, pictures = folder / f"{name}.png", folder / f"{name}_strip.png"
            write_atomically(plot, chart.plot(self.measured[name], self.numbers["contrast"]))
            rows = [rendered(image, self.metadata, RGGB) for image in self.images[name].values()]
            write_image(pictures, to_uint(strip(rows, SHOWN), np.uint8))
        write_atomically(folder / NUMBERS, json.dumps(self.numbers, indent=2, allow_nan=False).encode())
        self._page(folder).write(folder / PAGE)

    def _page(self, folder: Path) -> Report:
        """The summary, the plots that lie in the folder, and each chart before and after."""
        made = {name: self.numbers[name] for name in ("noise_model", "iso", "contrast", "size", "seed")}
        about = {name.replace("_", " "): str(value) for name, value in made.items() if value is not None}
        page = Report("Test charts", {"model": self.numbers["model"]} | about)
        page.tables.append(self.table())
        for name, chart in CHARTS.items():
            page.figure(chart.title, folder / f"{name}.png", chart.shows)
        for name, images in self.images.items():
            degraded, restored, clean = (images[image] for image in ("degraded", "restored", "clean"))
            compared = Compared(degraded, restored, clean, RGGB, self.metadata, self.metadata.noise)
            page.add(shown(CHARTS[name].title, compared, {"its plot": CHARTS[name].shows}))
        return page


def measure_charts(
    restorer: Restorer,
    noise_model: NoiseModel | None = None,
    iso: int | None = None,
    contrast: float = 0.6,
    size: int = 512,
    seed: int = 0,
    tile: int = 512,
) -> ChartReport:
    """Makes every chart as clean raw, adds noise, restores it and measures all three images.

    noise_model  None: that of a typical camera (Dng)
    iso          ISO speed of the noise; None: 1600, where the noise model goes by it
    contrast     (brightest - darkest) / (brightest + darkest) light of the charts, 0.01 to 1
    size         side of a chart [px of the sensor], even, 256 to 2048
    seed         of the noise
    tile         as of a Restorer's call
    Raises UserError for a model or an argument that does not fit.
    """
    noise_model = noise_model or Dng()
    _check(restorer, noise_model, iso, contrast, size)
    speed = iso or DEFAULT_ISO
    noise = noise_model.draw(speed, seeded_generator(seed, "noise model"))
    images: dict[str, Images] = {}
    for name, chart in CHARTS.items():
        clean = chart.raw(size, contrast)
        degraded = add_noise(clean, noise, seeded_generator(seed, name))
        restored = restorer(degraded, noise.profile(), tile)
        if not restored.isfinite().all():
            raise UserError(f"restorer: {restorer.path} makes numbers that are not finite; take another model")
        images[name] = {"degraded": degraded, "restored": restored, "clean": clean}
    measured = {name: chart.measure(images[name], contrast) for name, chart in CHARTS.items()}
    about = {
        "model": str(restorer.path),
        "noise_model": noise_model.model_dump(mode="json"),
        "iso": speed if noise_model.heeds_iso else None,
        "contrast": contrast,
        "size": size,
        "seed": seed,
        "lens_blur": patterns.LENS_BLUR,
        "summary": summary(measured),
        "axes": {
            "mtf_frequency": edge.FREQUENCIES,
            "wave_frequency": measures.FREQUENCIES,
            "sweep_contrast": contrast * np.array(patterns.STRENGTHS),
            "patches": list(patterns.PATCHES),
        },
    }
    return ChartReport(_plain(about | measured), measured, images, RawMetadata(NEUTRAL, noise.profile()))


def _check(restorer: Restorer, noise_model: NoiseModel, iso: int | None, contrast: float, size: int) -> None:
    if not restorer.layout.raw:
        raise UserError(
            f"restorer: {restorer.path} restores {restorer.layout.name} pictures, and the charts are raw images; "
            f"take a model of raw images"
        )
    if restorer.scale > 1:
        raise UserError(
            f"restorer: {restorer.path} enlarges {restorer.scale} times, and the charts measure models that keep the "
            f"size; take one of these"
        )
    if iso is not None and not noise_model.heeds_iso:
        raise UserError(f"iso: {iso} given, and the noise of {noise_model.class_name} is the same at any; leave it out")
    if iso is not None and not 1 <= iso <= HIGHEST_ISO:
        raise UserError(f"iso: {iso} given; give an ISO speed from 1 to {HIGHEST_ISO}")
    if not LEAST_CONTRAST <= contrast <= 1:
        raise UserError(f"contrast: {contrast} given; give a number from {LEAST_CONTRAST} to 1")
    if size % 2 or not SMALLEST <= size <= LARGEST:
        raise UserError(f"size: {size} given; give an even number of pixels from {SMALLEST} to {LARGEST}")


def _plain(value: Any) -> Any:
    """The same as JSON knows it: named tuples as sections, arrays as lists, numbers that are not finite as null."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
