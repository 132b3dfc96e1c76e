"""The strict base of every section of an option file, and the one door through which data becomes a section."""

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from options.errors import UserError
from options.mistakes import describe

Kind = TypeVar("Kind")


class Options(BaseModel):
    """A section of an option file: unknown keys are refused, nothing is coerced, and a value once read never changes.

    The text under a field is its documentation, here and in options/schema.json.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def parse(kind: type[Kind], data: Any, place: str = "") -> Kind:
    """Turns JSON data (dicts, lists, numbers, strings) into a section or a list of sections.

    kind   an Options class, or any type made of them: list[...], a union told apart by class_name
    data   what json.loads returns; an object that is of the kind already is taken as it is
    place  what the mistakes' lines begin with: a file's name, or the part of it that is read
    Raises UserError with one line for each mistake in the data, all of them at once.
    """
    adapter = TypeAdapter(kind)
    # By way of JSON text, since strict JSON reads a list into a tuple and strict Python does not.
    text = json.dumps(data, default=_section_as_data)
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        plain = json.loads(text)
        raise UserError(*(describe(mistake, kind, plain, place) for mistake in error.errors())) from None


def _section_as_data(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} is not JSON data")
