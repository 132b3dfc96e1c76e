"""Fine-tuning: which of the generator's parameters are frozen, and which learn at another rate than the rest.

Both are told by patterns of parameter names, as of files in a shell: `m_body.*` are all that begin with m_body.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from options.errors import UserError
from options.mistakes import shortened

NEAR = 3
"""Names that a message suggests at most."""


def freeze(network: nn.Module, patterns: Sequence[str]) -> int:
    """Takes the parameters whose names match a pattern out of the training; returns how many numbers they hold.

    Raises UserError with a line for each pattern that matches nothing, and where nothing is left to train.
    """
    first = _first_matches(network, patterns, [f"freeze.{number}" for number in range(len(patterns))])
    frozen = [parameter for name, parameter in network.named_parameters() if name in first]
    if len(frozen) == len(list(network.parameters())):
        raise UserError("freeze: matches every parameter of the generator; leave some of them to train")
    for parameter in frozen:
        parameter.requires_grad_(False)
    return sum(parameter.numel() for parameter in frozen)


def rate_factors(network: nn.Module, patterns: Mapping[str, float]) -> dict[nn.Parameter, float]:
    """The factor of the learning rate of each parameter that is matched and trained, by the first pattern that matches.

    Raises UserError with a line for each pattern that matches nothing, or only what is frozen or matched already.
    """
    first = _first_matches(network, patterns, [f"learning_rate_factors.{pattern}" for pattern in patterns])
    trained = {name: weights for name, weights in network.named_parameters() if weights.requires_grad and name in first}
    used = {first[name] for name in trained}
    if idle := [pattern for pattern in patterns if pattern not in used]:
        raise UserError(
            *(
                f"learning_rate_factors.{pattern}: matches nothing but what is frozen or what a pattern before it "
                f"matches; remove it, or put it first"
                for pattern in idle
            )
        )
    return {weights: patterns[first[name]] for name, weights in trained.items()}


def _first_matches(network: nn.Module, patterns: Iterable[str], places: Iterable[str]) -> dict[str, str]:
    """The first pattern that matches each parameter's name; names that none matches are left out."""
    names = [name for name, _ in network.named_parameters()]
    first: dict[str, str] = {}
    mistakes = []
    for pattern, place in zip(patterns, places, strict=True):
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            mistakes.append(f"{place}: {shortened(pattern)} given, which matches no parameter; {_near(pattern, names)}")
        for name in matched:
            first.setdefault(name, pattern)
    if mistakes:
        raise UserError(*mistakes)
    return first


def _near(pattern: str, names: Sequence[str]) -> str:
    """What would do: patterns of modules, or names, near what was given."""
    modules = {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 1)}
    known = [*sorted(f"{module}.*" for module in modules), *names]
    near = difflib.get_close_matches(pattern, known, NEAR) or sorted({name.split(".")[0] + ".*" for name in names})
    return f"near it: {', '.join(near)}"
