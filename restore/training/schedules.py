"""Learning-rate schedules, as the option file writes them."""

import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, model_validator

from options.base import Options
from options.choices import Choices
from restore.training.lengths import Iterations, Length, RunLength, written
from restore.training.rates import Curve, Plateau, Scaled, Schedule

Share = Annotated[float, Field(gt=0, lt=1)]


class ScheduleOptions(Options):
    """What the sections of all schedules have in common."""

    class_name: str
    warmup: Length | None = None
    """Linear warm-up over the first N updates: update n gets n / N of the schedule's learning rate. The schedule itself
    counts from the run's beginning. A number of epochs, or {"iterations": 500}. Use it with transformers, AdamW, large
    batches, or where the first updates diverge; a small UNet with Adam does without, and OneCycle has its own."""
    rate_key: ClassVar[str] = "optimizer.initial_learning_rate"
    """The key of the option file that sets the highest learning rate."""

    def build(self, initial: float, run: RunLength) -> Schedule:
        """The schedule of a run, without its warm-up.

        initial  optimizer.initial_learning_rate
        """
        raise NotImplementedError

    def schedule(self, initial: float, run: RunLength, scale: float = 1.0) -> Schedule:
        """The schedule of a run with its warm-up, all its learning rates multiplied by `scale`."""
        return Scaled(self.build(initial, run), scale, run.count(self.warmup) if self.warmup else 1)

    def contradictions(self, initial: float) -> list[str]:
        """What does not go with this initial learning rate, a line each: "field: what is wrong, and the remedy"."""
        return []

    def lengths(self) -> "dict[str, float | Iterations]":
        """By field, the lengths that make sense only if they are shorter than the run."""
        return {"warmup": self.warmup} if self.warmup else {}

    def too_long(self, epochs: float | None, iterations: int | None, per_epoch: int | None = None) -> list[str]:
        """Lengths that the run does not reach, a line each. None: not known, or no limit.

        Without per_epoch, lengths in epochs are compared with epochs alone and those in iterations with iterations.
        """
        found = []
        for field, length in self.lengths().items():
            if per_epoch is not None and iterations is not None:
                beyond = RunLength(iterations, per_epoch).count(length) >= iterations
                end = f"{iterations} iterations, {per_epoch} to an epoch"
            elif isinstance(length, Iterations):
                beyond, end = iterations is not None and length.iterations >= iterations, f"{iterations} iterations"
            else:
                beyond, end = epochs is not None and length >= epochs, f"{epochs} epochs"
            if beyond:
                found.append(
                    f"{field}: {written(length)} given, but the run ends after {end}; give less, or train longer"
                )
        return found

    def information(self) -> dict[str, Any]:
        """The schedule's keys in the information file beside a model.

        decay_factor  what the learning rate is multiplied by at each step down, where there are steps
        decay_step    where it steps down: "auto_plateau", the lengths, or the schedule's name
        lr_patience   savepoints that a plateau lasts
        """
        return {"decay_factor": None, "decay_step": self.class_name.lower(), "lr_patience": None}


class Constant(ScheduleOptions):
    """The same learning rate throughout.

    Use it to compare other settings, or with an average of the weights. Not for the best result without one: a falling
    learning rate nearly always ends lower.
    """

    class_name: Literal["Constant"] = "Constant"

    def build(self, initial: float, run: RunLength) -> Schedule:
        return Curve(lambda done: initial)


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
    """Multiplies the learning rate by a factor when the validation loss has not fallen for some savepoints.

    Use it where it is not known how long training takes. Not with a GAN whose validation loss says little, or with a
    validation set of a few photographs, whose loss wanders by chance.
    """

    class_name: Literal["ReduceLROnPlateau"] = "ReduceLROnPlateau"
    factor: Share = 0.9
    """What the learning rate is multiplied by. 0.5 with a short patience for short runs."""
    patience: NonNegativeInt = 10
    """Savepoints without a lower validation loss that are let pass. More where the validation loss wanders."""
    min_lr: NonNegativeFloat = 3.125e-06
    """Where the learning rate stops falling."""

    def build(self, initial: float, run: RunLength) -> Schedule:
        return Plateau(initial, self.factor, self.patience, self.min_lr)

    def information(self) -> dict[str, Any]:
        return {"decay_factor": self.factor, "decay_step": "auto_plateau", "lr_patience": self.patience}


class MultiStep(ScheduleOptions):
    """Multiplies the learning rate by gamma at each milestone.

    Use it to repeat a published training that says its milestones. Not for a new one: Cosine has nothing to tune.
    """

    class_name: Literal["MultiStep"] = "MultiStep"
    milestones: Annotated[list[Length], Field(min_length=1)]
    """When the learning rate falls, from the run's beginning: numbers of epochs, or {"iterations": 50000} each."""
    gamma: Share = 0.5
    """What the learning rate is multiplied by."""

    def build(self, initial: float, run: RunLength) -> Schedule:
        milestones = sorted(map(run.count, self.milestones))
        return Curve(lambda done: initial * self.gamma ** bisect_right(milestones, done))

    def lengths(self) -> "dict[str, float | Iterations]":
        return super().lengths() | {f"milestones.{number}": length for number, length in enumerate(self.milestones)}

    def information(self) -> dict[str, Any]:
        milestones = ", ".join(map(written, self.milestones))
        return {"decay_factor": self.gamma, "decay_step": milestones, "lr_patience": None}


class Step(ScheduleOptions):
    """Multiplies the learning rate by gamma at regular intervals.

    Use it for long runs without a known end. Not where the end is known: Cosine ends lower.
    """

    class_name: Literal["Step"] = "Step"
    size: Length
    """From one fall to the next: a number of epochs, or {"iterations": 50000}."""
    gamma: Share = 0.5
    """What the learning rate is multiplied by."""

    def build(self, initial: float, run: RunLength) -> Schedule:
        size = run.count(self.size)
        return Curve(lambda done: initial * self.gamma ** (done // size))

    def lengths(self) -> "dict[str, float | Iterations]":
        return super().lengths() | {"size": self.size}

    def information(self) -> dict[str, Any]:
        return {"decay_factor": self.gamma, "decay_step": f"every {written(self.size)}", "lr_patience": None}


class Cosine(FallingSchedule):
    """Lowers the learning rate along half a cosine wave, from its initial value to min_lr at the end of the run.

    Use it wherever the length of the run is fixed. Not where it is to be stopped early, since the learning rate is then
    still high. A run that is continued with another length follows the wave of the new length from there on.
    Source: Loshchilov and Hutter, SGDR, 2017, equation 5.
    """

    class_name: Literal["Cosine"] = "Cosine"
    min_lr: NonNegativeFloat = 0.0
    """The learning rate to which the last update comes near; the wave would reach it with the update after."""
    restarts: Annotated[list[Length], Field(min_length=1)] | None = None
    """When the wave begins anew at the initial learning rate, from the run's beginning; the last wave ends with the
    run. Use it to have good models on the way. Not for the one best model: a single wave is usually better."""
    period: Length | None = None
    """Length of the first wave, after which the next begins: regular restarts, where `restarts` lists them. The run's
    end may cut a wave short."""
    period_factor: Annotated[float, Field(ge=1, le=100)] = 1.0
    """How many times longer each wave is than the one before it; goes with `period`."""

    @model_validator(mode="after")
    def _check_restarts(self) -> "Cosine":
        if self.restarts and self.period:
            raise ValueError("restarts and period given, two ways to say when the wave begins anew; leave one out")
        if self.period_factor != 1 and not self.period:
            raise ValueError("period_factor given without a period, so it has no effect; add one or leave it out")
        return self

    def build(self, initial: float, run: RunLength) -> Schedule:
        begins = self._begins(run)

        def rate(done: int) -> float:
            number = min(bisect_right(begins, done), len(begins) - 1)
            begin, end = begins[number - 1], begins[number]
            share = min((done - begin) / (end - begin), 1.0)
            return self.min_lr + (initial - self.min_lr) * (1 + math.cos(math.pi * share)) / 2

        return Curve(rate)

    def _begins(self, run: RunLength) -> list[float]:
        """Updates done where each wave begins, and where the last one ends."""
        if not self.period:
            return [0, *sorted({run.count(length) for length in self.restarts or []}), run.iterations]
        begins, period = [0.0], float(run.count(self.period))
        while begins[-1] < run.iterations:
            begins.append(begins[-1] + period)
            period *= self.period_factor
        return begins

    def lengths(self) -> "dict[str, float | Iterations]":
        restarts = {f"restarts.{number}": length for number, length in enumerate(self.restarts or [])}
        return super().lengths() | restarts | ({"period": self.period} if self.period else {})


class OneCycle(ScheduleOptions):
    """Raises the learning rate from optimizer.initial_learning_rate to max_lr and lowers it to nearly nothing, in one
    cycle over the run, update by update; the momentum goes the other way.

    Use it for short runs of fixed length, with a max_lr from --find-lr. Not with a GAN, whose balance the high learning
    rates upset, and not for runs that may be lengthened. Torch's div_factor is max_lr / initial_learning_rate.
    Source: Smith and Topin, Super-Convergence, 2019; the values are those of torch.optim.lr_scheduler.OneCycleLR.
    """

    class_name: Literal["OneCycle"] = "OneCycle"
    rate_key: ClassVar[str] = "scheduler.max_lr"
    max_lr: Annotated[PositiveFloat, Field(le=10)]
    """The highest learning rate. 10 to 25 times optimizer.initial_learning_rate is usual."""
    pct_start: Share = 0.3
    """Share of the run in which the learning rate rises."""
    final_div_factor: Annotated[float, Field(ge=1)] = 1e4
    """The run ends at optimizer.initial_learning_rate divided by this."""
    cycle_momentum: bool = True
    """Whether SGD's momentum, or Adam's first beta, falls while the learning rate rises. It then takes the place of the
    one in the optimiser's section. false: with SGD without momentum, or where a GAN wants a low beta."""
    base_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.85
    """Momentum at the highest learning rate."""
    max_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Momentum at the beginning and at the end."""

    @model_validator(mode="after")
    def _check_momentum(self) -> "OneCycle":
        if self.base_momentum > self.max_momentum:
            raise ValueError(
                f"base_momentum: {self.base_momentum} given, above max_momentum, {self.max_momentum}; exchange them"
            )
        return self

    def contradictions(self, initial: float) -> list[str]:
        if self.max_lr > initial:
            return []
        return [
            f"max_lr: {self.max_lr} is not above optimizer.initial_learning_rate, {initial}, from which the learning "
            f"rate rises to it; give a larger one"
        ]

    def build(self, initial: float, run: RunLength) -> Schedule:
        # The updates done at the peak and at the last update, as torch has them; none is divided by below.
        peak, last = self.pct_start * run.iterations - 1, run.iterations - 1

        def between(low: float, high: float, end: float) -> Callable[[int], float]:
            def value(done: int) -> float:
                if done <= peak:
                    return _along_cosine(low, high, done / peak if peak > 0 else 1.0)
                begin = max(peak, 0.0)
                return _along_cosine(high, end, min((done - begin) / max(last - begin, 1e-9), 1.0))

            return value

        momentum = between(self.max_momentum, self.base_momentum, self.max_momentum) if self.cycle_momentum else None
        return Curve(between(initial, self.max_lr, initial / self.final_div_factor), momentum)


def _along_cosine(begin: float, end: float, share: float) -> float:
    return end + (begin - end) / 2 * (1 + math.cos(math.pi * share))


SCHEDULES = Choices(ScheduleOptions, ReduceLROnPlateau, Constant, MultiStep, Step, Cosine, OneCycle)
ScheduleSection = Annotated[ScheduleOptions, SCHEDULES]
