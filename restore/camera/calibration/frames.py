"""Folders of calibration frames: finds the pairs, reads their planes in DN, and measures them."""

import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from options.errors import UserError
from restore.camera.calibration.photon_transfer import Pairs, measure_pair, shape_samples, stack
from restore.camera.raw_file import RAW_SUFFIXES, RawFile, read_raw, sites
from restore.files.images import BadImage, read_grey
from restore.files.paths import files_below, printable

LOSSLESS_SUFFIXES = {".png", ".tif", ".tiff"}
"""Of the image files that may be frames: JPEG changes the noise."""
SATURATED = 0.05
"""If at least this share of a flat's values equals its highest value, that value is taken for the white level."""

FilePair = tuple[Path, Path]


class Frame(NamedTuple):
    """A calibration frame as read."""

    planes: np.ndarray
    """(C, h, w) float32 [DN] as the camera recorded it, black included: R, G1, G2, B of a mosaic, or one of grey."""
    white: float | None
    """White level [DN], where the file says it."""
    camera: str = "unknown camera"
    iso: float | None = None
    black: np.ndarray | None = None
    """(C,) black level [DN], where the file says it."""
    exposure_time: float | None = None
    """[s]."""


class MeasuredFrames(NamedTuple):
    """What was measured on a folder of flats and a folder of dark frames."""

    channels: list[str]
    """Names of the C planes."""
    shape: tuple[int, int]
    """(h, w) of a plane [px]."""
    white: float
    """White level [DN]."""
    levels: Pairs
    """Of each pair of flats."""
    flat_files: list[FilePair]
    """Of each pair of flats."""
    darks: Pairs
    shape_samples: np.ndarray
    """(n,) of calibration.shape_samples, from the first pair of dark frames."""
    camera: str
    """Make and model."""
    iso: float | None


def read_folders(flats: str | Path, darks: str | Path, white: float | None) -> MeasuredFrames:
    """Reads and measures all pairs of flats and of dark frames, one pair at a time.

    white  white level [DN]; None: the raw files' own, 255 for 8 bits, or the level at which flats of 16 bits saturate
    Raises UserError, which names the files, where frames do not fit together.
    """
    flat_files, dark_files = find_pairs(flats, "flats"), find_pairs(darks, "darks")
    first = read_frame(dark_files[0][0])
    check_white(white)
    if white is None:
        white = first.white or _saturation([file for pair in flat_files for file in pair])
    measured_darks = measure_darks(dark_files, first, white)
    black = measured_darks.mean.mean(0)
    return MeasuredFrames(
        channels=["R", "G1", "G2", "B"] if len(first.planes) == 4 else ["grey"],
        shape=first.planes.shape[1:],
        white=white,
        flat_files=flat_files,
        levels=_measured_flats(flat_files, first, white, black),
        darks=measured_darks,
        shape_samples=dark_samples(dark_files, first),
        camera=first.camera,
        iso=first.iso,
    )


def check_white(white: float | None) -> None:
    """Raises UserError for a white level that no file has."""
    if white is not None and not 0 < white <= 65535:
        raise UserError(f"white: {white:g} given; give the highest value that the camera's files hold, at most 65535")


def find_pairs(folder: str | Path, argument: str) -> list[FilePair]:
    """The frames of a folder two by two, as they were taken: in the order of their names, each folder for itself.

    argument  name of the argument that the folder was given as, for the messages
    Numbers in names count as numbers. Raises UserError if there are no frames or their number is odd.
    """
    name = printable(folder)
    inside: dict[Path, list[Path]] = {}
    for file in find_frames(folder, argument, LOSSLESS_SUFFIXES | RAW_SUFFIXES):
        inside.setdefault(file.parent, []).append(file)
    if not inside:
        raise UserError(f"{argument}: {name} holds no frames; put raw files, or grey PNG or TIFF files there")
    for place, files in inside.items():
        if len(files) % 2:
            raise UserError(
                f"{argument}: {printable(place)} holds {len(files)} frames, and they are taken two by two in the order "
                f"of their names; add the one that is missing, or remove the one that is single"
            )
    return [pair for files in inside.values() for pair in zip(files[::2], files[1::2], strict=True)]


def find_frames(folder: str | Path, argument: str, suffixes: set[str]) -> list[Path]:
    """The files of a folder that have one of these suffixes, in the order of their names, numbers counting as numbers.

    Raises UserError, which begins with the argument's name, where there is no such folder.
    """
    if not Path(folder).is_dir():
        raise UserError(f"{argument}: {printable(folder)} is no folder; give the one that holds the frames")
    return [file for file in sorted(files_below(folder), key=_numbers_by_value) if file.suffix.lower() in suffixes]


def read_frame(path: Path) -> Frame:
    """Reads a raw file with a Bayer mosaic, or a grey PNG or TIFF file. Raises BadImage for everything else."""
    if path.suffix.lower() in RAW_SUFFIXES:
        raw = read_raw(path)
        return Frame(_planes(raw), raw.white, raw.camera, raw.iso, raw.black, raw.exposure_time)
    grey = read_grey(path)
    return Frame(grey[None].astype(np.float32), 255.0 if grey.dtype == np.uint8 else None)


def measure_darks(pairs: list[FilePair], first: Frame, white: float) -> Pairs:
    """Statistics of pairs of dark frames; all must be as the first one is. UserError where they do not fit."""
    measured = []
    for files in _progress(pairs, "darks"):
        one, other = _planes_of_pair(files, first)
        measured.append(measure_pair(one, other, white))
        if not measured[-1].variance.all():
            raise UserError(
                f"darks: {_names(files)} do not differ; give two frames, of a camera that does not clip at black"
            )
    darks = stack(measured)
    if white <= (black := darks.mean.mean(0).max()):
        raise UserError(
            f"white: the white level {white:g} is not above the dark frames' {black:.1f} DN; give the white level in DN"
        )
    return darks


def dark_samples(pairs: list[FilePair], first: Frame) -> np.ndarray:
    """(n,) of calibration.shape_samples, from the first pair of dark frames."""
    return shape_samples(*_planes_of_pair(pairs[0], first))


def _measured_flats(pairs: list[FilePair], first: Frame, white: float, black: np.ndarray) -> Pairs:
    measured = []
    for files in _progress(pairs, "flats"):
        one, other = _planes_of_pair(files, first)
        try:
            measured.append(measure_pair(one, other, white, black))
        except ValueError as mistake:
            raise UserError(
                f"flats: {_names(files)} are no pair: {mistake}; frames are taken two by two in the "
                f"order of their names, so remove what is single, and keep the light steady"
            ) from None
    return stack(measured)


def _planes_of_pair(files: FilePair, first: Frame) -> tuple[np.ndarray, np.ndarray]:
    """The planes (C, h, w) [DN] of two frames. BadImage where size, camera or ISO speed differ from the first frame."""
    frames = read_frame(files[0]), read_frame(files[1])
    for file, frame in zip(files, frames, strict=True):
        check_camera(file, frame, first, "the first dark frame")
    return frames[0].planes, frames[1].planes


def check_camera(file: Path, frame: Frame, first: Frame, name: str) -> None:
    """Raises BadImage where size, camera or ISO speed of a frame differ from those of the first, which is called so."""
    if frame.planes.shape != first.planes.shape:
        raise BadImage(file, f"is {_kind(frame)}, and {name} is {_kind(first)}", "give frames of one camera")
    if (frame.camera, frame.iso) != (first.camera, first.iso):
        raise BadImage(
            file,
            f"is by {frame.camera} at ISO {frame.iso}, and {name} by {first.camera} at {first.iso}",
            "give frames of one camera at one ISO speed",
        )


def _saturation(files: list[Path]) -> float:
    """The white level [DN], found from the brightest flats, which must saturate."""
    highest, share = 0.0, 0.0
    for file in files:
        planes = read_frame(file).planes
        if (top := float(planes.max())) >= highest:
            highest, share = top, max(share if top == highest else 0.0, float((planes == top).mean()))
    if share < SATURATED:
        raise UserError(
            f"white: no flat saturates, so that the white level is unknown (the highest value is {highest:.0f}); "
            f"give it, e.g. 4095 for 12 bits"
        )
    return highest


def _planes(raw: RawFile) -> np.ndarray:
    """(4, h, w): R, G1, G2, B. Without bayer.unify, which cuts a row or column off where R is not the first site."""
    height, width = (size - size % 2 for size in raw.data.shape)
    planes = [raw.data[row:height:2, column:width:2] for row, column in sites(raw.pattern)]
    return np.stack(planes).astype(np.float32)


def _kind(frame: Frame) -> str:
    count, height, width = frame.planes.shape
    return f"a mosaic of {2 * width} x {2 * height}" if count == 4 else f"a grey image of {width} x {height}"


def _names(files: FilePair) -> str:
    return f"{printable(files[0])} and {printable(files[1].name)}"


def _progress(pairs: list[FilePair], name: str) -> tqdm:
    return tqdm(pairs, name, unit="pair", disable=not sys.stderr.isatty())


def _numbers_by_value(path: Path) -> list[tuple[bool, int, str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", str(path))]
