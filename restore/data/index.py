"""The index of the store: hashes of photographs, and stored images that were checked, known without opening the files.

It only saves time: if it is lost or damaged, the files are read again.
"""

import hashlib
import json
import os
import time
import zlib
from contextlib import suppress
from pathlib import Path

from options.errors import SaveError
from restore.data.stored_image import StoredImage
from restore.files.atomic import write_atomically

NAME = "index"
DAY = 24 * 3600
"""[s]"""
SETTLED = 2
"""A file that is younger may change again without a change of its time stamp [s]."""


class Index:
    """The index of a folder of stored images, a file beside them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.photographs: dict[str, list] = {}
        """By a photograph's path: size, time of change and inode when it was read, and the hash of its content."""
        self.images: dict[str, list] = {}
        """By a stored image's name: size and both times when its checksum was verified, and its description."""
        self.read: list[int] = []
        """State of the file when it was read."""
        self.load()
        self.changed = False

    def load(self) -> None:
        """Adds what the file has and this object has not."""
        with suppress(OSError, ValueError):
            self.read = _state((self.folder / NAME).stat())
            checksum, content = (self.folder / NAME).read_bytes().split(b"\n", 1)
            if int(checksum) == zlib.crc32(content):
                photographs, images = json.loads(content)
                self.photographs, self.images = photographs | self.photographs, images | self.images

    def save(self) -> None:
        """Writes the index if it changed, with what other processes have added meanwhile. A full or read-only disk is
        ignored."""
        if self.changed:
            with suppress(OSError):
                if _state((self.folder / NAME).stat()) != self.read:
                    self.load()
            content = json.dumps([self.photographs, self.images]).encode()
            with suppress(SaveError):
                write_atomically(self.folder / NAME, b"%d\n%b" % (zlib.crc32(content), content))

    def known_content(self, path: str) -> str | None:
        """The hash of the photograph's content if the file has not changed since it was read, else None."""
        record = self.photographs.get(path)
        with suppress(OSError):
            if record and record[:-1] == _state(os.stat(path)):  # noqa: PTH116 - there may be 100,000
                return record[-1]
        return None

    def content(self, path: str) -> str:
        """The hash of the photograph's content. Reads the file."""
        about = Path(path).stat()
        with Path(path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
        if time.time() - about.st_mtime > SETTLED:
            self.photographs[path] = [*_state(about), digest]
            self.changed = True
        return digest

    def known_image(self, name: str) -> StoredImage | None:
        """The stored image if its file has not changed since its checksum was verified, else None. Marks it as used."""
        record = self.images.get(name)
        if record is None:
            return None
        try:
            about = os.stat(f"{self.folder}/{name}")  # noqa: PTH116 - there may be 100,000
        except OSError:
            return None
        size, changed, status_changed, dtype, shape, offset, metadata = record
        if [size, changed, status_changed] != _times(about):
            return None
        image = StoredImage(self.folder / name, dtype, tuple(shape), offset, metadata)
        if time.time() - about.st_mtime > DAY:
            self.add(image)
        return image

    def add(self, image: StoredImage) -> None:
        """Adds an image whose checksum was verified, and marks it as used by its time stamp, at most once a day."""
        about = image.array.stat()
        if time.time() - about.st_mtime > DAY:
            with suppress(OSError):
                os.utime(image.array)
                about = image.array.stat()
        self.images[image.array.name] = [*_times(about), *image[1:]]
        self.changed = True

    def forget_removed(self) -> None:
        """Removes the entries of files that no longer exist, also those that other processes have added."""
        self.load()
        there = {entry.name for entry in os.scandir(self.folder)}
        self.images = {name: record for name, record in self.images.items() if name in there}
        self.photographs = {path: record for path, record in self.photographs.items() if os.path.exists(path)}  # noqa: PTH110
        self.changed = True


def _state(about: os.stat_result) -> list[int]:
    return [about.st_size, about.st_mtime_ns, about.st_ino]


def _times(about: os.stat_result) -> list[int]:
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns]
