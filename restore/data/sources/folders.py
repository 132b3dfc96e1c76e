"""Folders of one's own: photographs to degrade, and pairs that are degraded already."""

import re
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import model_serializer

from options.base import PathText
from restore.data.sample_photographs import make_sample_photographs
from restore.data.sources.base import Found, ImageFile, Source, found
from restore.data.sources.reading import pictures_and_raw_files, read_picture_or_raw
from restore.files.images import IMAGE_SUFFIXES
from transforms.sensor.mosaic import Mosaic

SIZE_MARK = re.compile(r"(?<=.)(?:[_-]?x[2-8]|[_-][LH]R(?:[_-]?x?[2-8])?)$", re.IGNORECASE)
"""At the end of a name without its suffix."""


class Folder(Source):
    """Clean photographs, and raw files whose mosaic is the clean image, in a folder and its subfolders.

    In an option file it is the folder's path alone. The folders of the sample photographs are filled on first use.
    """

    class_name: Literal["Folder"] = "Folder"
    path: PathText
    """The folder, searched with its subfolders."""

    def __str__(self) -> str:
        return self.path

    @model_serializer
    def _path_alone(self) -> str:
        return self.path

    def find(self) -> Found:
        sample = make_sample_photographs(self.path)
        files = pictures_and_raw_files(self.path)
        # An older version of the suite wrote others, of which some are enlarged.
        others = [file for file in files if sample and file.name not in sample]
        left_out = [f"{file}: is no sample photograph; move it to a folder of your own" for file in others]
        return found(((ImageFile(file),) for file in files if file not in others), left_out, _no_picture(self.path))

    def read(self, file: ImageFile) -> np.ndarray | Mosaic:
        return read_picture_or_raw(file)


class PairedFolders(Source):
    """Degraded images in one folder, the clean ones of the same scenes in another, with their subfolders.

    Partners have the same subfolder and the same name without the suffix. Where a name has no such partner, a mark of
    the size at its end is left out: x2 to x8, LR or HR behind _ or -, or both, in large or small letters, as in
    0001x2, 0001_LR, 0001-hr and 0001_LRx4. Both are image files, or both raw files or NTIRE's .npz.
    A clean image that is larger than generator.scale times the degraded one by less than the scale is cut at the right
    and bottom. Raw pairs of unequal sizes begin with R (RGGB), as they would not match otherwise.
    """

    paired: ClassVar[bool] = True

    class_name: Literal["PairedFolders"] = "PairedFolders"
    """May be left out."""
    degraded: PathText
    """The folder of the images to restore."""
    clean: PathText
    """The folder of the images as they should be."""

    def find(self) -> Found:
        left_out: list[str] = []
        degraded, clean = (_by_name(folder, left_out) for folder in (self.degraded, self.clean))
        partners = {name: clean[name] for name in degraded if name in clean}
        marked, others = (_by_base(files, set(partners), left_out) for files in (degraded, clean))
        partners |= {marked[base]: clean[others[base]] for base in marked if base in others}
        left_out += [_alone(degraded[name], self.clean, base) for base, name in marked.items() if base not in others]
        left_out += [_alone(clean[name], self.degraded, base) for base, name in others.items() if base not in marked]
        pairs = ((ImageFile(degraded[name]), ImageFile(partners[name])) for name in degraded if name in partners)
        return found(pairs, left_out, _no_picture(self.degraded))

    def read(self, file: ImageFile) -> np.ndarray | Mosaic:
        return read_picture_or_raw(file)


Name = tuple[bool, Path]
"""Whether it is a raw file, and its path inside the folder without the suffix."""


def _by_name(folder: str, left_out: list[str]) -> dict[Name, Path]:
    """The images of a folder by their names. Of two names that differ only in the suffix the second is left out."""
    files: dict[Name, Path] = {}
    for file in pictures_and_raw_files(folder):
        name = file.suffix.lower() not in IMAGE_SUFFIXES, file.relative_to(folder).with_suffix("")
        if name in files:
            left_out.append(f"{file}: named as {files[name].name} is, which was taken; keep one of them")
        files.setdefault(name, file)
    return files


def _by_base(files: dict[Name, Path], taken: set[Name], left_out: list[str]) -> dict[Name, Name]:
    """The names that are not taken by the same names without marks. Of two of one base the second is left out."""
    names: dict[Name, Name] = {}
    for name in files:
        if name in taken:
            continue
        base = name[0], name[1].with_name(SIZE_MARK.sub("", name[1].name))
        if base in names:
            left_out.append(f"{files[name]}: named as {files[names[base]].name} is but for the size; keep one of them")
        names.setdefault(base, name)
    return names


def _alone(file: Path, other: str, name: Name) -> str:
    kind = "raw file" if name[0] else "picture"
    return f"{file}: has no partner, a {kind} {Path(other) / name[1]}.*; add that or remove this"


def _no_picture(folder: str) -> str:
    suffixes = ", ".join([*sorted(IMAGE_SUFFIXES), "raw files"])
    return f"{folder}: holds no image file; put some there ({suffixes}), or name another"
