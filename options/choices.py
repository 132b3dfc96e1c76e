"""Tables of the sections that an option file chooses by class_name. Other code may add classes to a table."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from options.base import Options

TAG = "class_name"


class Shorthand(NamedTuple):
    """What may be written in place of a section of a table."""

    section: Callable[[Any], Any]
    """Turns what was written into the section's data; data of a section is returned unchanged."""
    written: Callable[["Choices"], Any]
    """The type of what may be written, for the JSON Schema."""


class Choices:
    """The sections that one place of an option file may hold; class_name says which one it is.

        TRANSFORMS = Choices(Transform, Downsample, RandomCrop)
        TransformOptions = Annotated[Transform, TRANSFORMS]  # the type of a field

    base       the class from which every section of the table is derived
    kinds      the sections' classes: each has a field class_name: Literal["Name"] = "Name"
    shorthand  what may be written in place of a section

    Classes are looked up when a file is read, so a class that was added later is known everywhere.
    """

    def __init__(self, base: type[Options], *kinds: type[Options], shorthand: Shorthand | None = None):
        self.base = base
        self.shorthand = shorthand
        self.kinds: dict[str, type[Options]] = {}
        for kind in kinds:
            self.add(kind)

    def add(self, kind: type[Options]) -> None:
        """Adds a class to the table, before the option file is read. ValueError for a class that does not fit."""
        if not (isinstance(kind, type) and issubclass(kind, self.base)):
            raise ValueError(f"{kind!r}: no choice here; derive it from {self.base.__name__}")
        field = kind.model_fields.get(TAG)
        if field is None or field.default not in get_args(field.annotation):
            raise ValueError(f'{kind.__name__}: has no name; give it a field {TAG}: Literal["Name"] = "Name"')
        if field.default in self.kinds:
            taken = self.kinds[field.default].__name__
            raise ValueError(f'{kind.__name__}: the {TAG} "{field.default}" is taken by {taken}; choose another')
        self.kinds[field.default] = kind

    def chosen(self, data: Any) -> type[Options] | None:
        """The class that a section's data names; None where it names none of the table."""
        data = self._section(data)
        name = data.get(TAG) if isinstance(data, dict) else None
        return self.kinds.get(name) if isinstance(name, str) else None

    def _section(self, data: Any) -> Any:
        return self.shorthand.section(data) if self.shorthand else data

    def _validated(self, data: Any) -> Options:
        """The finished section; a section that is finished already is returned unchanged."""
        if type(data) in self.kinds.values():
            return data
        section = self._section(data)
        if not isinstance(section, dict):
            raise PydanticCustomError("section_wanted", "a section with a class_name is wanted")
        if TAG not in section:
            raise PydanticCustomError("class_name_missing", "class_name is missing")
        kind = self.chosen(section)
        if kind is None:
            context = {"given": section[TAG], "known": list(self.kinds)}
            raise PydanticCustomError("class_name_unknown", "class_name is unknown", context)
        return kind.model_validate(section)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._validated)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        sections = core_schema.tagged_union_schema(
            {name: kind.__pydantic_core_schema__ for name, kind in self.kinds.items()}, discriminator=TAG
        )
        if self.shorthand is None:
            return handler(sections)
        written = TypeAdapter(self.shorthand.written(self)).core_schema
        return handler(core_schema.union_schema([written, sections]))


def _section_of_name(given: Any) -> Any:
    return {TAG: given} if isinstance(given, str) else given


def _names_without_parameters(choices: Choices) -> Any:
    return Literal[tuple(name for name, kind in choices.kinds.items() if not _needs_parameters(kind))]


def _needs_parameters(kind: type[Options]) -> bool:
    return any(field.is_required() for field in kind.model_fields.values())


NAME_ALONE = Shorthand(_section_of_name, _names_without_parameters)
"""A class_name alone stands for the section with its defaults."""
