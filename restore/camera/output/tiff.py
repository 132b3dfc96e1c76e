"""Directories of TIFF files, read and written without a change to the values that they hold.

A value stays the bytes that the file has, so that what is carried from one file to another is the same to the last bit,
kinds and vendors' own tags included. Source: TIFF specification 6.0, section 2; Exif and DNG nest such directories.
"""

import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import BinaryIO, NamedTuple

import numpy as np

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SRATIONAL, DOUBLE = 1, 2, 3, 4, 5, 7, 10, 12
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes of a number, by its kind."""
NUMBERS = {BYTE: "u1", SHORT: "u2", LONG: "u4", RATIONAL: "u4", SRATIONAL: "i4", DOUBLE: "f8"}
VERSIONS = {42, 0x4F52, 0x5352, 0x55}
"""In the header of a TIFF file, of Olympus' ORF (two) and of Panasonic's RW2."""
NEW_SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANAR = (
    254,
    256,
    257,
    258,
    259,
    262,
    277,
    284,
)
LARGEST_DENOMINATOR = 1_000_000


class Entry(NamedTuple):
    """The value of a tag."""

    kind: int
    data: bytes
    """In the byte order of its file."""
    place: int = 0
    """Where the data lay in the file that they were read from."""


Directory = dict[int, "Entry | list[Directory]"]
"""Values by the number of their tag. A list holds the directories that the tag points to."""


def read_header(file: BinaryIO) -> tuple[str, int] | None:
    """The byte order, "<" or ">", and the offset of the first directory; None for a file that is no TIFF."""
    header = file.read(8)
    order = {b"II": "<", b"MM": ">"}.get(header[:2])
    if order is None or len(header) < 8:
        return None
    version, offset = struct.unpack(f"{order}2xHI", header)
    return (order, offset) if version in VERSIONS else None


def read_directory(file: BinaryIO, offset: int, order: str) -> dict[int, Entry]:
    """The directory at the offset. Values that do not lie inside the file are left out."""
    size = file.seek(0, 2)
    file.seek(offset)
    count = int.from_bytes(file.read(2), "little" if order == "<" else "big")
    rows = file.read(12 * count)
    directory = {}
    for row in range(0, len(rows) - 11, 12):
        code, kind, count = struct.unpack_from(f"{order}HHI", rows, row)
        length = count * SIZES.get(kind, 0)
        inside = offset + 2 + row + 8
        place = inside if length <= 4 else struct.unpack_from(f"{order}I", rows, row + 8)[0]
        if 0 < length <= size - place:
            file.seek(place)
            directory[code] = Entry(kind, file.read(length), place)
    return directory


def write_header(file: BinaryIO, order: str) -> None:
    """The header of a TIFF file, without its first directory, which finish names."""
    file.write({"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 0))


def finish(file: BinaryIO, first: Directory, order: str) -> None:
    """Writes the first directory and all that it points to, and names it in the header."""
    offset = write_directory(file, first, order)
    file.seek(4)
    file.write(struct.pack(f"{order}I", offset))


def write_directory(file: BinaryIO, directory: Directory, order: str) -> int:
    """Writes a directory behind those that it points to, at the end of the file; returns its offset."""
    rows = b""
    for code, value in sorted(directory.items(), key=lambda item: item[0]):
        if isinstance(value, list):
            value = numbers(order, LONG, [write_directory(file, nested, order) for nested in value])
        short = len(value.data) <= 4
        field = value.data.ljust(4, b"\0") if short else struct.pack(f"{order}I", append(file, value.data))
        rows += struct.pack(f"{order}HHI", code, value.kind, len(value.data) // SIZES[value.kind]) + field
    return append(file, struct.pack(f"{order}H", len(directory)) + rows + bytes(4))


def append(file: BinaryIO, data: bytes) -> int:
    """Writes data at the end of the file, at an even place, which it returns."""
    place = file.seek(0, 2)
    file.write(bytes(place % 2) + data)
    return place + place % 2


def numbers(order: str, kind: int, values: Sequence[float] | np.ndarray) -> Entry:
    """Numbers as a tag holds them; of the rational kinds the nearest fractions."""
    values = np.ravel(values).tolist()
    if kind in (RATIONAL, SRATIONAL):
        fractions = [Fraction(value).limit_denominator(LARGEST_DENOMINATOR) for value in values]
        values = [number for fraction in fractions for number in (fraction.numerator, fraction.denominator)]
    return Entry(kind, np.array(values, order + NUMBERS[kind]).tobytes())


def text(value: str) -> Entry:
    return Entry(ASCII, value.encode("utf-8", "replace") + b"\0")


def image_tags(order: str, image: np.ndarray, compression: int, photometric: int, reduced: bool = False) -> Directory:
    """What a directory says of an image (H, W) or (H, W, samples), uint8 or uint16, but for the place of its data.

    reduced  it is a smaller one of another image in the file
    """
    samples = image.shape[2] if image.ndim == 3 else 1
    return {
        NEW_SUBFILE_TYPE: numbers(order, LONG, [int(reduced)]),
        WIDTH: numbers(order, LONG, [image.shape[1]]),
        HEIGHT: numbers(order, LONG, [image.shape[0]]),
        BITS: numbers(order, SHORT, [8 * image.itemsize] * samples),
        COMPRESSION: numbers(order, SHORT, [compression]),
        PHOTOMETRIC: numbers(order, SHORT, [photometric]),
        SAMPLES: numbers(order, SHORT, [samples]),
        PLANAR: numbers(order, SHORT, [1]),
    }


def values_of(entry: Entry, order: str) -> np.ndarray:
    """The numbers of a tag, float64; none of a kind that is no number, NaN for 0/0."""
    if entry.kind not in NUMBERS:
        return np.empty(0)
    found = np.frombuffer(entry.data, order + NUMBERS[entry.kind]).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return found[::2] / found[1::2] if entry.kind in (RATIONAL, SRATIONAL) else found
