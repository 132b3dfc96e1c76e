"""A list of photographs in a text file."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from options.base import PathText
from options.errors import UserError
from restore.data.sources.base import Found, ImageFile, Source, found
from restore.data.sources.reading import SUFFIXES, read_picture_or_raw
from restore.files.atomic import write_atomically
from restore.files.paths import printable
from transforms.sensor.mosaic import Mosaic

COMMENT = b"#"


class FileList(Source):
    """Clean photographs and raw files that a text file lists, one on a line, as `python -m restore.split` writes it.

    A relative path is taken from the list's own folder, so that lists and photographs may move together and the list
    is the same wherever a command runs. Empty lines and lines that begin with # are not read. Use it to divide one
    folder between training and validation without moving files.
    """

    class_name: Literal["FileList"] = "FileList"
    path: PathText
    """The text file, in UTF-8."""

    def find(self) -> Found:
        files = read_list(Path(self.path))
        others = [file for file in files if file.suffix.lower() not in SUFFIXES]
        photographs = ((ImageFile(file),) for file in files if file.suffix.lower() in SUFFIXES)
        return found(
            photographs,
            [
                f"{file}: is no image file by its name ({file.suffix or 'no suffix'}); take it off the list"
                for file in others
            ],
            f"{self.path}: lists no file; write the paths of image files into it, one on a line",
        )

    def read(self, file: ImageFile) -> np.ndarray | Mosaic:
        return read_picture_or_raw(file)


def read_list(path: Path) -> list[Path]:
    """The files that a list names, whether they are there or not. UserError if the list cannot be read."""
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise UserError(
            f"{printable(path)}: cannot be read ({error.strerror}); give a text file that lists photographs"
        ) from None
    if any(b"\0" in line for line in lines):
        raise UserError(f"{printable(path)}: is no text file; give one that lists photographs, one on a line")
    return [path.parent / os.fsdecode(line) for line in lines if line.strip() and not line.startswith(COMMENT)]


def write_list(path: Path, files: Iterable[Path], about: str) -> None:
    """Writes a list, with paths from its own folder and a first line that says what it is.

    Raises UserError for a file whose name has a line break, which no list can hold, and SaveError with the reason.
    """
    lines = [b"# " + about.encode()]
    for file in files:
        line = os.fsencode(os.path.relpath(file, path.parent))
        if len(line.splitlines()) > 1:
            raise UserError(f"{printable(file)!r}: has a line break in its name; name it otherwise")
        lines.append(b"./" + line if line.startswith(COMMENT) else line)
    write_atomically(path, b"\n".join(lines) + b"\n")
