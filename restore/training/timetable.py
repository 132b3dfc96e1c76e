"""When a run ends, and when it stops to validate and save."""

import math

from restore.training.option_file import TrainingOptions


class Timetable:
    """A run counted in iterations, each one update.

    per_epoch  iterations to one pass over the training photographs
    """

    def __init__(self, options: TrainingOptions, per_epoch: int):
        self.per_epoch = per_epoch
        self.last = min(options.total_epochs * per_epoch, options.total_iterations or math.inf)
        self.every = options.validate_every or per_epoch

    def is_savepoint(self, iteration: int) -> bool:
        """Whether to validate and save after this iteration; the last one always is."""
        return iteration > 0 and (iteration % self.every == 0 or iteration == self.last)

    def epoch(self, iteration: int) -> int:
        """The epoch, from 1, that this iteration belongs to."""
        return math.ceil(iteration / self.per_epoch)
