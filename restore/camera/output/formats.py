"""What a restored raw file can be written as: a raw file again, or a developed picture."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from options.errors import UserError
from restore.camera.output.developing import developed
from restore.camera.output.dng import write_dng
from restore.camera.output.linear_dng import write_linear_dng
from restore.camera.output.pictures import write_jpeg, write_linear_tiff, write_png, write_tiff
from restore.camera.restored_raw import RestoredRaw


class Format(NamedTuple):
    suffix: str
    write: Callable[[Path, Any], list[str]]
    """Takes the path and a RestoredRaw, or its Picture where it is developed; returns a line for each loss."""
    developed: bool


FORMATS = {
    "dng": Format(".dng", write_dng, developed=False),
    "linear-dng": Format(".linear.dng", write_linear_dng, developed=False),
    "tiff": Format(".tif", write_tiff, developed=True),
    "linear-tiff": Format(".linear.tif", write_linear_tiff, developed=True),
    "png": Format(".png", write_png, developed=True),
    "jpeg": Format(".jpg", write_jpeg, developed=True),
}


def write_all(restored: RestoredRaw, paths: Mapping[str, Path]) -> list[str]:
    """Writes a restored raw file to a path for each name of a format, each file whole or not at all.

    It is developed once for all pictures. Returns a line for each thing that was left out and changes how the picture
    looks. Raises SaveError where a file cannot be written, UserError where a picture is too large for its format.
    """
    unknown = [name for name in paths if name not in FORMATS]
    if unknown:
        raise UserError(f"paths: {', '.join(unknown)} given; known formats: {', '.join(FORMATS)}")
    picture = developed(restored) if any(FORMATS[name].developed for name in paths) else None
    notes: list[str] = []
    for name, path in paths.items():
        notes += FORMATS[name].write(path, picture if FORMATS[name].developed else restored)
    return list(dict.fromkeys(notes))
