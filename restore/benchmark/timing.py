"""Times alternatives so that they can be compared on a machine that does other things too."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from restore.compute.device import wait_for_device

WARM_UP = 2
"""Rounds that are not counted: they compile, tune, and fill tables and caches."""


class Contestant(NamedTuple):
    """A way to do the work that is timed."""

    name: str
    work: Callable[[int], object]
    """Does it once; takes the number of the round, for those that draw something else in each."""


def interleaved(contestants: list[Contestant], repeats: int, device: torch.device) -> list[float]:
    """The median time of each [s]. All take a turn in every round, so that a busy machine slows all alike."""
    times: list[list[float]] = [[] for _ in contestants]
    for round_number in range(WARM_UP + repeats):
        for contestant, its_times in zip(contestants, times, strict=True):
            wait_for_device(device)
            start = time.perf_counter()
            contestant.work(round_number)
            wait_for_device(device)
            its_times.append(time.perf_counter() - start)
    return [statistics.median(its_times[WARM_UP:]) for its_times in times]
