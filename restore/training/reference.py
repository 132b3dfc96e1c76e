"""python -m restore.training.reference: writes options/schema.json, and the option tables of the READMEs.

A README says where a table stands: between the lines `<!-- options: CameraProfile -->` and `<!-- end -->` every key of
that section, between `<!-- options: TRANSFORMS -->` and `<!-- end -->` a row for every choice of that table, and then
the keys of each. With --check nothing is written, and the exit status is 1 where a file is not as it would be written.
"""

import json
import re
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from losses import LOSSES
from options.base import Options
from options.choices import TAG, Choices
from restore.data.sources import SOURCES
from restore.networks import DISCRIMINATORS, GENERATORS
from restore.tracking import TRACKERS
from restore.training.optimizers import OPTIMIZERS
from restore.training.option_file import TrainingOptions, json_schema
from restore.training.schedules import SCHEDULES
from transforms import TRANSFORMS
from transforms.noise import NOISE_MODELS

ROOT = Path(__file__).parents[2]
SCHEMA = Path("options/schema.json")
TABLES = {
    "LOSSES": LOSSES,
    "TRANSFORMS": TRANSFORMS,
    "NOISE_MODELS": NOISE_MODELS,
    "GENERATORS": GENERATORS,
    "DISCRIMINATORS": DISCRIMINATORS,
    "OPTIMIZERS": OPTIMIZERS,
    "SCHEDULES": SCHEDULES,
    "SOURCES": SOURCES,
    "TRACKERS": TRACKERS,
}
MARKED = re.compile(r"(<!-- options: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


class Readme(NamedTuple):
    """A README that has tables."""

    path: Path
    """From the repository's root."""
    text: str

    @property
    def names(self) -> list[str]:
        """What its tables are of."""
        return [name for _, name, _ in MARKED.findall(self.text)]


def readmes() -> list[Readme]:
    """Every README of the repository that has tables."""
    paths = [path for folder in ("", "[!.]*/", "restore/*/") for path in sorted(ROOT.glob(f"{folder}README.md"))]
    found = [Readme(path.relative_to(ROOT), path.read_text(encoding="utf-8")) for path in paths]
    return [readme for readme in found if readme.names]


def reference() -> dict[Path, str]:
    """The generated files as they should be, by their paths from the repository's root."""
    return {SCHEMA: f"{json.dumps(json_schema(), indent=2)}\n"} | {readme.path: filled(readme) for readme in readmes()}


def filled(readme: Readme) -> str:
    """A README with its tables as the code has them. ValueError for a marker that names nothing."""
    sections = all_sections()
    if unknown := [name for name in readme.names if name not in TABLES and name not in sections]:
        raise ValueError(f"{readme.path}: <!-- options: {unknown[0]} -->: no section and no table has this name")
    shown = [sections[name] for name in readme.names if name in sections]

    def tables(marked: re.Match) -> str:
        name = marked[2]
        text = all_choices(TABLES[name], shown) if name in TABLES else keys(sections[name], shown)
        return f"{marked[1]}\n{text}\n\n{marked[3]}"

    return MARKED.sub(tables, readme.text)


def all_sections() -> dict[str, type[Options]]:
    """Every section by the name that a marker may give: its class_name, or, of a section without one, its class's."""
    sections: dict[str, type[Options]] = {kind.__name__: kind for kind in _outside_tables()}
    for choices in TABLES.values():
        for name, kind in choices.kinds.items():
            bases = [base for base in kind.__mro__[1:] if issubclass(base, choices.base)]
            sections |= {base.__name__: base for base in bases if base not in choices.kinds.values()}
            assert name not in sections, f"two sections are called {name}"
            sections[name] = kind
    return sections


def _outside_tables() -> list[type[Options]]:
    """The sections that are a choice of no table: the option file itself, and what stands inside other sections."""
    kinds: list[type[Options]] = [kind for choices in TABLES.values() for kind in choices.kinds.values()]
    bases = tuple(choices.base for choices in TABLES.values())
    found: list[type[Options]] = [TrainingOptions]
    for kind in [*found, *kinds]:
        found += _inside(kind, bases)
    return list(dict.fromkeys(found))


def _inside(section: type[Options], bases: tuple[type[Options], ...]) -> list[type[Options]]:
    """The sections that the fields of one hold, and those that these hold, but for those of the tables."""
    held = [part for field in section.model_fields.values() for part in _held(field.annotation)]
    held = [part for part in held if not issubclass(part, bases)]
    return [part for outer in held for part in (outer, *_inside(outer, bases))]


def _held(kind: Any) -> list[type[Options]]:
    if isinstance(kind, type) and issubclass(kind, Options):
        return [kind]
    return [part for argument in get_args(kind) for part in _held(argument)]


def undocumented() -> list[str]:
    """A line for each section that is in no README."""
    sections = all_sections()
    names = {name for readme in readmes() for name in readme.names}
    shown = {sections[name] for name in names if name in sections}
    wanted = {kind.__name__: kind for kind in _outside_tables()}
    for table, choices in TABLES.items():
        wanted |= {} if table in names else choices.kinds
    return [
        f"{name}: is in no README; add <!-- options: {name} -->" for name, kind in wanted.items() if kind not in shown
    ]


def all_choices(choices: Choices, shown: list[type[Options]]) -> str:
    """A row for each choice, and below it the rest of the documentation and the keys of each that has any.

    shown  the sections whose own tables are in the same README: they are not repeated
    """
    rows = [(f"`{name}`", _paragraphs(kind)[0]) for name, kind in choices.kinds.items()]
    parts = [_table((f"`{TAG}`", "what it is"), rows)]
    for name, kind in choices.kinds.items():
        more = _paragraphs(kind)[1:] + ([keys(kind, shown)] if _keys_of_its_own(kind, shown) else [])
        if kind not in shown and more:
            parts += [f"### {name}", *more]
    return "\n\n".join(parts)


def keys(section: type[Options], shown: list[type[Options]]) -> str:
    """A row for each key of a section: what the table of a base in the same README says is not said again."""
    fields = _keys_of_its_own(section, shown)
    rows = [(f"`{key}`", _default(field), _documentation(field)) for key, field in fields.items()]
    return _table(("key", "default", "what it is"), rows)


def _keys_of_its_own(section: type[Options], shown: list[type[Options]]) -> dict[str, FieldInfo]:
    bases = [base for base in shown if base is not section and issubclass(section, base)]
    fields = _fields(section)
    return {key: field for key, field in fields.items() if not any(_says(base, key, field) for base in bases)}


def _fields(section: type[Options]) -> dict[str, FieldInfo]:
    """The fields by the keys of the option file. A class_name says which section this is, and has no need of a row."""
    fields = {field.alias or name: field for name, field in section.model_fields.items()}
    return {key: field for key, field in fields.items() if key != TAG or field.description}


def _says(section: type[Options], key: str, field: FieldInfo) -> bool:
    """Whether the table of a section says of this key what is to be said of the field."""
    own = _fields(section).get(key)
    return own is not None and (_default(own), _documentation(own)) == (_default(field), _documentation(field))


def _default(field: FieldInfo) -> str:
    return (
        "required"
        if field.is_required()
        else f"`{json.dumps(to_jsonable_python(field.get_default(call_default_factory=True)))}`"
    )


def _documentation(field: FieldInfo) -> str:
    text = " ".join((field.description or "").split())
    choices = _choices(field.annotation)
    if len(choices) < 2 or all(choice in text for choice in choices):
        return text
    return f"{text} One of {', '.join(f'`{json.dumps(choice)}`' for choice in choices)}."


def _choices(kind: Any) -> list[str]:
    """The words that a field may hold."""
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    if get_origin(kind) in (Annotated, Union, UnionType):
        return [choice for part in get_args(kind) for choice in _choices(part)]
    return []


def _paragraphs(section: type[Options]) -> list[str]:
    """A section's documentation, each paragraph in one line."""
    return [" ".join(paragraph.split()) for paragraph in (section.__doc__ or "").strip().split("\n\n")]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def main(words: list[str] | None = None) -> int:
    parser = ArgumentParser(
        "python -m restore.training.reference",
        description="Writes options/schema.json and the option tables of the READMEs, from the code.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 where a file differs")
    arguments = parser.parse_args(words)
    stale = {path: text for path, text in reference().items() if _text(ROOT / path) != text}
    for path, text in stale.items():
        if arguments.check:
            print(f"{path}: not as the code has it; run python -m restore.training.reference")
        else:
            (ROOT / path).write_text(text, encoding="utf-8")
            print(f"{path}: written")
    return int(arguments.check and bool(stale))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
