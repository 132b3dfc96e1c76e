"""Which process of a run this is."""

from typing import NamedTuple


class Process(NamedTuple):
    """One of the processes that train a network together; today a run is one process."""

    rank: int = 0
    """This process's number, from 0."""
    count: int = 1
    """How many there are. Each takes every count-th sample of a batch, so the batch is the same for any count."""

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0
