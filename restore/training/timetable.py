"""When a run ends, and when it stops to validate and save."""

import sys

from restore.data.batches import Batches
from restore.training.option_file import TrainingOptions


class Timetable:
    """A run counted in iterations, each one update; which epoch an iteration belongs to is asked of the batches."""

    def __init__(self, options: TrainingOptions, batches: Batches):
        self.batches = batches
        self.every = options.validate_every
        self.last: int = min(batches.iterations(options.total_epochs), options.total_iterations or sys.maxsize)

    def is_savepoint(self, iteration: int) -> bool:
        """Whether to validate and save after this iteration; the last one always is."""
        return iteration > 0 and (iteration == self.last or self.is_nth_savepoint(iteration, 1))

    def is_nth_savepoint(self, iteration: int, n: int) -> bool:
        """Whether this is every n-th of the savepoints, which are validate_every iterations or an epoch apart."""
        if self.every:
            return iteration % (n * self.every) == 0
        epoch = self.batches.epoch(iteration)
        return epoch % n == 0 and iteration == self.batches.iterations(epoch)

    def epoch(self, iteration: int) -> int:
        """The epoch, from 1, that this iteration belongs to."""
        return self.batches.epoch(iteration)
