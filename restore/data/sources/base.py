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


class Recording(NamedTuple):
    """A file, and what makes it as bright as the other one of its pair."""

    file: Path
    gain: float = 1
    """What a raw image is multiplied with."""


class Found(NamedTuple):
    """What a source holds; no file has been opened yet."""

    photographs: list[tuple[Recording, ...]]
    """Of each photograph its recording; of each pair the degraded one and the clean one."""
    left_out: list[str]
    """A line for each file that lacks its partner."""


class Source(Options):
    """Where photographs come from: an entry of training_path or testing_path."""

    class_name: str
    layout: ClassVar[Layout | None] = None
    """Of all its images, where that is known before a file is opened."""
    paired: ClassVar[bool] = False
    """Whether they are pairs."""
    tells_noise: ClassVar[bool] = True
    """Whether the noise of its raw images may be known from their files."""

    def __str__(self) -> str:
        return self.model_dump_json(exclude_none=True)

    def reader(self, recording: Recording) -> str:
        """All that decides, beside the file's content and the gain, what read makes of it: the reader and its version.

        A source that reads files in its own way names that, and raises its version by one when it reads otherwise.
        """
        raw = recording.file.suffix.lower() in raw_file.RAW_SUFFIXES
        return f"raw file {raw_file.READER_VERSION}" if raw else f"picture {images.READER_VERSION}"

    def find(self) -> Found:
        """The photographs, by the names of files and folders alone, in the order of their names.

        Raises UserError if a folder is missing, or nothing in it is named as this source's files are.
        """
        raise NotImplementedError

    def read(self, recording: Recording) -> np.ndarray | Mosaic:
        """sRGB (H, W, 3), uint8 or uint16, or a raw image. Raises BadImage for a file that cannot be used."""
        raise NotImplementedError


def found(photographs: Iterable[tuple[Recording, ...]], left_out: list[str], wanted: str) -> Found:
    """What was found. UserError if that is nothing at all: wanted says where there was nothing, and what there is."""
    photographs = list(photographs)
    if not photographs and not left_out:
        raise UserError(wanted)
    return Found(photographs, left_out)
