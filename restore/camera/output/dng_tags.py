"""Which tags of a raw file a DNG of its restored mosaic carries on, and which would no longer be true.

Source: DNG specification 1.7.1.0, chapters 3, 4 and 7; TIFF/EP and Exif 2.32 for what other raw files have.
"""

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from restore.camera.output.opcodes import BEFORE_LEVELS, LISTS, enlarged, opcode_list, operations
from restore.camera.output.tiff import (
    BYTE,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Directory,
    Entry,
    numbers,
    read_directory,
    read_header,
    text,
    values_of,
)
from restore.camera.raw_file import RawFile
from restore.camera.restored_raw import RestoredRaw
from restore.files.checks import BadImage
from transforms.sensor.bayer import first_red

SUB_IFDS, EXIF, GPS, MAKER_NOTE, INTEROPERABILITY = 330, 34665, 34853, 37500, 40965
DNG_VERSION, DNG_BACKWARD_VERSION, DNG_PRIVATE_DATA = 50706, 50707, 50740
NEW_SUBFILE_TYPE, PHOTOMETRIC, CFA = 254, 262, 32803
MODEL, EXPOSURE_TIME, ISO = 272, 33434, 34855
COLOR_MATRIX, CROP_ORIGIN, CROP_SIZE = 50721, 50719, 50720
COLOURS_UNKNOWN = "the camera's colours are not known; sRGB's are taken in their place"

ABOUT = {
    *(270, 271, 272, 305, 306, 315, 700, 33432, 33723),  # names, date, owner, XMP, IPTC
    *(33434, 33437, 34850, 34855, 36867, 37386, 42033, 42034, 42036),  # exposure and lens, where Exif has them too
}
"""Of the first directory of any raw file."""
OF_THE_MOSAIC = {
    *(33421, 33422, 50710, 50711),  # the pattern
    *(50713, 50714, 50715, 50716, 50717),  # black and white levels
    *(50718, 50719, 50720, 50780, 50829, 50830, 51125),  # scale and areas
    *(50733, 50737, 50738, 50935, 51041, *LISTS),  # how it is to be demosaiced and denoised
}
"""These lie beside the mosaic in a DNG."""
OF_ITS_PIXELS = {50715, 50716, 50830, 51089, 51090, 51091}
"""These name rows, columns or sizes, and end with the source's number of pixels."""
STALE = {
    *(50712, 50974, 50975, 52547, 52553, 52554, 52555),  # how the source's values were coded
    *(50781, 50828, 50972, 50973, 51111, 52550),  # digests, copies and statistics of the source's values
    *(50966, 50967, 50968, 50969, 50970, 50971, 51112),  # the source's previews
    *(50933, 50935),  # offsets in the source; noise reduction, which is said anew
}


class Carried(NamedTuple):
    """What a raw file says that holds for its restored mosaic."""

    order: str
    """Byte order of all values: "<" or ">"."""
    about: Directory
    """For the first directory."""
    mosaic: Directory
    """For the directory of the mosaic."""
    notes: list[str]
    """A line for everything that was left out and changes how the picture looks."""


def carried_tags(restored: RestoredRaw) -> Carried:
    """The tags of a raw file that hold for its restored mosaic, enlarged or not.

    A DNG's tags are carried but for those that would no longer be true; of other raw files with TIFF directories (NEF,
    CR2, ARW, ORF, PEF, RW2, ...) what they say of exposure, lens, date, place and owner; of all others the camera's
    name, exposure time and ISO speed.
    """
    source, scale = restored.source, restored.scale
    unknown = [COLOURS_UNKNOWN] if source.xyz_to_camera is None else []
    with _opened(source.path) as file:
        header = read_header(file)
        if header is None:
            return Carried("<", _known(source, "<"), {}, unknown)
        order, offset = header
        main = read_directory(file, offset, order)
        nested = {code: read_directory(file, _offset(main[code], order), order) for code in (EXIF, GPS) if code in main}
        if DNG_VERSION in main:
            found = main | _directory_of_mosaic(file, main, order)
        else:
            found = {code: entry for code, entry in main.items() if code in ABOUT}
    maker_note = nested.get(EXIF, {}).pop(MAKER_NOTE, None)
    nested.get(EXIF, {}).pop(INTEROPERABILITY, None)
    kept = {code: entry for code, entry in found.items() if _holds(code, scale)}
    if maker_note is not None and DNG_PRIVATE_DATA not in kept:
        kept[DNG_PRIVATE_DATA] = _wrapped(maker_note, order)
    notes = [] if COLOR_MATRIX in found else unknown
    for code in sorted(LISTS.keys() & kept.keys()) if scale > 1 else ():
        _keep_enlarged(kept, code, restored, notes)
    for code in {CROP_ORIGIN, CROP_SIZE} & kept.keys() if scale > 1 else ():
        area = scale * values_of(kept.pop(code), order)
        if (area < 2**31).all():  # else damaged
            kept[code] = numbers(order, RATIONAL, area)
    about: Directory = {code: entry for code, entry in kept.items() if code not in OF_THE_MOSAIC}
    about |= {code: [dict(directory)] for code, directory in nested.items() if directory}
    about = _known(source, order) | about
    return Carried(order, about, {code: kept[code] for code in OF_THE_MOSAIC & kept.keys()}, notes)


def _opened(path: Path) -> BinaryIO:
    """Raises BadImage where the file is gone since its pixels were read."""
    try:
        return path.open("rb")
    except OSError as error:
        reason = f"cannot be read again ({error.strerror})"
        raise BadImage(path, reason, "leave it there while it is restored") from None


def _known(source: RawFile, order: str) -> Directory:
    """What LibRaw knows of any file."""
    exif: Directory = {}
    if source.exposure_time is not None:
        exif[EXPOSURE_TIME] = numbers(order, RATIONAL, [source.exposure_time])
    if source.iso is not None:
        exif[ISO] = numbers(order, SHORT, [min(round(source.iso), 65535)])
    return {MODEL: text(source.camera), EXIF: [exif]}


def _holds(code: int, scale: int) -> bool:
    known = code in ABOUT or code in OF_THE_MOSAIC or code >= DNG_VERSION
    return known and code not in STALE and not (scale > 1 and code in OF_ITS_PIXELS)


def _directory_of_mosaic(file: BinaryIO, main: dict[int, Entry], order: str) -> dict[int, Entry]:
    """The sub-directory that holds the mosaic, or nothing where the first one does."""
    offsets = struct.unpack(f"{order}{len(main[SUB_IFDS].data) // 4}I", main[SUB_IFDS].data) if SUB_IFDS in main else ()
    for offset in offsets:
        directory = read_directory(file, offset, order)
        if PHOTOMETRIC in directory and _offset(directory[PHOTOMETRIC], order) == CFA:
            return directory
    return {}


def _offset(entry: Entry, order: str) -> int:
    return int.from_bytes(entry.data, "little" if order == "<" else "big")


def _wrapped(maker_note: Entry, order: str) -> Entry:
    """A maker note as Adobe's converter keeps it: with its byte order and its old place, by which readers find their
    way in it. Source: ExifTool, DNG.pm, AdobeMakN."""
    place = {"<": b"II", ">": b"MM"}[order] + struct.pack(">I", maker_note.place)
    return Entry(BYTE, b"Adobe\0MakN" + struct.pack(">I", len(place + maker_note.data)) + place + maker_note.data)


def _keep_enlarged(kept: dict[int, Entry], code: int, restored: RestoredRaw, notes: list[str]) -> None:
    """Makes the operations of a list those of the enlarged mosaic, without those that count the source's pixels."""
    found = operations(kept.pop(code).data)
    reds = zip(first_red(restored.pattern), first_red(restored.source.pattern), strict=True)
    row, column = (abs(after - before) for after, before in reds)
    held, left_out = enlarged(found, restored.scale, None if code == BEFORE_LEVELS else (row, column))
    if held:
        kept[code] = Entry(UNDEFINED, opcode_list(held))
    if left_out:
        notes.append(f"{LISTS[code]}: left out operations {left_out}, which count the pixels of the source")


def default_crop(carried: Carried, shape: tuple[int, ...]) -> tuple[float, float, float, float] | None:
    """Top, left, height and width of the part of the mosaic that is the picture; None where the file names none."""
    entries = [carried.mosaic.get(code) for code in (CROP_ORIGIN, CROP_SIZE)]
    values = [values_of(entry, carried.order) for entry in entries if isinstance(entry, Entry)]
    if [len(pair) for pair in values] != [2, 2]:
        return None
    (left, top), (width, height) = values
    inside = min(left, top) >= 0 and min(width, height) >= 1 and top + height <= shape[0] and left + width <= shape[1]
    return (top, left, height, width) if inside else None
