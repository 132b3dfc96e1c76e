"""Learning rates as numbers for an iteration: what the sections in schedules.py build."""

import math
from collections.abc import Callable
from typing import Any

THRESHOLD = 1e-4  # share of the lowest loss by which another must be lower to count as such; torch's default
SMALLEST_STEP = 1e-8  # a smaller fall of the learning rate is not made; torch's default eps


class Schedule:
    """The learning rate of a run of known length. One schedule serves generator and discriminator."""

    def rate(self, iteration: int) -> float:
        """The learning rate of the update that makes this iteration, counted from 1."""
        raise NotImplementedError

    def momentum(self, iteration: int) -> float | None:
        """SGD's momentum, or Adam's first beta, for this update; None: as the optimiser's section has it."""
        return None

    def after_validation(self, iteration: int, loss: float) -> None:
        """Takes the validation loss of the savepoint at this iteration. Most schedules do not use it."""

    def state_dict(self) -> dict[str, Any]:
        """What a continued run must know beyond the options; nothing where the rate follows from the iteration."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what state_dict gave."""


class Curve(Schedule):
    """A learning rate, and perhaps a momentum, that follow from the number of updates done."""

    def __init__(self, rate: Callable[[int], float], momentum: Callable[[int], float] | None = None):
        self.rate_after, self.momentum_after = rate, momentum

    def rate(self, iteration: int) -> float:
        return self.rate_after(iteration - 1)

    def momentum(self, iteration: int) -> float | None:
        return self.momentum_after(iteration - 1) if self.momentum_after else None


class Plateau(Schedule):
    """The values of torch.optim.lr_scheduler.ReduceLROnPlateau, whose threshold and eps are left at their defaults."""

    def __init__(self, initial: float, factor: float, patience: int, min_lr: float):
        self.factor, self.patience, self.min_lr = factor, patience, min_lr
        self.current = initial
        self.lowest_loss = math.inf
        self.savepoints_since = 0

    def rate(self, iteration: int) -> float:
        return self.current

    def after_validation(self, iteration: int, loss: float) -> None:
        if loss < self.lowest_loss * (1 - THRESHOLD):
            self.lowest_loss, self.savepoints_since = loss, 0
            return
        self.savepoints_since += 1
        if self.savepoints_since > self.patience:
            lower = max(self.current * self.factor, self.min_lr)
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


class Scaled(Schedule):
    """Another schedule's learning rate times a factor, and over the first `warmup` updates times n / warmup."""

    def __init__(self, schedule: Schedule, scale: float, warmup: int):
        self.schedule, self.scale, self.warmup = schedule, scale, warmup

    def rate(self, iteration: int) -> float:
        return self.schedule.rate(iteration) * self.scale * min(iteration / self.warmup, 1.0)

    def momentum(self, iteration: int) -> float | None:
        return self.schedule.momentum(iteration)

    def after_validation(self, iteration: int, loss: float) -> None:
        self.schedule.after_validation(iteration, loss)

    def state_dict(self) -> dict[str, Any]:
        return self.schedule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.schedule.load_state_dict(state)
