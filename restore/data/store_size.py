"""How large the store is and may become: images that no run uses are removed, the least recently used first."""

import os
import re
import time
from contextlib import suppress
from typing import NamedTuple

from options.errors import UserError
from options.mistakes import shortened
from restore.data.claims import claimed, removing
from restore.data.index import Index
from restore.data.store import STORE
from restore.files.atomic import make_folder, remove_unfinished, write_atomically

DAY = 24 * 3600
"""[s]"""
KEPT = 30 * DAY
"""A stored image that no run has used for so long is removed [s]."""
LARGE = 1e9
"""The size of a larger store is reported at the start of a run [bytes]."""
LIMIT = "limit"
"""A file in the store: the most bytes that it may have."""
UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


class StoredFile(NamedTuple):
    """A decoded image in the store."""

    name: str
    size: int
    """[bytes]"""
    unused: float
    """For how long no run has begun with it, to about a day [s]."""
    in_use: bool
    """Whether a run that goes on uses it."""


def contents(alone: bool = False) -> list[StoredFile]:
    """The images in the store, the least recently used first. alone: as of `claimed`."""
    in_use, now = claimed(STORE, alone), time.time()
    files = []
    for entry in os.scandir(STORE) if STORE.exists() else ():
        with suppress(OSError):  # another process may remove it
            if entry.name.endswith(".npy"):
                about = entry.stat()
                unused = now - max(about.st_mtime, about.st_atime)
                files.append(StoredFile(entry.name, about.st_size, unused, entry.name in in_use))
    return sorted(files, key=lambda file: file.unused, reverse=True)


def limit() -> int | None:
    """The most bytes that the store may have; None: any number."""
    with suppress(OSError, ValueError):
        return int((STORE / LIMIT).read_text(encoding="utf-8"))
    return None


def set_limit(text: str) -> None:
    """Keeps the limit in the store, "200GB" or "none", for all runs that use it. UserError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(MB|GB|TB)", text.strip(), re.IGNORECASE)
    if text == "none":
        (STORE / LIMIT).unlink(missing_ok=True)
    elif found:
        make_folder(STORE)
        write_atomically(STORE / LIMIT, str(int(float(found[1]) * UNITS[found[2].upper()])).encode())
    else:
        raise UserError(f"limit: {shortened(text)} given; give a size in MB, GB or TB, as 200GB, or none")


def clean_store() -> str | None:
    """Removes unfinished files, images unused for 30 days, and those beyond the limit. Returns a line for the user if
    the store is large or something was beyond the limit.

    Nothing is removed while another process looks for its images: that one cleans the store when it has them.
    """
    remove_unfinished(STORE)
    most = limit()
    with removing(STORE) as possible:
        files = contents(possible)
        idle = [file for file in files if not file.in_use] if possible else []
        old = [file for file in idle if file.unused > KEPT]
        beyond = [] if most is None else _longest_unused(idle[len(old) :], total(files) - total(old) - most)
        gone = _remove(old + beyond)
    size = total([file for file in files if file.name not in gone])
    if size + total(old) < LARGE and not beyond:
        return None
    line = f"{STORE}: {in_words(size)} of decoded images; python -m restore.store shows and cleans it"
    if old:
        line += f". {len(old)} that were unused for 30 days ({in_words(total(old))}) were removed"
    if beyond:
        line += f". {len(beyond)} that were unused for longest ({in_words(total(beyond))}) were removed for the limit"
    if most is not None and size > most and possible:
        line += f". The limit is {in_words(most)}, but runs use what is left"
    return line


def clear_store() -> bool:
    """Removes all images that no run uses; False: none, as another process is looking for its images, or the store may
    only be read, or has no file locks."""
    with removing(STORE) as possible:
        files = contents(possible)
        _remove([file for file in files if possible and not file.in_use])
    return possible or not files


def _longest_unused(files: list[StoredFile], size: int) -> list[StoredFile]:
    """The first of the files, as many as have this size [bytes] together."""
    chosen = []
    for file in files:
        if size <= 0:
            break
        chosen.append(file)
        size -= file.size
    return chosen


def _remove(chosen: list[StoredFile]) -> set[str]:
    """Removes these, and returns the names of those that could be removed."""
    gone = set()
    for file in chosen:
        with suppress(OSError):
            (STORE / file.name).unlink()
            gone.add(file.name)
    if gone:
        index = Index(STORE)
        index.forget_removed()
        index.save()
    return gone


def total(files: list[StoredFile]) -> int:
    """[bytes]"""
    return sum(file.size for file in files)


def in_words(size: int) -> str:
    """A size [bytes] for a person, as 1.5 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
