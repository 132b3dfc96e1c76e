"""What an output folder says of the files that were restored into it: results.json, results.csv and index.html."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from options.errors import UserError
from restore.evaluation.metrics import is_of_a_plane, short
from restore.files.paths import printable
from restore.files.reasons import by_reason
from restore.inference.inputs import Images, LeftOut, Restored
from restore.inference.outputs import REPORT, RESULTS, TABLE, Outputs
from restore.inference.results import Metrics, Results, Row
from restore.inference.showing import shown
from restore.report import Report, Table
from restore.runs.information import Information

MOST_SHOWN = 500
"""Files in the report: of each it holds about half a megabyte."""
WRITTEN_EVERY = 1
"""Longest time for which results.json lacks files that were restored, should the process be killed [s]."""
PATHS = ("model", "input", "target", "profile", "noise_profiles")
"""The keys whose values are paths."""
COLUMNS = ("ISO", "noise removed")


class Record:
    """The results and the report of an output folder. All its files were restored in one way.

    folder     may hold the record of earlier calls, which is continued
    about      how the files are restored, by the keys of results.json, the baselines among them
    images     names of the images that are compared, as Results takes them
    overwrite  whether files restored before are replaced
    Raises UserError where the folder holds files that were restored in another way and are not to be replaced.
    """

    def __init__(
        self,
        folder: Path,
        about: dict[str, Any],
        images: Sequence[str],
        information: Information,
        overwrite: bool = False,
    ):
        self.folder = folder
        self.results = Results(about, images)
        self.report = Report(
            f"Restored with {information.data.get('name') or Path(about['model']).stem}",
            _card(about, information),
            COLUMNS,
        )
        self.left_out: list[LeftOut] = []
        self.overwrite = overwrite
        self._written = -float("inf")
        earlier = _earlier(folder, overwrite)
        if earlier:
            other = [key for key, value in about.items() if not _same(key, earlier.about.get(key), value)]
            if not other:
                self.results.rows = earlier.rows
                self.report.keep(folder / REPORT, set(map(printable, earlier.rows)))
            elif not overwrite:
                what = "; ".join(
                    f"{key} {earlier.about.get(key) or 'none'}, now {about[key] or 'none'}" for key in other
                )
                raise UserError(
                    f"output: {folder} is the folder of another call ({what}); name another folder, or give "
                    f"--overwrite to replace what is in the way"
                )

    def missing(self, file: Path, outputs: Outputs) -> dict[str, Path]:
        """The paths of the formats that are to be written: those that an earlier call wrote are kept."""
        paths = {format_: self.folder / path for format_, path in outputs.restored.items()}
        if self.overwrite:
            return paths
        return {format_: path for format_, path in paths.items() if not self._has(file, format_, path)}

    def taken(self, file: Path, paths: dict[str, Path], outputs: Outputs) -> str | None:
        """Why a file cannot be written: a path holds something that these results do not know. None: it can."""
        row = self.results.rows.get(file.as_posix())
        strip = [] if row and row.strip == outputs.strip.as_posix() else [self.folder / outputs.strip]
        for path in () if self.overwrite else (*paths.values(), *strip):
            if os.path.lexists(path):
                return (
                    f"{printable(path)} is there already, and {RESULTS} does not know it; move it, or give --overwrite"
                )
        return None

    def changed(self, file: Path, source: Path) -> bool:
        """Whether the file has changed since it was restored."""
        row = self.results.rows.get(file.as_posix())
        return not self.overwrite and row is not None and tuple(row.source) != _state(source)

    def _has(self, file: Path, format_: str, path: Path) -> bool:
        row = self.results.rows.get(file.as_posix())
        return (
            row is not None and row.outputs.get(format_) == path.relative_to(self.folder).as_posix() and path.is_file()
        )

    def add(
        self,
        file: Path,
        source: Path,
        outputs: Outputs,
        restored: Restored,
        images: Images,
        metrics: dict[str, Metrics],
    ) -> None:
        """Takes a file that was restored and written. source: its path."""
        name = file.as_posix()
        before = self.results.rows[name].outputs if name in self.results.rows else {}
        row = Row(
            {format_: path for format_, path in before.items() if (self.folder / path).is_file()}
            | {format_: path.as_posix() for format_, path in outputs.restored.items()},
            outputs.strip.as_posix(),
            _state(source),
            restored.size,
            restored.restored_size,
            metrics,
            restored.facts,
            tuple(restored.warnings),
        )
        self.results.add(name, row)
        if len(self.report) < MOST_SHOWN or name in self.report:
            main = {image: _of_whole_images(values) for image, values in metrics.items()} if row.measured else {}
            self.report.add(shown(name, images, _facts(row), metrics=main, warnings=row.warnings))
        if time.monotonic() - self._written > WRITTEN_EVERY:
            self.results.write(self.folder)
            self._written = time.monotonic()

    def reasons(self) -> list[str]:
        """A line for each reason why files were left out."""
        return by_reason((one.file, one.reason) for one in self.left_out)

    def write(self, complete: bool) -> None:
        """Writes the three files, each in one step; none where no file was ever restored.

        complete  whether every file was tried: False where the command was stopped
        """
        if not self.results.rows:
            return
        self.results.complete = complete
        self.results.left_out = [str(one) for one in self.left_out]
        self.results.write(self.folder)
        self.results.write_table(self.folder)
        self.report.tables = _tables(self.results)
        if len(self.report) < len(self.results.rows):
            self.report.about["shown here"] = f"{len(self.report)} of {len(self.results.rows)} files"
        self.report.write(self.folder / REPORT)


def _earlier(folder: Path, overwrite: bool) -> Results | None:
    """The results of earlier calls. UserError where the folder holds files of other origin that would be replaced."""
    try:
        earlier = Results.read(folder)
    except UserError:
        if overwrite:
            return None
        raise
    others = [name for name in (TABLE, REPORT) if os.path.lexists(folder / name)] if earlier is None else []
    if others and not overwrite:
        raise UserError(
            f"output: {folder / others[0]} is there already, and no {RESULTS} beside it; name another folder, or give "
            f"--overwrite to replace it"
        )
    return earlier


def _state(source: Path) -> tuple[int, float]:
    """By which a file is known to be the same as before: its bytes, and when it was changed last."""
    try:
        status = source.stat()
    except OSError:  # gone by now
        return 0, 0.0
    return status.st_size, status.st_mtime


def _same(key: str, before: Any, now: Any) -> bool:
    if key in PATHS and before and now:
        return Path(before).resolve() == Path(now).resolve()
    return before == now


def _card(about: dict[str, Any], information: Information) -> dict[str, str]:
    """The model and how it was used, for a person."""
    data = information.data
    card = {"model": str(about["model"]), "network": str(data.get("model_architecture", "")), "parameters": ""}
    if data.get("number_params"):
        card["parameters"] = f"{data['number_params']:,}"
    if data.get("n_imgs_train"):
        card["trained on"] = f"{data['n_imgs_train']:,} photographs: {', '.join(map(str, data['training_path']))}"
        card["updates"] = f"{data['iteration']:,}"
    for image, metrics in (data.get("validation") or {}).items():
        main = _of_whole_images(metrics)
        card[f"validation, {image}"] = ", ".join(f"{name} {short(name, value)}" for name, value in main.items())
    used = {
        name: value
        for name, value in about.items()
        if name != "model" and not name.endswith("_hash") and value not in (None, False, [])
    }
    return {name: text for name, text in card.items() if text} | {name: str(value) for name, value in used.items()}


def _facts(row: Row) -> dict[str, str]:
    facts = row.facts
    told = {"size": "{} x {} px".format(*row.size), "written": ", ".join(row.outputs.values())}
    if tuple(row.restored_size) != tuple(row.size):
        told["restored size"] = "{} x {} px".format(*row.restored_size)
    if "iso" in facts:
        told["ISO"] = "not known" if facts["iso"] is None else f"{facts['iso']:g}"
    if "noise" in facts:
        told["noise"] = _noise(facts["noise"])
    if facts.get("noise_left") is not None:
        told["noise removed"] = f"{1 - facts['noise_left']:.0%} of its variance"
    if "mean_change" in facts:
        told["mean changed by"] = ", ".join(f"{name} {value:+.3%}" for name, value in facts["mean_change"].items())
    return told


def _noise(noise: dict[str, Any]) -> str:
    numbers = ", ".join(
        f"{name} " + " ".join(f"{value:.3g}" for value in dict.fromkeys(noise[name]))
        for name in ("shot", "read")
        if name in noise
    )
    return f"{noise['from']}: {numbers}" if numbers else noise["from"]


def _of_whole_images(metrics: Metrics) -> Metrics:
    return {name: value for name, value in metrics.items() if not is_of_a_plane(name)}


def _tables(results: Results) -> list[Table]:
    """The means, and those of each ISO speed, where any file was measured."""
    if not results.measured:
        return []
    means = {"all": results.mean()} | {f"ISO {iso:g}": results.mean(iso) for iso in results.speeds}
    rows = [
        {"files": group, "image": image}
        | {name: short(name, value) for name, value in _of_whole_images(values).items()}
        for group, mean in means.items()
        for image, values in mean.items()
    ]
    columns = list({name: None for row in rows for name in row})
    return [Table("Mean over the files", columns, [[row.get(name, "") for name in columns] for row in rows])]
