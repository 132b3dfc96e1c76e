"""TensorBoard's files, arranged so that what a user looks for comes first and is open."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from restore.files.atomic import make_folder
from restore.tracking.base import TrackedRun, Tracker

LOGS = Path("tensorboard_logs")
GROUPS = ("validation", "loss", "best_model", "discriminator", "learning_rate", "momentum", "gradient_norm", "speed")
"""In the order in which they are shown. TensorBoard sorts groups by name and opens the first two: they are numbered."""
RESTORED = "validation"
LONGEST = 200  # characters of a hyperparameter
NO_HYPERPARAMETERS = {
    "$schema", "name", "accumulation", "compile", "workers", "prefetch", "trackers", "validate_every",
    "training_path", "testing_path", "transforms_test",
}  # fmt: skip
"""Keys of the option file by which no two runs are compared: they do not change what is learned, or are no numbers."""


class TensorBoard(Tracker):
    """The run's files in tensorboard_logs/<name>.

    The baseline's metrics go to a run of their own, such as <name>/degraded, under the tags of the restored images:
    TensorBoard draws both as lines of one chart.
    """

    def __init__(self, run: TrackedRun):
        self.run = run
        self.folder = LOGS / run.folder.name
        self.shown_as_hyperparameters = False
        self._open(run.iteration)
        options = json.dumps(run.options, indent=2)
        card = "\n".join(f"| {heading} | {text} |" for heading, text in run.card.items())
        self.writer.add_text("1_model", f"| | |\n|---|---|\n{card}", run.iteration)
        self.writer.add_text("2_option_file", f"```json\n{options}\n```", run.iteration)

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        for name, value in values.items():
            group, _, rest = name.partition("/")
            if group == self.run.baseline:
                self.baseline.add_scalar(tag_of(f"{RESTORED}/{rest}"), value, iteration)
            else:
                self.writer.add_scalar(tag_of(name), value, iteration)
        best = {tag_of(name): value for name, value in values.items() if name.startswith("best_model/")}
        if best and not self.shown_as_hyperparameters:
            self.shown_as_hyperparameters = True
            compared = {key: value for key, value in self.run.options.items() if key not in NO_HYPERPARAMETERS}
            for summary in hparams(flattened(compared), best):
                self.writer._get_file_writer().add_summary(summary)

    def image(self, name: str, image: Tensor, iteration: int) -> None:
        self.writer.add_image(tag_of(name), image, iteration)

    def settle(self, iteration: int) -> None:
        for writer in (self.writer, self.baseline):
            writer.flush()

    def forget_after(self, iteration: int) -> None:
        self.close()
        self._open(iteration)

    def close(self) -> None:
        for writer in (self.writer, self.baseline):
            writer.close()

    def _open(self, iteration: int) -> None:
        folder = make_folder(self.folder.parent) / self.folder.name
        self.writer = SummaryWriter(str(folder), purge_step=iteration + 1)
        self.baseline = SummaryWriter(str(folder / self.run.baseline), purge_step=iteration + 1)


def tag_of(name: str) -> str:
    """TensorBoard's tag of a value: its group numbered by GROUPS; those that are not there are one group, the last."""
    group, _, rest = name.partition("/")
    if group in GROUPS:
        return f"{GROUPS.index(group) + 1}_{group}/{rest}"
    return f"{len(GROUPS) + 1}_other/{name.replace('/', '_')}"


def flattened(data: Any, place: str = "") -> dict[str, bool | int | float | str]:
    """The values of an option file by their places, as --set names them: {"generator.class_name": "UNet", ...}."""
    if isinstance(data, dict) and data:
        items = list(data.items())
    elif isinstance(data, list) and any(isinstance(item, dict) for item in data):
        items = list(enumerate(data))
    else:
        plain = isinstance(data, bool | int | float | str)
        return {} if data is None else {place: data if plain else json.dumps(data)[:LONGEST]}
    parts = [flattened(value, f"{place}.{key}" if place else str(key)) for key, value in items]
    return {name: value for part in parts for name, value in part.items()}
