"""The space of a search: which keys of the option file are tried, and with what values."""

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from options.base import Options, parse
from options.errors import UserError
from options.json_data import read_json
from options.mistakes import shortened
from options.overrides import put
from restore.training.option_file import TrainingOptions, options_of

if TYPE_CHECKING:
    from optuna import Trial

Values = dict[str, Any]
"""A value for each key that a trial sets, as JSON data."""


def _check_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{shortened(value)} given; give a number")
    return value


Number = Annotated[Any, AfterValidator(_check_number)]
"""An int or a float, as it is written."""


class Dimension(Options):
    """What is tried of one key of the option file: a range of numbers, or choices."""

    low: Number = None
    """The range's lower end. Whole numbers alone are tried where both ends are written as whole numbers."""
    high: Number = None
    """Its upper end."""
    log: bool = False
    """Whether the range is divided by factors and not by differences, as for learning rates."""
    choices: Annotated[list[Any], Field(min_length=1)] | None = None
    """The values themselves: numbers, texts, lists or whole sections."""
    when: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default={})
    """The key is set only where keys above it have one of these values; else it stays as in the option file."""

    @model_validator(mode="after")
    def _check(self) -> "Dimension":
        given = self.model_fields_set
        if ("choices" in given) == bool(given & {"low", "high", "log"}) or ("low" in given) != ("high" in given):
            raise ValueError(
                f"{', '.join(sorted(given)) or 'nothing'} given; give a range, as "
                '{"low": 0.0001, "high": 0.01, "log": true}, or choices, as {"choices": [16, 32]}'
            )
        if self.choices is not None:
            if len({json.dumps(choice, sort_keys=True) for choice in self.choices}) < len(self.choices):
                raise ValueError(f"{shortened(self.choices)} given, where a choice stands twice; keep one")
        elif self.low >= self.high:
            raise ValueError(f"low {self.low} and high {self.high} given; give a high that is above low")
        elif self.log and self.low <= 0:
            raise ValueError(f"low {self.low} given with log; give a low above 0")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are tried."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> list[Any]:
        """The values that are checked before a search begins."""
        return self.choices if self.choices is not None else [self.low, self.high]

    def suggested(self, trial: "Trial", key: str) -> Any:
        """The value that a trial takes."""
        if self.choices is not None:
            return self.from_stored(trial.suggest_categorical(key, [json.dumps(choice) for choice in self.choices]))
        suggest = trial.suggest_int if self.whole else trial.suggest_float
        return suggest(key, self.low, self.high, log=self.log)

    def as_stored(self, value: Any) -> Any:
        """A value as Optuna keeps it: of choices, which may be lists and sections, the JSON text."""
        return value if self.choices is None else json.dumps(value)

    def from_stored(self, stored: Any) -> Any:
        """What as_stored was given."""
        return stored if self.choices is None else json.loads(stored)

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether the key is set where the keys above it have these values."""
        return all(key in values and values[key] in allowed for key, allowed in self.when.items())


class Space:
    """The keys that a search tries, in the order of the file.

    data  of the file: {"optimizer.initial_learning_rate": {"low": 0.0001, "high": 0.01, "log": true}, ...}; the keys
          are those of --set
    place how each mistake's line begins
    Raises UserError with all mistakes, one line for each.
    """

    def __init__(self, data: Any, place: str):
        self.data = data
        self.place = place
        self.dimensions: dict[str, Dimension] = parse(dict[str, Dimension], data, place)
        if not self.dimensions:
            raise UserError(f"{place}: names no key; give at least one")
        if mistakes := [f"{place}: {line}" for line in self._contradictions()]:
            raise UserError(*mistakes)

    def _contradictions(self) -> Iterator[str]:
        above: dict[str, Dimension] = {}
        for key, dimension in self.dimensions.items():
            for other, allowed in dimension.when.items():
                known = above[other].choices if other in above else None
                if known is None:
                    yield f'{key}.when: "{other}" given; name a key above this one that has choices'
                elif strange := [value for value in allowed if value not in known]:
                    yield f"{key}.when.{other}: {shortened(strange[0])} given; its choices are {shortened(known)}"
            for other in above:
                if other.startswith(f"{key}."):
                    yield f"{key}: replaces {other}, which stands above it; put {key} first"
            above[key] = dimension

    def suggested(self, trial: "Trial") -> Values:
        """The values that a trial takes."""
        values: Values = {}
        for key, dimension in self.dimensions.items():
            if dimension.applies(values):
                values[key] = dimension.suggested(trial, key)
        return values

    def as_stored(self, values: Values) -> Values:
        """The values as Optuna keeps them."""
        return {key: self.dimensions[key].as_stored(value) for key, value in values.items()}

    def from_stored(self, stored: Values) -> Values:
        """What as_stored was given."""
        return {key: self.dimensions[key].from_stored(value) for key, value in stored.items()}

    def grid(self) -> list[Values]:
        """Every combination. UserError where a key has a range."""
        ranges = {key: dimension for key, dimension in self.dimensions.items() if dimension.choices is None}
        if ranges:
            raise UserError(
                *(
                    f"{self.place}: {key}: a range has no grid; give choices, as "
                    f'{{"choices": {json.dumps(_spread(dimension))}}}, or another sampler'
                    for key, dimension in ranges.items()
                )
            )
        found: list[Values] = [{}]
        for key, dimension in self.dimensions.items():
            found = [
                values | chosen
                for values in found
                for chosen in ([{key: choice} for choice in dimension.ends] if dimension.applies(values) else [{}])
            ]
        return found

    def check(self, data: Any) -> None:
        """Validates the option file with the ends of each range and with each choice.

        data  of an option file that is valid by itself
        Raises UserError with all mistakes, one line for each.
        """
        mistakes: list[str] = []
        for key, dimension in self.dimensions.items():
            for value in dimension.ends:
                found = self._mistakes_with(data, key, value)
                mistakes += found
                if found and dimension.choices is None:
                    break  # the other end's line would say the same again
        if mistakes:
            raise UserError(*dict.fromkeys(mistakes))

    def _mistakes_with(self, data: Any, key: str, value: Any) -> list[str]:
        """The mistakes of the option file where the key has this value, and the others their first."""
        place = f"{self.place}: {key} = {shortened(value)}"
        values = self._with(key, value)
        if key not in values:
            return [f"{self.place}: {key}.when: never true, as its keys have conditions of their own; change one"]
        try:
            self.options_with(data, values, place)
        except UserError as error:
            return str(error).splitlines()
        return []

    def _with(self, key: str, value: Any) -> Values:
        """The key with this value, the keys that it depends on, and those that depend on them. The others stay as in
        the option file, so that a mistake is reported with its own key alone."""
        wanted = {key: value}
        for above in reversed(self.dimensions):  # what a key depends on stands above it
            if above in wanted:
                wanted = {other: allowed[0] for other, allowed in self.dimensions[above].when.items()} | wanted
        values: Values = {}
        for name, dimension in self.dimensions.items():
            if (name in wanted or dimension.when) and dimension.applies(values):
                values[name] = wanted.get(name, dimension.ends[0])
        return values

    def options_with(self, data: Any, values: Values, place: str) -> TrainingOptions:
        """The options that an option file's data give with these values. UserError with a line for each mistake."""
        data = copy.deepcopy(data)
        for key, value in values.items():
            try:
                put(data, key, copy.deepcopy(value))  # a later key may be inside it
            except UserError as error:
                raise UserError(f"{place}: {error}") from None
        return options_of(data, place)

    def own_values(self, data: Any) -> Values | None:
        """The values that the option file itself has; None where one of them is not in the space."""
        options = options_of(data, "the option file")
        values: Values = {}
        for key, dimension in self.dimensions.items():
            if not dimension.applies(values):
                continue
            found = [choice for choice in dimension.choices or [] if self._leaves(data, key, choice, options)]
            if dimension.choices is None:
                number = _at(options.model_dump(mode="json", by_alias=True), key)
                kind = int if dimension.whole else int | float
                if isinstance(number, kind) and dimension.low <= number <= dimension.high:
                    found = [number]
            if not found:
                return None
            values[key] = found[0]
        return values

    def _leaves(self, data: Any, key: str, value: Any, options: TrainingOptions) -> bool:
        """Whether the options stay as they are where the key gets this value."""
        try:
            return self.options_with(data, {key: value}, "") == options
        except UserError:  # alone it contradicts something, so it is another value
            return False


def read_space(path: str | Path) -> Space:
    """Reads a space file. UserError with a line for each mistake."""
    return Space(read_json(path, "give the path of a space file, as in options/README.md"), str(path))


def _at(data: Any, place: str) -> Any:
    """The value at a place of an option file's data; None where there is none."""
    for step in place.split("."):
        if isinstance(data, list):
            data = data[int(step)]
        elif isinstance(data, dict):
            data = data.get(step)
        else:
            return None
    return data


def _spread(dimension: Dimension) -> list[float]:
    """Three numbers of a range: its ends, and the middle."""
    low, high = dimension.low, dimension.high
    middle = (low * high) ** 0.5 if dimension.log else (low + high) / 2
    return [low, round(middle) if dimension.whole else float(f"{middle:.3g}"), high]
