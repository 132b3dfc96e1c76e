"""Stages of a run: parts with a crop size and a batch size of their own, as the option file writes them."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated, Any

from pydantic import Field, PositiveInt

from options.base import Options
from restore.training.rates import Schedule


class StageOptions(Options):
    """A part of a run. What it leaves out is as the rest of the file says."""

    iterations: Annotated[PositiveInt, Field(le=10**12)] | None = None
    """Updates of this stage; the last stage has none, and lasts until the run ends."""
    crop_size: Annotated[PositiveInt, Field(le=65536)] | None = None
    """Height and width of the crop in transforms_train [px]; null: as it is written there. Photographs that are too
    small for the largest crop are left out of all stages."""
    batch_size: Annotated[PositiveInt, Field(le=65536)] | None = None
    """Crops to one update; null: the file's batch_size."""


def begins(stages: Sequence[StageOptions]) -> list[int]:
    """The iterations made before each stage. A run without stages is one."""
    return [0, *accumulate(stage.iterations or 0 for stage in stages[:-1])]


class Restarting(Schedule):
    """A schedule for each stage, which begins anew with it."""

    def __init__(self, schedules: Sequence[Schedule], begins: Sequence[int]):
        self.schedules, self.begins = schedules, begins

    def rate(self, iteration: int) -> float:
        stage = self._stage(iteration)
        return self.schedules[stage].rate(iteration - self.begins[stage])

    def momentum(self, iteration: int) -> float | None:
        stage = self._stage(iteration)
        return self.schedules[stage].momentum(iteration - self.begins[stage])

    def after_validation(self, iteration: int, loss: float) -> None:
        stage = self._stage(iteration)
        self.schedules[stage].after_validation(iteration - self.begins[stage], loss)

    def state_dict(self) -> dict[str, Any]:
        return {str(stage): schedule.state_dict() for stage, schedule in enumerate(self.schedules)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for stage, schedule in enumerate(self.schedules):
            schedule.load_state_dict(state[str(stage)])

    def _stage(self, iteration: int) -> int:
        return max(stage for stage, begin in enumerate(self.begins) if begin < max(iteration, 1))
