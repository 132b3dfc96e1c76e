"""Learning-rate schedules: the learning rate as a number for each iteration, as the option file writes them."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from options.base import Options
from options.choices import Choices

THRESHOLD = 1e-4  # share of the lowest loss by which another must be lower to count as such; torch's default
SMALLEST_STEP = 1e-8  # a smaller fall of the learning rate is not made; torch's default eps


class Schedule:
    """The learning rate of a run of known length. One schedule serves generator and discriminator."""

    def rate(self, iteration: int) -> float:
        """The learning rate of the update that makes this iteration, counted from 1."""
        raise NotImplementedError

    def at(self, iteration: int) -> "Schedule":
        """What hears of the savepoint at this iteration: of several schedules in a row the one that is in force."""
        return self

    def after_validation(self, loss: float) -> None:
        """Hears of a savepoint's validation loss. Most schedules take no notice."""

    def state_dict(self) -> dict[str, Any]:
        """What a continued run must know beyond the options; nothing where the rate follows from the iteration."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what state_dict gave."""


class ScheduleOptions(Options):
    """What the sections of all schedules have in common."""

    class_name: str

    def build(self, initial: float, iterations: int) -> Schedule:
        """The schedule of a run.

        initial     learning rate of the first update
        iterations  updates of the whole run
        """
        raise NotImplementedError

    def contradictions(self, initial: float) -> list[str]:
        """What does not go with this initial learning rate, a line each: "field: what is wrong, and the remedy"."""
        return []

    def information(self) -> dict[str, Any]:
        """The schedule's keys in the information file beside a model."""
        return {"decay_factor": None, "decay_step": self.class_name.lower(), "lr_patience": None}


class FallingSchedule(ScheduleOptions):
    """What the schedules that end at a lower learning rate have in common."""

    min_lr: NonNegativeFloat
    """Where the learning rate stops falling."""

    def contradictions(self, initial: float) -> list[str]:
        if self.min_lr < initial:
            return []
        return [
            f"min_lr: {self.min_lr} is not below optimizer.initial_learning_rate, {initial}, so the learning rate "
            f"would never fall; give a smaller one"
        ]


class ReduceLROnPlateau(FallingSchedule):
    """Multiplies the learning rate by a factor when the validation loss has not fallen for some savepoints."""

    class_name: Literal["ReduceLROnPlateau"] = "ReduceLROnPlateau"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """What the learning rate is multiplied by."""
    patience: NonNegativeInt = 10
    """Savepoints without a lower validation loss that are let pass."""
    min_lr: NonNegativeFloat = 3.125e-06
    """Where the learning rate stops falling."""

    def build(self, initial: float, iterations: int) -> Schedule:
        return Plateau(self, initial)

    def information(self) -> dict[str, Any]:
        return {"decay_factor": self.factor, "decay_step": "auto_plateau", "lr_patience": self.patience}


class Cosine(FallingSchedule):
    """Lowers the learning rate along half a cosine wave, from its initial value to min_lr at the end of the run.

    A run that is continued with another length follows the wave of the new length from there on.
    Source: Loshchilov and Hutter, SGDR, 2017, equation 5, without restarts.
    """

    class_name: Literal["Cosine"] = "Cosine"
    min_lr: NonNegativeFloat = 0.0
    """The learning rate to which the last update comes near; the wave would reach it with the update after."""

    def build(self, initial: float, iterations: int) -> Schedule:
        return CosineWave(initial, self.min_lr, iterations)


SCHEDULES = Choices(ScheduleOptions, ReduceLROnPlateau, Cosine)
ScheduleSection = Annotated[ScheduleOptions, SCHEDULES]


class Plateau(Schedule):
    """The values of torch.optim.lr_scheduler.ReduceLROnPlateau, whose threshold and eps are left at their defaults."""

    def __init__(self, options: ReduceLROnPlateau, initial: float):
        self.options = options
        self.current = initial
        self.lowest_loss = math.inf
        self.savepoints_since = 0

    def rate(self, iteration: int) -> float:
        return self.current

    def after_validation(self, loss: float) -> None:
        if loss < self.lowest_loss * (1 - THRESHOLD):
            self.lowest_loss, self.savepoints_since = loss, 0
            return
        self.savepoints_since += 1
        if self.savepoints_since > self.options.patience:
            lower = max(self.current * self.options.factor, self.options.min_lr)
            if self.current - lower > SMALLEST_STEP:
                self.current = lower
            self.savepoints_since = 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "current": self.current,
            "lowest_loss": self.lowest_loss,
            "savepoints_since": self.savepoints_since,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.current = float(state["current"])
        self.lowest_loss = float(state["lowest_loss"])
        self.savepoints_since = int(state["savepoints_since"])


class CosineWave(Schedule):
    """initial at the first update, min_lr after the last: min_lr + (initial - min_lr) (1 + cos(pi n / N)) / 2."""

    def __init__(self, initial: float, min_lr: float, iterations: int):
        self.initial = initial
        self.min_lr = min_lr
        self.iterations = iterations

    def rate(self, iteration: int) -> float:
        done = min((iteration - 1) / self.iterations, 1.0)
        return self.min_lr + (self.initial - self.min_lr) * (1 + math.cos(math.pi * done)) / 2
