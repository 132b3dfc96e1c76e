"""Writes files in one step: a file is complete, or it is not there."""

import os
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from options.errors import SaveError
from restore.files.paths import printable

UNFINISHED = ".unfinished"
LONGEST_WRITING = 24 * 3600
"""An unfinished file of another machine is removed when it is older than this [s]."""


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """A new file to write to. It replaces the file at path in one step when the block ends without an error.

    A full disk, an error or a killed process leaves the old file as it was. Raises SaveError with the reason.
    """
    name = f".{platform.node()}.{os.getpid()}.{threading.get_ident()}{UNFINISHED}"
    unfinished = path.with_name(name)
    try:
        with unfinished.open("wb") as target:
            yield target
            target.flush()
            os.fsync(target.fileno())
        unfinished.replace(path)
    except OSError as error:
        untouched = "what was there before is untouched. " if path.exists() else ""
        raise SaveError(
            f"{printable(path)}: could not be written ({error.strerror}); {untouched}"
            f"Free some space or allow writing there"
        ) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes the content in one step, as open_atomically does. Raises SaveError with the reason."""
    with open_atomically(path) as target:
        target.write(content)


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A path of this name in a new folder beside it, to be written to and checked, with others beside it.

    When the block ends without an error, each file of the folder replaces the one of its name beside path; after an
    error those are as they were. Raises SaveError with the reason.
    """
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(UNFINISHED, ".", path.parent))
        yield folder / path.name
        for file in sorted(folder.iterdir()):
            file.replace(path.with_name(file.name))
    except OSError as error:
        raise SaveError(
            f"{printable(path)}: could not be written ({error.strerror}); free some space or allow writing there"
        ) from error
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Removes from the folder the unfinished files of processes that were killed."""
    for file in folder.glob(f".*{UNFINISHED}"):
        with suppress(OSError, ValueError):  # gone by now, or not named by open_atomically
            *host, process, _, _ = file.name.removeprefix(".").split(".")
            here = ".".join(host) in ("", platform.node())
            given_up = not _is_running(int(process)) if here else time.time() - file.stat().st_mtime > LONGEST_WRITING
            if given_up:
                file.unlink()


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


def make_folder(path: Path) -> Path:
    """Makes the folder and those above it, unless they exist. Raises SaveError with the reason."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_be_made(path, error) from error
    return path


def cannot_be_made(folder: Path, error: OSError) -> SaveError:
    return SaveError(f"{printable(folder)}: cannot be made ({error.strerror}); allow it, or work in another folder")
