"""Lengths of time in a training, as the option file writes them."""

from typing import Annotated, Any, NamedTuple

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag

from options.base import Options


class Iterations(Options):
    """A length counted in updates."""

    iterations: Annotated[PositiveInt, Field(le=10**12)]
    """Number of updates. Use it where the number of photographs may change and the length should not."""


def _unit(written: Any) -> str:
    return "in iterations" if isinstance(written, dict | Iterations) else "in epochs"


Length = Annotated[
    Annotated[PositiveFloat, Field(le=10**12), Tag("in epochs")] | Annotated[Iterations, Tag("in iterations")],
    Discriminator(_unit),
]
"""A number of epochs, fractions allowed (2.5), or of updates ({"iterations": 500})."""


class RunLength(NamedTuple):
    """How long a run is."""

    iterations: int
    """Updates of the whole run."""
    per_epoch: int
    """Updates to one pass over the training photographs."""

    def count(self, length: "float | Iterations") -> int:
        """A length in updates, rounded, at least one."""
        if isinstance(length, Iterations):
            return length.iterations
        return max(1, round(length * self.per_epoch))


def written(length: "float | Iterations") -> str:
    """A length in words, for a message."""
    return f"{length.iterations} iterations" if isinstance(length, Iterations) else f"{length:g} epochs"
