"""A lock on a run's folder, so that two processes do not continue one run at once."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from options.errors import SaveError, UserError
from restore.files.paths import printable


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
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # this process's alone: its workers may outlive it
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
