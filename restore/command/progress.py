"""Bars on a terminal while many files are read or restored."""

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager

from tqdm import tqdm


def photographs_bar(photographs: Iterable, total: int) -> Iterable:
    """The same photographs, while a bar on a terminal shows how many of the total have been read."""
    return tqdm(photographs, "photographs", total, leave=False, disable=not sys.stderr.isatty())


class FilesBar(AbstractContextManager):
    """A bar that shows how many files are done, parts of a file included, and the time left."""

    def __init__(self, total: int):
        form = "{desc}: {percentage:3.0f}% |{bar}| {n:.1f} of {total} files, {elapsed} gone, {remaining} left"
        self.bar = tqdm(total=total, leave=False, bar_format=form, disable=not sys.stderr.isatty())
        self.done = 0

    def begin(self, file: str) -> None:
        """Names the file that is worked on from now on."""
        self.bar.set_description_str(file)

    def advance(self, share: float) -> None:
        """Adds a part of the file."""
        self.bar.update(min(share, self.done + 1 - self.bar.n))

    def end(self) -> None:
        """Counts the file as done."""
        self.done += 1
        self.bar.update(self.done - self.bar.n)

    def __exit__(self, *error: object) -> None:
        self.bar.close()
