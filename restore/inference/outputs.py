"""The names of the files that restoring a folder writes: chosen before anything is written, and all different."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from options.errors import UserError

STRIPS = "strips"
RESULTS, TABLE, REPORT = "results.json", "results.csv", "index.html"
OWN = (STRIPS, RESULTS, TABLE, REPORT)
"""Names that the output folder needs itself."""


class Outputs(NamedTuple):
    """Where the results of one input file go, inside the output folder."""

    restored: dict[str, Path]
    """By the format."""
    strip: Path


def output_names(files: Iterable[Path], suffixes_of: Callable[[Path], dict[str, str]]) -> dict[Path, Outputs]:
    """The outputs of each input file. No two have the same name, not even if case is ignored.

    files        paths inside the input folder
    suffixes_of  the suffixes of a file's restored files, by the format. One replaces the file's own suffix, or follows
                 it where two files differ only in the suffix. Names that are still the same get a number, and so does a
                 folder whose name is taken by the strips or the results
    """
    files = list(files)
    stems = Counter(_key(file.with_suffix("")) for file in files)
    folders = _folder_names(file.parts[0] for file in files if len(file.parts) > 1)
    taken = {_key(Path(name)) for name in OWN}
    taken |= {_key(folder) for file in files for folder in _renamed(file, folders).parents}
    names = {}
    # Files whose stem is unique come first, so that they keep it.
    for file in sorted(files, key=lambda file: (stems[_key(file.with_suffix(""))] > 1, file)):
        place, suffixes = _renamed(file, folders), suffixes_of(file)
        wanted = [] if stems[_key(file.with_suffix(""))] > 1 else [place.with_suffix("")]
        candidates = (_outputs(base, suffixes) for base in chain(wanted, _numbered(place)))
        names[file] = next(outputs for outputs in candidates if not _keys(outputs) & taken)
        taken |= _keys(names[file])
    return names


def check_outputs(output: Path, names: Iterable[Outputs], folders: Iterable[Path], files: Iterable[Path]) -> None:
    """Raises UserError where an output would lie in one of these folders, or replace one of these files."""
    folders, files = [folder.resolve() for folder in folders], {file.resolve() for file in files}
    for path in (output / path for name in names for path in (*name.restored.values(), name.strip)):
        place = path.resolve()
        if place in files or any(place.is_relative_to(folder) for folder in folders):
            raise UserError(f"output: {path} would lie among the pictures that are read; name another folder")


def _outputs(base: Path, suffixes: dict[str, str]) -> Outputs:
    """With these suffixes behind the whole name of the base."""
    restored = {format_: base.with_name(base.name + suffix) for format_, suffix in suffixes.items()}
    return Outputs(restored, Path(STRIPS, base.with_name(f"{base.name}.png")))


def _numbered(place: Path) -> Iterator[Path]:
    """Bases that keep the file's own suffix: a.jpg, a.jpg_2, ..."""
    yield place
    for number in count(2):
        yield place.with_name(f"{place.name}_{number}")


def _folder_names(folders: Iterable[str]) -> dict[str, str]:
    """New names for the folders of the input folder whose names the output folder needs itself."""
    folders = set(folders)
    taken = {*OWN, *map(str.casefold, folders)}
    return {
        folder: next(name for n in count(2) if (name := f"{folder}_{n}").casefold() not in taken)
        for folder in folders
        if folder.casefold() in OWN
    }


def _renamed(file: Path, folders: dict[str, str]) -> Path:
    return Path(folders.get(file.parts[0], file.parts[0]), *file.parts[1:]) if len(file.parts) > 1 else file


def _keys(outputs: Outputs) -> set[str]:
    return {_key(path) for path in (*outputs.restored.values(), outputs.strip)}


def _key(path: Path) -> str:
    return path.as_posix().casefold()
