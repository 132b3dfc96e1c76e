"""Writes developed pictures as TIFF, PNG and JPEG files, each with its colour profile and what the camera recorded.

Source: TIFF specification 6.0 and its technical note 1 (deflate, predictor), ICC.1:2022 annex B, Exif 2.32.
"""

import io
import zlib
from pathlib import Path

import numpy as np
import torch

from options.errors import UserError
from restore.camera.output.developing import Picture
from restore.camera.output.dng_tags import EXIF, GPS
from restore.camera.output.icc import linear_srgb_profile, srgb_profile
from restore.camera.output.srgb import srgb_encoded
from restore.camera.output.tiff import (
    ASCII,
    LONG,
    SHORT,
    UNDEFINED,
    Directory,
    Entry,
    append,
    finish,
    image_tags,
    numbers,
    write_header,
)
from restore.files.atomic import open_atomically
from restore.files.images import JPEG_QUALITY
from restore.files.paths import printable

SHOWN = {270, 271, 272, 306, 315, 33432}
"""Of the first directory of a raw file: description, camera, date, artist and copyright."""
ORIENTATION, STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_BYTES, PREDICTOR, ICC_PROFILE = 274, 273, 278, 279, 317, 34675
EXIF_COLOUR_SPACE, EXIF_WIDTH, EXIF_HEIGHT = 40961, 40962, 40963
SRGB, UNCALIBRATED = 1, 65535
DEFLATE, RGB, DIFFERENCES = 8, 2, 2
ROWS = 64
"""Of a strip."""
FASTEST = 1
"""Level of deflate: 4 % larger files than at the usual one, in a third of the time."""
LONGEST_EXIF = 65533 - 6
"""Bytes that a JPEG has room for."""
SHORT_ENTRY = 256
"""Bytes of the longest entry that is kept where they have no room: exposure, lens, date and place are shorter."""
LONGEST_SIDE = {"JPEG": 65500, "PNG": 2**31 - 1}
"""[px]."""


def write_tiff(path: Path, picture: Picture) -> list[str]:
    """Writes a TIFF of 16 bits in sRGB, whole or not at all. Returns the picture's notes; raises SaveError."""
    return _write_tiff(path, picture, _srgb_values(np.uint16), srgb_profile(), SRGB)


def write_linear_tiff(path: Path, picture: Picture) -> list[str]:
    """Writes a TIFF of 16 bits in linear values of sRGB's colours, whole or not at all; otherwise as write_tiff."""
    return _write_tiff(path, picture, np.arange(65536, dtype=np.uint16), linear_srgb_profile(), UNCALIBRATED)


def write_png(path: Path, picture: Picture) -> list[str]:
    """Writes a PNG of 8 bits in sRGB, to look at: to be worked on, a TIFF has 16. Otherwise as write_jpeg."""
    return _write_with_pillow(path, picture, "PNG", compress_level=FASTEST)


def write_jpeg(path: Path, picture: Picture) -> list[str]:
    """Writes a JPEG of quality 95 in sRGB, whole or not at all.

    Returns the picture's notes. Raises SaveError where the file cannot be written, UserError where the picture is too
    large for the format.
    """
    return _write_with_pillow(path, picture, "JPEG", quality=JPEG_QUALITY, subsampling=0)


def _srgb_values(kind: type[np.uint8] | type[np.uint16]) -> np.ndarray:
    """(65536,): the sRGB value of each linear one."""
    linear = torch.arange(65536, dtype=torch.float64) / 65535
    return (srgb_encoded(linear) * np.iinfo(kind).max).round().numpy().astype(kind)


def _write_tiff(path: Path, picture: Picture, values: np.ndarray, profile: bytes, colour_space: int) -> list[str]:
    """values  (65536,) uint16: the value that is written for each linear one"""
    order, linear = picture.carried.order, picture.linear
    offsets, lengths = [], []
    with open_atomically(path) as file:
        write_header(file, order)
        for top in range(0, len(linear), ROWS):
            strip = values[linear[top : top + ROWS]]
            strip[:, 1:] -= strip[:, :-1].copy()  # modulo 65536
            data = zlib.compress(strip.astype(f"{order}u2").tobytes(), FASTEST)
            offsets.append(append(file, data))
            lengths.append(len(data))
        first = _capture(picture, colour_space) | image_tags(order, linear, DEFLATE, RGB)
        first |= {
            STRIP_OFFSETS: numbers(order, LONG, offsets),
            ROWS_PER_STRIP: numbers(order, LONG, [ROWS]),
            STRIP_BYTES: numbers(order, LONG, lengths),
            PREDICTOR: numbers(order, SHORT, [DIFFERENCES]),
            ICC_PROFILE: Entry(UNDEFINED, profile),
        }
        finish(file, first, order)
    return picture.notes


def _write_with_pillow(path: Path, picture: Picture, kind: str, **options: int) -> list[str]:
    from PIL import Image

    height, width, _ = picture.linear.shape
    if max(height, width) > LONGEST_SIDE[kind]:
        raise UserError(f"{printable(path)}: {kind} cannot hold {width} x {height} pixels; write a TIFF")
    image = Image.fromarray(_srgb_values(np.uint8)[picture.linear])
    with open_atomically(path) as file:
        image.save(file, kind, icc_profile=srgb_profile(), exif=_exif(picture), **options)
    return picture.notes


def _exif(picture: Picture) -> bytes:
    """What the camera recorded, as JPEG and PNG files hold it, without long entries where a JPEG has no room."""
    order = picture.carried.order
    for longest in (LONGEST_EXIF, SHORT_ENTRY):
        file = io.BytesIO()
        write_header(file, order)
        finish(file, _shortened(_capture(picture, SRGB), longest), order)
        if len(file.getvalue()) <= LONGEST_EXIF:
            break
    return b"Exif\0\0" + file.getvalue()


def _shortened(directory: Directory, longest: int) -> Directory:
    """Without the entries that have more bytes, in the directories inside it too."""
    kept: Directory = {}
    for code, entry in directory.items():
        if isinstance(entry, list):
            kept[code] = [_shortened(inside, longest) for inside in entry]
        elif len(entry.data) <= longest:
            kept[code] = entry
    return kept


def _capture(picture: Picture, colour_space: int) -> Directory:
    """The first directory, less the pixels: what the raw file says of camera, exposure, lens, date, place and owner."""
    about, order = picture.carried.about, picture.carried.order
    first: Directory = {code: about[code] for code in {EXIF, GPS} & about.keys()}
    for code in SHOWN & about.keys():
        if isinstance(entry := about[code], Entry) and (words := entry.data.split(b"\0")[0].strip()):
            first[code] = Entry(ASCII, words + b"\0")
    height, width, _ = picture.linear.shape
    own: Directory = {
        EXIF_COLOUR_SPACE: numbers(order, SHORT, [colour_space]),
        EXIF_WIDTH: numbers(order, LONG, [width]),
        EXIF_HEIGHT: numbers(order, LONG, [height]),
    }
    nested = about.get(EXIF)
    exif = nested[0] | own if isinstance(nested, list) else own
    return first | {EXIF: [exif], ORIENTATION: numbers(order, SHORT, [1])}
