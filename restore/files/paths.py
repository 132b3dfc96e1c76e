"""Lists folders, and turns paths into text."""

import os
from pathlib import Path

from options.errors import UserError


def files_below(folder: str | Path) -> list[Path]:
    """The files in the folder and the folders inside it, sorted, without hidden ones.

    Links to folders are followed, and each folder is entered once. Raises UserError if there is no such folder, or if
    it or a folder inside it cannot be listed.
    """
    folder, name = Path(folder), printable(folder)
    try:
        if not folder.exists():
            raise UserError(
                f"{name}: there is no such folder; make it and put image or raw files there, or name another"
            )
        if not folder.is_dir():
            raise UserError(f"{name}: is a file, and a folder is wanted; give the folder that holds it")
        return sorted(_walk(folder), key=lambda path: path.parts)
    except OSError as error:
        place = printable(error.filename or folder)
        raise UserError(f"{place}: cannot be read ({error.strerror}); allow it, or name another folder") from None


def _walk(folder: Path) -> list[Path]:
    files, entered = [], set()
    for place, subfolders, names in os.walk(folder, followlinks=True, onerror=_fail):
        if (real := Path(place).resolve()) in entered:
            subfolders.clear()
            continue
        entered.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        paths = [Path(place, name) for name in names if not name.startswith(".")]
        files += [path for path in paths if path.is_file()]
    return files


def _fail(error: OSError) -> None:
    raise error


def printable(path: str | Path) -> str:
    """A path as text that can be printed in one line and written as UTF-8: control characters and bytes that are not
    UTF-8 are written as \\x0a."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if ord(c) > 31 and ord(c) != 127 else f"\\x{ord(c):02x}" for c in text)
