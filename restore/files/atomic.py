"""Files that are whole or not there at all."""

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from options.errors import SaveError, UserError
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
        untouched = "what was there before is untouched. " if path.exists() else ""
        raise SaveError(
            f"{printable(path)}: could not be written ({error.strerror}); {untouched}"
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
        raise cannot_be_made(path, error) from error
    return path


def cannot_be_made(folder: Path, error: OSError) -> SaveError:
    return SaveError(f"{printable(folder)}: cannot be made ({error.strerror}); allow it, or work in another folder")


def remove_unfinished(folder: Path) -> None:
    """Removes what processes that are gone, killed in the middle of write_atomically, have left in the folder."""
    for file in folder.glob(".*.unfinished"):
        process = file.name.split(".")[1]
        if process.isdecimal() and not _lives(int(process)):
            with suppress(OSError):
                file.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Holds a lock file while it is entered. UserError where another process holds it; a dead process holds nothing.

    what  what is locked, for the message
    Raises SaveError where the file cannot be made. A file system that has no locks refuses nobody.
    """
    try:
        file = path.open("a+")
    except OSError as error:
        raise SaveError(f"{printable(path)}: cannot be made ({error.strerror}); allow writing there") from error
    with file:
        try:
            fcntl.lockf(
                file, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # this process's own: its workers, which may outlive it, not
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                holder = file.read().strip()
                raise UserError(f"{what}: in use by the process {holder}; wait for its end or stop it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
