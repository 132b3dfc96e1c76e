"""The clean mosaics that restored raw files are measured against."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from options.errors import UserError
from restore.camera.raw_file import RAW_SUFFIXES, linear, read_raw
from restore.camera.restored_raw import RestoredRaw
from restore.files.images import BadImage, read_grey
from restore.files.paths import files_below

PICTURE_SUFFIXES = {".png", ".tif", ".tiff"}
"""Of image files that hold a mosaic: grey, 16 bits."""


class CleanMosaics:
    """A folder of clean raw files, or of mosaics as grey PNG or TIFF files, in the numbers of the restored file.

    A file has the path of the restored file's source inside the folder, but for the suffix. It shows the visible area,
    as large as the restored mosaic and with the same colours in its first two rows.
    Raises UserError if there is no such folder, or nothing usable in it.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            files = files_below(folder)
        except UserError as mistake:
            raise UserError(f"target: {mistake}") from None
        self.files: dict[Path, list[Path]] = defaultdict(list)
        for file in files:
            if file.suffix.lower() in RAW_SUFFIXES | PICTURE_SUFFIXES:
                self.files[file.relative_to(folder).with_suffix("")].append(file)
        if not self.files:
            raise UserError(f"target: {folder}: holds no raw file and no grey PNG or TIFF file; put clean ones there")

    def of(self, file: Path, restored: RestoredRaw) -> np.ndarray:
        """(s * H, s * W) float32, linear, 0 black, 1 white: the clean mosaic of a restored raw file.

        file  the path of its source inside the folder that was restored
        Raises UserError where there is none, or it does not fit.
        """
        found = self.files.get(file.with_suffix(""), [])
        if not found:
            raise UserError(f"{self.folder} has no raw file or mosaic of this name; add it, or give no target")
        if len(found) > 1:
            raise UserError(f"{' and '.join(map(str, found))} could both be its target; keep one of them")
        (path,) = found
        if path.suffix.lower() in RAW_SUFFIXES:
            source = read_raw(path)
            clean, pattern = source.linear(), source.pattern
        else:
            clean, pattern = _linear(path, restored), restored.pattern
        if (clean.shape, pattern) != (restored.mosaic.shape, restored.pattern):
            raise UserError(
                f"{path}: {clean.shape[1]} x {clean.shape[0]} pixels of {pattern}, and the restored mosaic has "
                f"{restored.mosaic.shape[1]} x {restored.mosaic.shape[0]} of {restored.pattern}; a target must have "
                f"the same"
            )
        return clean


def _linear(path: Path, restored: RestoredRaw) -> np.ndarray:
    """The mosaic of a grey image file, by the black and white levels of the restored file."""
    values = read_grey(path)
    if values.dtype != np.uint16:
        raise BadImage(path, "has 8 bits", "give the numbers of the sensor in 16 bits")
    return linear(values, restored.pattern, restored.source.black, restored.source.white)
