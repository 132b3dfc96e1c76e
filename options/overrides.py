"""--set a.b=value: one key of an option file given on the command line."""

import copy
import json
from typing import Any

from options.errors import UserError
from options.json_data import DEEPEST, TOO_DEEP, json_data, refuse_half_characters
from options.mistakes import shortened, shortened_key


def apply_overrides(data: Any, overrides: list[str]) -> Any:
    """A copy of an option file's data with each "a.b=value" put in its place.

    A value is read as JSON, else as text; an item of a list is named by its number. Keys and values are validated
    later, with the rest of the file. Raises UserError with a line for each override whose place cannot exist.
    """
    data = copy.deepcopy(data)
    mistakes = []
    for override in overrides:
        try:
            place, value = _read(override)
            put(data, place, value)
        except UserError as error:
            mistakes.append(f"--set {shortened_key(override)}: {error}")
    if mistakes:
        raise UserError(*mistakes)
    return data


def put(data: Any, place: str, value: Any) -> None:
    """Puts a value in its place in an option file's data; sections on the way that are missing are made.

    place  "a.b"; an item of a list is named by its number
    Raises UserError for a place that cannot exist.
    """
    if not all(place.split(".")):
        raise UserError("give a key as key or section.key")
    if place.count(".") > DEEPEST:
        raise UserError(TOO_DEEP)
    *sections, last = place.split(".")
    for depth, step in enumerate(sections):
        here = ".".join(sections[:depth]) or "the file"
        if isinstance(data, list):
            data = data[_index(data, step, here)]
        else:
            if _section(data, here).get(step) is None:  # a section that was left out, or is null
                data[step] = {}
            data = data[step]
    here = ".".join(sections) or "the file"
    if isinstance(data, list):
        data[_index(data, last, here)] = value
    else:
        _section(data, here)[last] = value


def _read(override: str) -> tuple[str, Any]:
    """The place and the value of "a.b=value"."""
    refuse_half_characters(override, "the text")
    place, separator, text = override.partition("=")
    if not separator or not all(place.split(".")):
        raise UserError("give it as key=value or section.key=value")
    try:
        return place, json_data(text)
    except json.JSONDecodeError:
        return place, text


def _section(data: Any, here: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise UserError(f"{here} is {shortened(data)}, which holds no keys")
    return data


def _index(items: list[Any], step: str, here: str) -> int:
    if not step.isdecimal() or int(step) >= len(items):
        raise UserError(f"{here} is a list: name an item by its number, 0 to {len(items) - 1}")
    return int(step)
