"""Photographs decoded once: every later crop is read from the disk's cache without decoding a file again.

Cropping a decoded 2 MP photograph is a hundred times faster than decoding it. And since every file is decoded before
the training starts, one that is damaged or too small is named then, not met in the middle of a run.
"""

import hashlib
import io
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from options.mistakes import UserError
from restore.atomic import make_folder, write_atomically
from restore.images import BadImage, find_images, read_image
from restore.sample_photographs import make_sample_photographs

STORE = Path("training_data/.decoded")


class Photograph(NamedTuple):
    """A photograph in the store."""

    source: Path
    """The file that it was decoded from."""
    stored: Path
    """Its pixels: a .npy file, sRGB (H, W, 3), uint8 or uint16."""

    def pixels(self) -> np.ndarray:
        """sRGB (H, W, 3), uint8 or uint16, read from the disk only where it is looked at."""
        return np.load(self.stored, mmap_mode="r")


class Photographs(NamedTuple):
    """The photographs of some folders, and what was left out of them."""

    usable: list[Photograph]
    left_out: list[str]
    """A line for each file that is damaged or too small."""


def open_photographs(
    folders: Iterable[str],
    smallest: tuple[int, int],
    place: str,
    watch: Callable[[Iterable, int], Iterable] = lambda photographs, total: photographs,
) -> Photographs:
    """The photographs of the folders, decoded into the store where they are not yet.

    smallest  (height, width) in pixels under which a photograph is left out
    place     the option that names the folders, for the mistakes' lines
    watch     wraps the iteration over the files, to show how far it is
    Raises UserError if a folder is missing or empty or no photograph is left, SaveError if the disk is full.
    """
    files = []
    for number, folder in enumerate(folders):
        make_sample_photographs(folder)
        try:
            files += find_images(folder)
        except UserError as error:
            raise UserError(f"{place}.{number}: {error}") from None
    files = list({file.resolve(): file for file in files}.values())  # folders may overlap, and links lead to one file
    usable, left_out = [], []
    with ThreadPoolExecutor() as pool:
        for outcome in watch(pool.map(lambda file: _open(file, smallest), files), len(files)):
            (left_out if isinstance(outcome, str) else usable).append(outcome)
    if not usable:
        raise UserError(f"{place}: none of the {len(files)} files can be used:", *left_out)
    return Photographs(usable, left_out)


def _open(file: Path, smallest: tuple[int, int]) -> Photograph | str:
    """The photograph, or the line that says why it is left out."""
    try:
        photograph = Photograph(file, _decoded(file))
    except BadImage as error:
        return str(error)
    height, width, _ = photograph.pixels().shape
    if height < smallest[0] or width < smallest[1]:
        return f"{file}: {width} x {height} pixels, and the transforms want at least {smallest[1]} x {smallest[0]}"
    return photograph


def _decoded(file: Path) -> Path:
    """The file's pixels in the store; they are decoded anew when the file has changed."""
    facts = file.stat()
    key = f"{file.resolve()}|{facts.st_size}|{facts.st_mtime_ns}"
    stored = STORE / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    if not stored.exists():
        content = io.BytesIO()
        np.save(content, read_image(file))
        write_atomically(make_folder(STORE) / stored.name, content.getvalue())
    return stored
