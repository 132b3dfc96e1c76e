"""Which samples of a batch a process has, and random numbers for them."""

from typing import NamedTuple

import torch
from torch import Tensor


class Share(NamedTuple):
    """The samples of a batch that are here: every step-th of them, from the first."""

    size: int
    """Samples of the whole batch."""
    first: int = 0
    step: int = 1

    def part(self, number: int, count: int) -> "tuple[slice, Share]":
        """Of a batch cut into `count` parts of equal size, the part of this number, from 0: which of the samples here
        are in it, and its own share."""
        size = self.size // count
        begin, end = (len(range(self.first, size * edge, self.step)) for edge in (number, number + 1))
        return slice(begin, end), Share(size, self.first + begin * self.step - number * size, self.step)

    def uniform(self, *shape: int, device: torch.device) -> Tensor:
        """Numbers from 0 to 1 for the samples here, (samples, *shape), from the device's global generator.

        They are drawn for the whole batch: so a sample has the same ones however many processes share the batch, and
        the generators of all processes stay alike.
        """
        return torch.rand(self.size, *shape, device=device)[self.first :: self.step]
