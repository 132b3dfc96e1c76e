"""Single random numbers, and the forms in which an option gives numbers."""

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Annotated, Any, TypeVar

import torch
from pydantic import AfterValidator, Discriminator, Field, PositiveFloat, Strict, Tag
from torch import Generator, Tensor

Number = TypeVar("Number")
Choice = TypeVar("Choice")


def uniform(low: float, high: float, rng: Generator) -> float:
    """A number from low to high, each being equally likely."""
    return low + (high - low) * torch.rand((), generator=rng, device=rng.device, dtype=torch.float64).item()


def log_uniform(low: float, high: float, rng: Generator) -> float:
    """A number from low to high, both positive, whose logarithm is uniform."""
    return exp(uniform(log(low), log(high), rng))


def normal(mean: float, deviation: float, rng: Generator) -> float:
    """A normally distributed number."""
    return mean + deviation * torch.randn((), generator=rng, device=rng.device, dtype=torch.float64).item()


def choose(choices: Sequence[Choice], rng: Generator) -> Choice:
    """One of these, each being equally likely."""
    return choices[int(torch.randint(len(choices), (), generator=rng, device=rng.device))]


def choose_by_share(shares: Mapping[Choice, float], rng: Generator) -> Choice:
    """One of the keys. The probability of each is its share of the sum of all values."""
    weights = torch.tensor(list(shares.values()), dtype=torch.float64, device=rng.device)
    return list(shares)[int(torch.multinomial(weights, 1, generator=rng))]


def happens(probability: float, rng: Generator) -> bool:
    """True in this share of the cases. Always draws a number."""
    return uniform(0, 1, rng) < probability


def one_of(numbers: float | tuple[float, float], rng: Generator) -> float:
    """The number itself, or one from [low, high], each being equally likely."""
    return uniform(*numbers, rng) if isinstance(numbers, tuple) else numbers


def per_plane(numbers: float | tuple[float, ...]) -> Tensor:
    """One number for all planes, or one for each of R, G1, G2, B: (4,) float32."""
    return torch.tensor(numbers, dtype=torch.float32).expand(4)


def _kind(value: Any) -> str:
    return "list" if isinstance(value, list | tuple) else "number"


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"[{limits[0]}, {limits[1]}] given; give the lower end first")
    return limits


# Not strict, as a list read from JSON has to become a tuple; their numbers are strict.
Planes = Annotated[tuple[Number, Number, Number, Number], Strict(False)]
"""Four numbers: for R, G1, G2, B."""
Range = Annotated[tuple[Number, Number], Strict(False), AfterValidator(_rising)]
"""[low, high]."""
# The form that was given decides, so that a mistake is reported for that form alone.
PerPlane = Annotated[Annotated[Number, Tag("number")] | Annotated[Planes[Number], Tag("list")], Discriminator(_kind)]
"""A number, or a list of four: for R, G1, G2, B."""
NumberOrRange = Annotated[
    Annotated[Number, Tag("number")] | Annotated[Range[Number], Tag("list")], Discriminator(_kind)
]
"""A number, or [low, high]."""
Shares = Annotated[dict[Number, PositiveFloat], Field(min_length=1)]
"""Names, and how often each is to be drawn in relation to the others; what is not named is not drawn."""
Probability = Annotated[float, Field(ge=0, le=1)]
Speed = Annotated[int, Field(gt=0, le=10_000_000)]
Iso = NumberOrRange[Speed]
"""An ISO speed, or [low, high]."""
