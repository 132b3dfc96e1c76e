"""Checks an image file before OpenCV decodes it, because OpenCV accepts some damaged files and misreads some kinds."""

import io
import logging
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from options.errors import UserError
from restore.files.lzw import lzw_length
from restore.files.paths import printable

if TYPE_CHECKING:
    from tifffile import TiffPage

PNG = b"\x89PNG\r\n\x1a\n"
TIFF = (b"II", b"MM")
JPEG = b"\xff\xd8"
WEBP = b"RIFF"

LARGEST = 400_000_000
"""Pixels of the largest image: with 16 bits it takes 2.4 GB of memory."""


class BadImage(UserError):
    """A file that cannot be used as an image: one line with its path, the fault and the remedy."""

    def __init__(self, path: str | Path, fault: str, remedy: str):
        self.path, self.reason = path, f"{fault}; {remedy}"
        super().__init__(f"{printable(path)}: {self.reason}")


def damaged(path: str | Path) -> BadImage:
    return BadImage(
        path, "is damaged, cut off or of a kind that cannot be read", "copy it again, convert it or remove it"
    )


def refuse_too_large(path: str | Path, width: int, height: int) -> None:
    if width * height > LARGEST:
        raise BadImage(
            path,
            f"has {width} x {height} pixels, and {LARGEST // 10**6} million are the most",
            "make it smaller, or cut it to pieces",
        )


def checked_png(path: str | Path, data: bytes) -> bytes:
    """The PNG file with only the chunks that its pixels need. Raises BadImage if it is damaged or too large.

    libpng cannot be kept from printing to stderr about faulty colour profiles, which many good files have, and about
    damaged chunks. So the profiles are left out, and damaged chunks are found here by their checksum.
    Source: PNG specification, third edition, section 5: length, type, data, CRC of type and data.
    """
    kept, position, kind = [PNG], len(PNG), b""
    while kind != b"IEND":
        chunk = data[position : position + 4]
        end = position + 12 + int.from_bytes(chunk)
        kind, checksum = data[position + 4 : position + 8], data[end - 4 : end]
        if end > len(data) or checksum != struct.pack(">I", zlib.crc32(data[position + 4 : end - 4])):
            raise damaged(path)
        if kind == b"IHDR":
            refuse_too_large(
                path, *(int.from_bytes(data[place : place + 4]) for place in (position + 8, position + 12))
            )
        if kind[:1].isupper() or kind == b"eXIf":  # upper case: critical; eXIf: the orientation
            kept.append(data[position:end])
        position = end
    return b"".join(kept)


def check_jpeg(path: str | Path, data: bytes) -> None:
    """Raises BadImage if the image is too large. Source: ITU-T T.81, annex B: segments, and SOF with the size."""
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            return refuse_too_large(path, width, height)
        position += 1 if marker == 0xFF else 2 + length  # markers may be preceded by further 0xFF
    return None


def check_tiff(path: str | Path, data: bytes) -> None:
    """Raises BadImage if the first page is damaged, too large, or of a kind that OpenCV (4.10 to 5.0) misreads.

    OpenCV scrambles separate colour planes of 16 bits, and does not notice when planes of 8 bits are cut off. Images of
    16 bits in which 0 is white are inverted, CMYK of 16 bits is taken for RGB with alpha, Lab gets wrong colours, and
    colours of 8 bits are multiplied with an alpha that they do not contain yet.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it would print errors of tags that no pixel depends on
    try:
        page = tifffile.TiffFile(io.BytesIO(data)).pages.first
        width, height, bits = page.imagewidth, page.imagelength, page.bitspersample
        separate = page.planarconfig != tifffile.PLANARCONFIG.CONTIG
        refuse_too_large(path, width, height)
        if not separate and not all(_segments_are_whole(page, data)):
            raise damaged(path)
    except BadImage:
        raise
    except Exception as error:  # damaged tags make tifffile raise nearly anything
        raise damaged(path) from error
    kinds = tifffile.PHOTOMETRIC
    if separate:
        raise BadImage(path, "keeps its colour planes apart", "save it with interleaved channels, or as PNG")
    if page.photometric == kinds.MINISWHITE and bits == 16:
        raise BadImage(path, "counts from white to black", "save it as plain grey or RGB, or as PNG")
    if bits == 8 and tifffile.EXTRASAMPLE.UNASSALPHA in page.extrasamples:
        raise BadImage(path, "has 8 bits and transparency", "save it as PNG, or without transparency")
    known: set[int] = {kinds.MINISWHITE, kinds.MINISBLACK, kinds.RGB, kinds.PALETTE, kinds.YCBCR}
    if page.photometric not in known | ({kinds.SEPARATED} if bits == 8 else set()):
        raise BadImage(path, "has colours that are neither grey nor RGB", "save it as plain grey or RGB, or as PNG")


def _segments_are_whole(page: "TiffPage", data: bytes) -> Iterator[bool]:
    """For each strip or tile compressed with LZW or deflate: whether it can be decoded and holds all its pixels.

    OpenCV returns the pixels before an error as if they were the image. Deflate has a checksum. LZW has none, but
    damage nearly always gives an undefined code or a wrong length.
    """
    deflate, lzw = {8, 32946}, 5  # of TIFF's Compression
    if page.compression not in deflate | {lzw}:
        return
    rows = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
    width = page.tilewidth if page.is_tiled else page.imagewidth
    row = -(-width * page.samplesperpixel * page.bitspersample // 8)
    for number, (start, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        segment = data[start : start + count]
        shown = rows if page.is_tiled else min(rows, page.imagelength - number * rows)  # the last strip may go on
        length = lzw_length(segment) if page.compression == lzw else _deflate_length(segment, rows * row)
        yield length is not None and shown * row <= length <= rows * row


def _deflate_length(data: bytes, most: int) -> int | None:
    """The length of the decoded data [bytes]; None if it is damaged or decodes to more than `most` bytes."""
    decoder = zlib.decompressobj()
    try:
        length = len(decoder.decompress(data, most + 1))
    except zlib.error:
        return None
    return length if decoder.eof else None
