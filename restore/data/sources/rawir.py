"""RAWIR, the raw images of the NTIRE challenges on raw restoration."""

from typing import ClassVar, Literal

import numpy as np

from options.base import PathText
from restore.data.sources.base import Found, ImageFile, Source, found
from restore.data.sources.reading import packed_mosaic
from restore.files.images import BadImage
from restore.files.paths import files_below
from transforms.sensor.layout import RGGB, Layout
from transforms.sensor.mosaic import Mosaic

WHITE = 4095
"""[DN] above a black level of 0."""


class RAWIR(Source):
    """Clean raw images, 12_3.npy and the like: packed raw (h, w, 4), uint16, of 12 bits.

    The cameras' colours are not known: the images are rendered with the white balance 2.15, 1, 1.7.
    Source: Conde et al., NTIRE Challenge on RAW Image Super-Resolution, CVPR Workshops 2024.
    """

    layout: ClassVar[Layout | None] = RGGB
    tells_noise: ClassVar[bool] = False

    class_name: Literal["RAWIR"] = "RAWIR"
    path: PathText
    """The folder of the .npy files, searched with its subfolders."""

    def find(self) -> Found:
        files = [file for file in files_below(self.path) if file.suffix.lower() == ".npy"]
        wanted = f"{self.path}: holds no RAWIR image; looked for 12_3.npy and the like"
        return found(((ImageFile(file),) for file in files), [], wanted)

    def reader(self, file: ImageFile) -> str:
        return "RAWIR 1"

    def read(self, file: ImageFile) -> Mosaic:
        try:
            packed = np.load(file.path)
        except (OSError, ValueError, EOFError):
            raise BadImage(file.path, "is no .npy file of numbers, or damaged", "download it again") from None
        return packed_mosaic(file.path, packed, WHITE)
