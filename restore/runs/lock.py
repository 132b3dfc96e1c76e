"""A lock on a run's folder, so that no two processes train the same run."""

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
    """Holds a lock file while the block runs. The lock of a process ends with the process.

    what  what is locked, for the message
    Raises UserError if another process holds it, SaveError if the file cannot be made. On a file system without locks
    nothing is locked.
    """
    try:
        file = path.open("a+")
    except OSError as error:
        raise SaveError(f"{printable(path)}: cannot be made ({error.strerror}); allow writing there") from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not inherited by workers, which may outlive this process
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                holder = file.read().strip()
                raise UserError(f"{what}: in use by process {holder}; wait until it ends, or stop it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
