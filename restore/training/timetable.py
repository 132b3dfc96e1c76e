"""When a run ends, and when it validates and saves."""

from restore.data.batches import Batches
from restore.training.option_file import TrainingOptions


class Timetable:
    """The savepoints and the end of a run, in iterations. An iteration is one update."""

    def __init__(self, options: TrainingOptions, batches: Batches):
        self.batches = batches
        self.every = options.validate_every
        in_epochs = batches.iterations(options.total_epochs)
        self.last: int = min(in_epochs, options.total_iterations or in_epochs)
        self.warning: str | None = None
        """Where the run ends before its total_iterations; for the user."""
        if options.total_iterations and in_epochs < options.total_iterations:
            self.warning = (
                f"total_epochs, {options.total_epochs}, ends the run after {in_epochs} updates, before "
                f"total_iterations, {options.total_iterations}, does; raise total_epochs for a longer run"
            )

    def is_savepoint(self, iteration: int) -> bool:
        """Whether to validate and save after this iteration; always true of the last one."""
        return iteration > 0 and (iteration == self.last or self.is_nth_savepoint(iteration, 1))

    def is_nth_savepoint(self, iteration: int, n: int) -> bool:
        """Whether this is every n-th of the savepoints, which are validate_every iterations or an epoch apart."""
        if self.every:
            return iteration % (n * self.every) == 0
        epoch = self.batches.epoch(iteration)
        return epoch % n == 0 and iteration == self.batches.iterations(epoch)

    def epoch(self, iteration: int) -> int:
        """The epoch of this iteration, both counted from 1."""
        return self.batches.epoch(iteration)
