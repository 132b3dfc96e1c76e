"""What every source of photographs is: an option section that finds its files and reads each of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from options.base import Options
from options.errors import UserError
from restore.camera import raw_file
from restore.files import images
from transforms.sensor.layout import Layout
from transforms.sensor.mosaic import Mosaic


class ImageFile(NamedTuple):
    """An image file or a raw file, and how it is scaled."""

    path: Path
    gain: float = 1
    """What a raw image is multiplied by, to be as bright as the other one of its pair."""


class Found(NamedTuple):
    """The files of a source. None has been opened yet."""

    photographs: list[tuple[ImageFile, ...]]
    """One file for each photograph; two for each pair, the degraded one first and then the clean one."""
    left_out: list[str]
    """A line for each file that lacks its partner or does not belong to the source."""


class Source(Options):
    """Where photographs come from: an entry of training_path or testing_path."""

    class_name: str
    layout: ClassVar[Layout | None] = None
    """Of all its images; None where it is known only when a file is opened."""
    paired: ClassVar[bool] = False
    """Whether they are pairs."""
    tells_noise: ClassVar[bool] = True
    """Whether its raw files may have a noise profile."""

    def __str__(self) -> str:
        return self.model_dump_json(exclude_none=True)

    def reader(self, file: ImageFile) -> str:
        """The name and version of the reader: with the file's content and the gain they determine the decoded image.

        A source with a reader of its own returns that one's name, and raises its version by one when its result
        changes.
        """
        suffix = file.path.suffix.lower()
        if suffix in images.IMAGE_SUFFIXES:
            return f"picture {images.READER_VERSION}"
        return f"raw file {raw_file.READER_VERSION}" if suffix in raw_file.RAW_SUFFIXES else "packed raw 1"

    def find(self) -> Found:
        """The photographs, by the names of files and folders alone, in the order of their names.

        Raises UserError if a folder is missing, or nothing in it is named as this source's files are.
        """
        raise NotImplementedError

    def read(self, file: ImageFile) -> np.ndarray | Mosaic:
        """sRGB (H, W, 3), uint8 or uint16, or a raw image. Raises BadImage for a file that cannot be used."""
        raise NotImplementedError


def found(photographs: Iterable[tuple[ImageFile, ...]], left_out: list[str], wanted: str) -> Found:
    """What was found. Raises UserError with the message `wanted` if there is no file at all."""
    photographs = list(photographs)
    if not photographs and not left_out:
        raise UserError(wanted)
    return Found(photographs, left_out)
