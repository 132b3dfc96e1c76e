"""The strict base class of every section of an option file, and the functions that turn data into a section."""

import os
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema

from options.errors import UserError
from options.mistakes import describe, shortened

Kind = TypeVar("Kind")
LONGEST_NAME, LONGEST_PATH = 255, 4095
"""Longest file name and longest path that Linux and macOS allow [bytes]."""


def _take_lists_for_tuples(schema: Any) -> None:
    """Accepts a list where a field is a tuple, as JSON has no tuples. Its items are still validated strictly."""
    if isinstance(schema, dict):
        if schema.get("type") == "tuple":
            schema["strict"] = False
        for part in schema.values():
            _take_lists_for_tuples(part)
    elif isinstance(schema, list):
        for part in schema:
            _take_lists_for_tuples(part)


class Options(BaseModel):
    """A section of an option file: unknown keys are refused, nothing is coerced, and a value once read never changes.

    The text under a field is its documentation, here and in options/schema.json.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        _take_lists_for_tuples(handler.resolve_ref_schema(schema))
        return schema


class Parsed(NamedTuple):
    """The result of validating a section's data."""

    section: Any
    """The finished section; None where the data has a mistake."""
    valid: dict[str, Any]
    """The values of the fields without a mistake, by the fields' names."""
    mistakes: list[str]
    """One line for each."""


def parse(kind: type[Kind], data: Any, place: str = "") -> Kind:
    """Turns JSON data (dicts, lists, numbers, strings) into a section, or into a list or a dict of sections.

    kind   an Options class, or any type made of them: list[...], a type of a table of Choices
    data   as json.loads returns it; it may contain finished sections, which are kept as they are
    place  how each mistake's line begins: with the file's name, or with the part of the file that data is
    Raises UserError with all mistakes in the data, one line for each.
    """
    section, mistakes = _validated(kind, data, place, {})
    if mistakes:
        raise UserError(*mistakes)
    return section


def parse_whole(kind: type[Options], data: Any, place: str = "") -> Parsed:
    """Like parse, for a caller with more to check: returns the mistakes, and the fields that have none.

    kind  an Options class whose validator of all fields stores each valid value in the validation's context, a dict
    """
    kept: dict[str, Any] = {}
    section, mistakes = _validated(kind, data, place, kept)
    given = data if isinstance(data, dict) else {}
    left_out = {name: field for name, field in kind.model_fields.items() if (field.alias or name) not in given}
    defaults = {name: field.default for name, field in left_out.items() if not field.is_required()}
    return Parsed(section, defaults | kept, mistakes)


def _validated(kind: Any, data: Any, place: str, kept: dict[str, Any]) -> tuple[Any, list[str]]:
    try:
        return TypeAdapter(kind).validate_python(data, context=kept), []
    except ValidationError as error:
        return None, [describe(mistake, kind, data, place) for mistake in error.errors()]


def check_path(path: str) -> str:
    """The same path; ValueError for a path that no file can have."""
    if not path:
        raise ValueError('"" given; give a path, as "." for the current folder')
    if "\0" in path:
        raise ValueError(f"{shortened(path)} given; a path cannot contain a null character")
    size = len(os.fsencode(path))
    longest = max(len(os.fsencode(name)) for name in path.split("/"))
    if size > LONGEST_PATH or longest > LONGEST_NAME:
        raise ValueError(
            f"{shortened(path)} given, a path of {size} bytes; at most {LONGEST_PATH} are possible, "
            f"and {LONGEST_NAME} for each name in it"
        )
    return path


PathText = Annotated[str, Field(min_length=1), AfterValidator(check_path)]
"""The path of a file or folder, as text."""
