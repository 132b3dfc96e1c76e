"""What a tracker is told about a run, and what an option file says of one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from options.base import Options


class TrackedRun(NamedTuple):
    """The run that a tracker shows."""

    folder: Path
    """The run's own, under model_zoo; its name is the run's."""
    iteration: int
    """The last update done. What a process that was killed told of later ones is to be forgotten."""
    options: dict[str, Any]
    """The option file as resolved, as JSON data."""
    card: dict[str, str]
    """What the model is: its architecture, parameters, data, software, each under a heading."""
    baseline: str
    """The group of the metrics that validation compares with: "degraded", or in super-resolution "bicubic"."""


class Tracker(ABC):
    """Shows a run while it trains. Whatever a method raises ends the tracker with a warning, and never the run.

    Names of values are "group/name": loss/total, learning_rate/generator, validation/psnr_raw of the restored images
    and, under the run's baseline, degraded/psnr_raw of the degraded ones, best_model/psnr_raw.
    """

    @abstractmethod
    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        """A point of each of these curves."""

    @abstractmethod
    def image(self, name: str, image: Tensor, iteration: int) -> None:
        """image  (3, H, W) sRGB 0..1"""

    @abstractmethod
    def settle(self, iteration: int) -> None:
        """The run's state is saved: what was told up to this iteration stays true."""

    @abstractmethod
    def forget_after(self, iteration: int) -> None:
        """The run goes on from this earlier iteration: the later ones are done once more."""

    @abstractmethod
    def close(self) -> None:
        """The last that is told."""


class TrackerOptions(Options):
    """A tracker beside TensorBoard."""

    class_name: str

    def build(self, run: TrackedRun) -> Tracker:
        """Begins to track the run, or goes on with it."""
        raise NotImplementedError
