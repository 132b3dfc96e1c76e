"""Files that are whole or not there at all."""

import os
import threading
from contextlib import suppress
from pathlib import Path

from options.errors import SaveError
from restore.files.paths import printable


def write_atomically(path: Path, content: bytes) -> None:
    """Puts the content in the file's place in one step: a full disk or a killed process leaves the old file whole.

    Raises SaveError with one line that says why.
    """
    unfinished = path.with_name(f".{os.getpid()}.{threading.get_ident()}.unfinished")
    try:
        with unfinished.open("wb") as target:
            target.write(content)
            target.flush()
            os.fsync(target.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise SaveError(
            f"{printable(path)}: could not be written ({error.strerror}); what was there before is untouched. "
            f"Free some space or allow writing there"
        ) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def make_folder(path: Path) -> Path:
    """Makes the folder, with those above it, unless it is there. Raises SaveError with one line that says why not."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(
            f"{printable(path)}: cannot be made ({error.strerror}); allow it, or work in another folder"
        ) from error
    return path
