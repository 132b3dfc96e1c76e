"""Where a run's numbers and pictures are shown: TensorBoard always, and what "trackers" in the option file names."""

from typing import Annotated

from options.choices import NAME_ALONE, Choices
from restore.tracking.base import TrackedRun, Tracker, TrackerOptions
from restore.tracking.weights_and_biases import WandB

TRACKERS = Choices(TrackerOptions, WandB, shorthand=NAME_ALONE)
TrackerSection = Annotated[TrackerOptions, TRACKERS]

__all__ = ["TRACKERS", "TrackedRun", "Tracker", "TrackerOptions", "TrackerSection", "WandB"]
