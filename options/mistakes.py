"""A user's mistakes, each as one line: the place, what was given, and what would do."""

import difflib
import json
import re
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def describe(mistake: dict[str, Any], kind: Any, data: Any, place: str = "") -> str:
    """One line for one of the entries of pydantic's ValidationError.errors().

    kind  the type that was asked for
    data  what was given for it, as json.loads returns it
    """
    where = _join(place, _path(mistake, data))
    given = _short(mistake["input"])
    match mistake["type"]:
        case "extra_forbidden":
            known = sorted(_keys_at(kind, mistake["loc"][:-1]))
            return f"{where}: unknown key (given {given}); {_suggest(str(mistake['loc'][-1]), known)}"
        case "missing":
            return f"{where}: missing, and it has no default"
        case "union_tag_invalid":
            tag = mistake["ctx"]["tag"]
            return f'{where}.class_name: "{tag}" is unknown; {_suggest(tag, _quoted(mistake["ctx"]["expected_tags"]))}'
        case "union_tag_not_found":
            return f"{where}.class_name: missing; it says which kind this is"
        case "literal_error":
            choices = _quoted(mistake["ctx"]["expected"])
            return f"{where}: {given} is not a choice; {_suggest(str(mistake['input']), choices)}"
        case "list_type":
            return f"{where}: {given} given; give a list, as [{given}]"
        case "value_error":
            return f"{where}: {mistake['ctx']['error']}"
        case _:
            return f"{where}: {given} given; {mistake['msg'][0].lower()}{mistake['msg'][1:]}"


def _path(mistake: dict[str, Any], data: Any) -> list[str]:
    """The place in the user's data. Pydantic puts a union's tags into its places: these are in no data and left out."""
    path = []
    for step in mistake["loc"]:
        if (isinstance(data, dict) and step in data) or (isinstance(data, list) and step in range(len(data))):
            data = data[step]
        elif mistake["type"] != "missing" or step != mistake["loc"][-1]:
            continue
        path.append(str(step))
    return path


def _keys_at(kind: Any, loc: tuple[str | int, ...]) -> set[str]:
    """The keys that a section at this place may have."""
    kinds = _alternatives(kind)
    for step in loc:
        kinds = [inner for outer in kinds for inner in _inside(outer, step)]
    return {
        field.alias or name
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, BaseModel)
        for name, field in kind.model_fields.items()
    }


def _inside(kind: Any, step: str | int) -> list[Any]:
    """The types that stand at one step into a type; a union's tag leads to the alternative that bears it."""
    if get_origin(kind) in (list, dict, tuple):
        return _alternatives(get_args(kind)[1 if get_origin(kind) is dict else 0])
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return []
    for name, field in kind.model_fields.items():
        if step == (field.alias or name):
            return _alternatives(field.annotation)
    tag = kind.model_fields.get("class_name")
    return [kind] if tag is not None and step in get_args(tag.annotation) else []


def _alternatives(kind: Any) -> list[Any]:
    if get_origin(kind) is Annotated:
        return _alternatives(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [leaf for member in get_args(kind) for leaf in _alternatives(member)]
    return [kind]


def _suggest(given: str, known: list[str]) -> str:
    """What would do: the known word that is near the given one, else all known words."""
    lowered = {word.lower(): word for word in known}
    near = difflib.get_close_matches(given.lower(), lowered, n=1)
    return f'did you mean "{lowered[near[0]]}"?' if near else f"known: {', '.join(known)}"


def _quoted(expected: str) -> list[str]:
    return re.findall(r"'([^']*)'", expected)


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _join(place: str, path: list[str]) -> str:
    return ": ".join(part for part in (place, ".".join(path)) if part) or "the option file"
