"""Times alternatives in turns, so that they can be compared on a machine that other programs use too."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from restore.compute.device import wait_for_device

WARM_UP = 2
"""Rounds that are not counted: in them networks are compiled, kernels are chosen and caches are filled."""


class Contestant(NamedTuple):
    """One of the alternatives that are timed."""

    name: str
    work: Callable[[int], object]
    """Does the work once, given the number of the round, from which it may seed its random numbers."""


def interleaved(contestants: list[Contestant], repeats: int, device: torch.device) -> list[float]:
    """The median time of each contestant [s]. Each has a turn in every round, so that a busy machine slows all."""
    times: list[list[float]] = [[] for _ in contestants]
    for round_number in range(WARM_UP + repeats):
        for contestant, its_times in zip(contestants, times, strict=True):
            wait_for_device(device)
            start = time.perf_counter()
            contestant.work(round_number)
            wait_for_device(device)
            its_times.append(time.perf_counter() - start)
    return [statistics.median(its_times[WARM_UP:]) for its_times in times]
