"""When a run ends, and when it validates and saves."""

import math

from restore.training.option_file import TrainingOptions


class Timetable:
    """The savepoints and the end of a run, in iterations. An iteration is one update.

    per_epoch  iterations in one pass over the training photographs
    """

    def __init__(self, options: TrainingOptions, per_epoch: int):
        self.per_epoch = per_epoch
        in_epochs = options.total_epochs * per_epoch
        self.last = min(in_epochs, options.total_iterations or in_epochs)
        self.warning: str | None = None
        """Where the run ends before its total_iterations; for the user."""
        if options.total_iterations and in_epochs < options.total_iterations:
            self.warning = (
                f"total_epochs, {options.total_epochs}, ends the run after {in_epochs} updates, before "
                f"total_iterations, {options.total_iterations}, does; raise total_epochs for a longer run"
            )
        self.every = options.validate_every or per_epoch

    def is_savepoint(self, iteration: int) -> bool:
        """Whether to validate and save after this iteration; always true of the last one."""
        return iteration > 0 and (iteration % self.every == 0 or iteration == self.last)

    def epoch(self, iteration: int) -> int:
        """The epoch of this iteration, both counted from 1."""
        return math.ceil(iteration / self.per_epoch)
