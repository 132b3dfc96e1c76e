"""Which process of a run this is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Process:
    """One of the processes that train a network together; today a run has one process."""

    rank: int = 0
    """This process's number, from 0."""
    count: int = 1
    """Number of processes. Each takes every count-th sample of a batch, so the batch is the same for any count."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and messages."""
        return self.rank == 0
