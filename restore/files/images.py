"""Picture files in and out, and the two ways to hold a picture: an array of whole numbers, a tensor of 0..1."""

import io
import logging
import os
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from options.errors import UserError
from restore.files.atomic import write_atomically

SUFFIXES = {".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp"}
READER_VERSION = 1
"""Raise it by one when read_image gives other pixels of any file: stored images are then decoded anew."""

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II", b"MM")
_BEGINNINGS = (_PNG, *_TIFF, b"\xff\xd8", b"RIFF")  # the last two: JPEG and WebP


class BadImage(UserError):
    """A file that cannot be used as a picture: one line with its path, what is wrong, and what would do."""

    def __init__(self, path: str | Path, fault: str, remedy: str):
        super().__init__(f"{path}: {fault}; {remedy}")


def find_images(folder: str | Path) -> list[Path]:
    """The picture files in the folder and the folders inside it, by their suffix, sorted. Hidden ones are left out.

    Raises UserError if the folder is missing, is a file, or holds no picture.
    """
    files = [file for file in files_below(folder) if file.suffix.lower() in SUFFIXES]
    if not files:
        raise UserError(f"{folder}: holds no picture; put some there ({', '.join(sorted(SUFFIXES))}), or name another")
    return files


def files_below(folder: str | Path) -> list[Path]:
    """The files in the folder and the folders inside it, sorted. Hidden ones are left out.

    Links to folders are followed, each folder being entered once. Raises UserError if there is no such folder, or one
    that must not be read.
    """
    folder = Path(folder)
    if not folder.exists():
        raise UserError(f"{folder}: there is no such folder; make it and put pictures there, or name another")
    if not folder.is_dir():
        raise UserError(f"{folder}: is a file, and a folder is wanted; give the folder that holds it")
    files, entered = [], set()
    for place, subfolders, names in os.walk(folder, onerror=_refuse_folder, followlinks=True):
        if (real := Path(place).resolve()) in entered:
            subfolders.clear()
            continue
        entered.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        paths = [Path(place, name) for name in names if not name.startswith(".")]
        try:
            files += [path for path in paths if path.is_file()]
        except PermissionError as error:
            _refuse_folder(error)
    return sorted(files)


def _refuse_folder(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):  # else one that was removed just now
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}); allow it, or move it elsewhere")


def read_image(path: str | Path) -> np.ndarray:
    """Decodes a PNG, TIFF, JPEG or WebP file.

    Returns sRGB (H, W, 3), uint8 or, for PNG and TIFF of 16 bits, uint16; upright as the file's EXIF orientation says.
    Grey becomes three equal channels, palettes and CMYK become RGB, and an alpha channel is dropped: the colours under
    it stay as they are. Colour profiles are not looked at; of several pages the first is read.
    Raises BadImage for everything else: no picture, floating-point pixels, a file that is damaged or cut off.
    """
    data = _content(path)
    if data.startswith(_PNG):
        data = _chunks_of_the_picture(path, data)
    # OpenCV's TIFF decoder would write to stderr what BadImage says better.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        # From memory, as imread lets JPEG files that are cut off pass (OpenCV 4.11 to 5.0), and in the order BGR, as
        # IMREAD_COLOR_RGB scrambles TIFF of 16 bits (the same versions).
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_BGR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        picture = None
    if picture is None:
        raise _damaged(path)
    if picture.dtype not in (np.uint8, np.uint16):
        raise BadImage(path, f"has {picture.dtype} pixels", "save it with 8 or 16 bits per channel, without sign")
    if data.startswith(_TIFF):
        _refuse_what_opencv_misreads(path, data, picture.dtype)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def count_pixels(path: str | Path) -> int:
    """Pixels of a picture file as its header has them, none being decoded; of any other file its bytes."""
    if Path(path).suffix.lower() not in SUFFIXES:
        return Path(path).stat().st_size
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # nothing is decoded by Pillow here
    warnings.filterwarnings("ignore", module="PIL")  # read_image names what is wrong
    try:
        with Image.open(path) as picture:
            return picture.width * picture.height
    except Exception:  # a damaged file, which read_image names; Pillow raises whatever its decoders meet
        return Path(path).stat().st_size


def write_image(path: str | Path, picture: np.ndarray) -> None:
    """Writes a picture (H, W, 3), uint8 or uint16, as a PNG of 8 or 16 bits: whole, or not at all.

    Raises SaveError if the file cannot be written; what was there before is then still whole.
    """
    path = Path(path)
    assert path.suffix == ".png", path
    assert picture.shape[2:] == (3,), picture.shape
    assert picture.dtype in (np.uint8, np.uint16), picture.dtype
    _, content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    write_atomically(path, content.tobytes())


def to_tensor(picture: np.ndarray) -> Tensor:
    """A picture (H, W, 3), uint8 or uint16, as a tensor (3, H, W), float32, 0..1. to_uint is its inverse."""
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1)).astype(np.float32)
    return torch.from_numpy(planes / np.iinfo(picture.dtype).max)


def to_uint(srgb: Tensor, dtype: type[np.uint8] | type[np.uint16] | np.dtype) -> np.ndarray:
    """A tensor (3, H, W), clipped to 0..1, on any device, as a picture (H, W, 3), rounded to uint8 or uint16."""
    levels = (srgb.float().clamp(0, 1) * np.iinfo(dtype).max).round()
    return np.ascontiguousarray(levels.permute(1, 2, 0).cpu().numpy().astype(dtype))


def _content(path: str | Path) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadImage(path, f"cannot be read ({error.strerror})", "check the path and who may read it") from None
    if not data:
        raise BadImage(path, "is an empty file", "copy it again or remove it")
    if not data.startswith(_BEGINNINGS):
        raise BadImage(path, "is no PNG, TIFF, JPEG or WebP file", "convert it or remove it")
    return data


def _damaged(path: str | Path) -> BadImage:
    return BadImage(
        path, "is damaged, cut off or of a kind that cannot be read", "copy it again, convert it or remove it"
    )


def _chunks_of_the_picture(path: str | Path, data: bytes) -> bytes:
    """The PNG file without the chunks that no pixel depends on.

    libpng writes to stderr, past every setting, of faulty colour profiles, which many good files have, and of chunks
    that are damaged or cut off, which are found here by their checksum.
    Source: PNG specification, third edition, section 5: length, type, data, CRC of type and data.
    """
    kept, position, kind = [_PNG], len(_PNG), b""
    while kind != b"IEND":
        chunk = data[position : position + 4]
        end = position + 12 + int.from_bytes(chunk)
        kind, checksum = data[position + 4 : position + 8], data[end - 4 : end]
        if end > len(data) or checksum != struct.pack(">I", zlib.crc32(data[position + 4 : end - 4])):
            raise _damaged(path)
        if kind[:1].isupper() or kind == b"eXIf":  # upper case: critical; eXIf: the orientation
            kept.append(data[position:end])
        position = end
    return b"".join(kept)


def _refuse_what_opencv_misreads(path: str | Path, data: bytes, dtype: np.dtype) -> None:
    """Of TIFF files OpenCV (4.10 to 5.0) misreads two kinds.

    Separate colour planes: scrambled where they have 16 bits, and of 8 bits it does not notice that some are cut off.
    White as 0: inverted where it has 16 bits.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it would write to stderr of tags that matter to no pixel
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    if page.planarconfig != tifffile.PLANARCONFIG.CONTIG:
        raise BadImage(path, "keeps its colour planes apart", "save it with interleaved channels, or as PNG")
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and dtype == np.uint16:
        raise BadImage(path, "counts from white to black", "save it as plain grey or RGB, or as PNG")
