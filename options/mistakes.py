"""A user's mistakes, each as one line: the place, what was given, and the remedy."""

import difflib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from options.errors import UserError

LONGEST = 60
"""Characters of a key or a value in a message."""


def describe(mistake: ErrorDetails, kind: Any, data: Any, place: str = "") -> str:
    """One line for one entry of pydantic's ValidationError.errors().

    kind  the type that was expected
    data  what was given, as json.loads returns it
    """
    where = _join(place, _path(mistake, data))
    given = shortened(mistake["input"])
    context = mistake.get("ctx", {})
    match mistake["type"]:
        case "extra_forbidden":
            known = sorted(_keys_at(kind, mistake["loc"][:-1], data))
            return f"{where}: unknown key (given {given}); {_suggest(str(mistake['loc'][-1]), known)}"
        case "missing":
            return f"{where}: missing, and it has no default"
        case "class_name_unknown":
            suggestion = _suggest(str(context["given"]), context["known"])
            if not suggestion.startswith("did you mean"):
                suggestion += "; a part of your own is known only to a script that adds it"
            return f"{where}.class_name: {shortened(context['given'])} is unknown; {suggestion}"
        case "class_name_missing":
            return f"{where}.class_name: missing; it says which kind this is"
        case "section_wanted":
            return f'{where}: {given} given; give a section, as {{"class_name": ...}}'
        case "model_type" | "dict_type":
            return f"{where}: {given} given; give a section, keys with values in braces"
        case "literal_error":
            return f"{where}: {given} is not a choice; {_suggest(str(mistake['input']), _choices(context['expected']))}"
        case "list_type":
            return f"{where}: {given} given; give a list, as [{given}]"
        case "tuple_type":
            return f"{where}: {given} given; give a list"
        case "value_error":
            return f"{where}: {context['error']}"
        case _:
            reason = mistake["msg"].replace("Tuple", "List").replace(" after validation", "")
            return f"{where}: {given} given; {reason[0].lower()}{reason[1:]}"


@contextmanager
def hint_of_own_parts() -> Iterator[None]:
    """For files that the suite wrote: an unknown class_name in them is likely a part of the user's own."""
    try:
        yield
    except UserError as error:
        hint = "; if it is a part of your own, start from the script that adds it (.github/CONTRIBUTING.md)"
        unknown = re.compile(r"class_name: .* is unknown; ")
        raise UserError(*(line + hint * bool(unknown.search(line)) for line in str(error).splitlines())) from None


def most_like(given: str, known: list[str]) -> str | None:
    """The known word that is most like the given one; None where none is near it."""
    lowered = {word.lower(): word for word in known}
    near = difflib.get_close_matches(given.lower(), lowered, n=1)
    return lowered[near[0]] if near else None


def shortened(value: Any) -> str:
    """A value as JSON text in ASCII, cut where it is long."""
    return _cut(json.dumps(value, default=str))


def shortened_key(key: str) -> str:
    """A key as it is, cut where it is long; half characters are written as escape sequences."""
    return _cut(key.encode("utf-8", "backslashreplace").decode("utf-8"))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _path(mistake: ErrorDetails, data: Any) -> list[str]:
    """The place in the user's data. Pydantic adds the tags of unions, which are not in the data: they are left out."""
    path = []
    for step in mistake["loc"]:
        if _holds(data, step):
            data = data[step]
        elif mistake["type"] != "missing" or step != mistake["loc"][-1]:
            continue
        path.append(shortened_key(str(step)))
    return path


def _keys_at(kind: Any, loc: tuple[str | int, ...], data: Any) -> set[str]:
    """The keys that the section at this place may have."""
    kinds = _alternatives(kind, data)
    for step in loc:
        if _holds(data, step):
            data = data[step]
            kinds = [inner for outer in kinds for inner in _inside(outer, step, data)]
    return {field.alias or name for kind in kinds if _is_section(kind) for name, field in kind.model_fields.items()}


def _inside(kind: Any, step: str | int, data: Any) -> list[Any]:
    """The types that the data at one step into a type may have."""
    if get_origin(kind) in (list, dict, tuple):
        return _alternatives(get_args(kind)[1 if get_origin(kind) is dict else 0], data)
    if not _is_section(kind):
        return []
    fields = [field for name, field in kind.model_fields.items() if step == (field.alias or name)]
    return [inner for field in fields for inner in _alternatives(field.annotation, data, field.metadata)]


def _alternatives(kind: Any, data: Any, metadata: Any = ()) -> list[Any]:
    """The members of a union; of a table of options.choices, the class that the data names."""
    for table in metadata:
        if hasattr(table, "chosen"):
            return [table.chosen(data)]
    if get_origin(kind) is Annotated:
        inner, *metadata = get_args(kind)
        return _alternatives(inner, data, metadata)
    if get_origin(kind) in (Union, UnionType):
        return [leaf for member in get_args(kind) for leaf in _alternatives(member, data)]
    return [kind]


def _holds(data: Any, step: str | int) -> bool:
    return (isinstance(data, dict) and step in data) or (isinstance(data, list) and step in range(len(data)))


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _suggest(given: str, known: list[str]) -> str:
    """The remedy: the known word that is most like the given one, else all known words."""
    near = most_like(given, known)
    return f'did you mean "{near}"?' if near else f"known: {', '.join(known)}"


def _choices(expected: str) -> list[str]:
    """Of pydantic's "'a', 'b' or 'c'", "1, 2 or 4", "False": as they are written in an option file, without quotes."""
    return [
        {"True": "true", "False": "false"}.get(choice, choice.strip("'")) for choice in re.split(", | or ", expected)
    ]


def _join(place: str, path: list[str]) -> str:
    return ": ".join(part for part in (place, ".".join(path)) if part) or "the option file"
