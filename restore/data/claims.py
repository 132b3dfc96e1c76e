"""Which stored images are in use, so that no process removes one that another still reads.

A run claims its images: their names are in a file of the store's folder in_use, which the run's process keeps locked
until it needs them no longer. The lock ends with the process, however that ends. While a run looks for its images it
shares the lock of the whole store, and a process that removes images has that lock alone: so nothing is removed between
the look at an image and the claim. flock works between processes, and between machines that share an NFS.
"""

import fcntl
import os
import platform
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER = "in_use"
LOCK = "lock"


class Claim:
    """Images of a store that are not removed while this object exists, or a process that was forked meanwhile.

    Made inside a block of `opening`. In a store that may only be read nothing is claimed.
    """

    def __init__(self, store: Path, names: Iterable[str]):
        with suppress(OSError):
            number, path = tempfile.mkstemp(prefix=f"{platform.node()}.{os.getpid()}.", dir=store / FOLDER)
            os.fchmod(number, 0o644)  # other users look whether it is locked
            weakref.finalize(self, _release, number, path, os.getpid())
            with suppress(OSError):  # a file system without locks: `claimed` then takes every file for locked
                fcntl.flock(number, fcntl.LOCK_EX)
            Path(path).write_text("\n".join(names), encoding="utf-8")


def _release(number: int, path: str, maker: int) -> None:
    if os.getpid() == maker:  # a worker was forked with a copy of the claim, and only closes its file
        Path(path).unlink(missing_ok=True)
    os.close(number)


def claimed(store: Path, alone: bool) -> set[str]:
    """The names of the images in use.

    alone  inside a block of `removing` that may remove: claims of processes that were killed are then removed too.
           Elsewhere one that is not locked may just be made
    """
    names: set[str] = set()
    for path in (store / FOLDER).glob("*.*"):
        with suppress(FileNotFoundError, PermissionError), path.open(encoding="utf-8") as file:
            if not _lock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB):
                names.update(file.read().splitlines())
            elif alone:
                path.unlink()
    return names


@contextmanager
def opening(store: Path) -> Iterator[None]:
    """While the block runs no process removes images. Waits for one that does, which takes seconds."""
    try:
        number = _opened_lock(store)
    except OSError:  # a store that may only be read
        yield
        return
    with os.fdopen(number):
        _lock(number, fcntl.LOCK_SH)
        yield


@contextmanager
def removing(store: Path) -> Iterator[bool]:
    """Yields whether images that are not claimed may be removed while the block runs: not while another process looks
    for its images, and not where files cannot be locked."""
    try:
        number = _opened_lock(store)
    except OSError:
        yield False
        return
    with os.fdopen(number):
        yield _lock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _opened_lock(store: Path) -> int:
    """The file that is locked, opened to read and write: NFS wants the one for a shared lock, and the other for one
    that is held alone. Of another user it is opened to read, which is enough to share it."""
    (store / FOLDER).mkdir(exist_ok=True)
    path = store / FOLDER / LOCK
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY)


def _lock(number: int, how: int) -> bool:
    """Whether the open file of this number could be locked so."""
    try:
        fcntl.flock(number, how)
    except OSError:
        return False
    return True
