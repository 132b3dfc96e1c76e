"""Reads and writes image files, and converts images between arrays of whole numbers and tensors in 0..1."""

import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from options.errors import UserError
from restore.files.atomic import write_atomically
from restore.files.checks import (
    JPEG,
    LARGEST,
    PNG,
    TIFF,
    WEBP,
    BadImage,
    check_jpeg,
    check_tiff,
    checked_png,
    damaged,
)
from restore.files.paths import files_below, printable

__all__ = [
    "IMAGE_SUFFIXES",
    "LARGEST",
    "BadImage",
    "count_pixels",
    "find_images",
    "read_alpha",
    "read_grey",
    "read_image",
    "time_taken",
    "to_tensor",
    "to_uint",
    "turned_upright",
    "write_image",
]

IMAGE_SUFFIXES = {".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp"}
READER_VERSION = 2
"""Raise it by one when read_image returns other pixels for any file: stored images are then decoded anew."""
JPEG_QUALITY = 95
EXIF_ORIENTATION, EXIF_DIRECTORY, EXIF_DATE_TIME_ORIGINAL = 274, 0x8769, 36867
PNG_COLOUR_TYPE = 25  # its place in the file
PNG_WITH_ALPHA = (b"\4", b"\6")  # grey, RGB
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image.swapaxes(0, 1), 2),
    8: np.rot90,
}
"""What turns an image (H, W) or (H, W, channels) upright, as a view, by its EXIF orientation; others are upright."""

_WRITERS = {
    ".png": [],
    ".tif": [cv2.IMWRITE_TIFF_COMPRESSION, cv2.IMWRITE_TIFF_COMPRESSION_ADOBE_DEFLATE],
    ".tiff": [cv2.IMWRITE_TIFF_COMPRESSION, cv2.IMWRITE_TIFF_COMPRESSION_ADOBE_DEFLATE],
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY],
}


def find_images(folder: str | Path) -> list[Path]:
    """The image files in the folder and the folders inside it, by their suffix, sorted. Hidden ones are left out.

    Raises UserError if the folder is missing, is a file, cannot be read, or holds no image file.
    """
    files = [file for file in files_below(folder) if file.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"{printable(folder)}: holds no image file; put some there ({suffixes}), or name another")
    return files


def read_image(path: str | Path) -> np.ndarray:
    """Decodes a PNG, TIFF, JPEG or WebP file.

    Returns sRGB (H, W, 3), uint8 or, for PNG and TIFF of 16 bits, uint16; upright as the file's EXIF orientation says.
    Grey becomes three equal channels, palettes and CMYK become RGB, and an alpha channel is dropped without changing
    the colours. Colour profiles are ignored. Of several pages the first is read.
    Raises BadImage for everything else: other files, floating-point pixels, more than LARGEST pixels, a file that is
    damaged or cut off, as far as that can be detected.
    """
    # In the order BGR, as IMREAD_COLOR_RGB scrambles TIFF of 16 bits (OpenCV 4.11 to 5.0).
    image = _decoded(path, cv2.IMREAD_COLOR_BGR | cv2.IMREAD_ANYDEPTH)
    if image.dtype not in (np.uint8, np.uint16):
        raise BadImage(path, f"has {image.dtype} pixels", "save it with 8 or 16 bits per channel, without sign")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_grey(path: str | Path) -> np.ndarray:
    """The pixels (H, W), uint8 or uint16, of a grey file that read_image reads. BadImage for one with colours."""
    image = read_image(path)
    grey = image[..., 0]
    if (image != grey[..., None]).any():
        raise BadImage(path, "has colours", "give raw files, or grey frames as the camera recorded them")
    return grey


def read_alpha(path: str | Path) -> np.ndarray | None:
    """The alpha channel of a file that read_image reads, (H, W) of the same type and as upright; None: it has none."""
    if not _may_have_alpha(_content(path)):
        return None
    image = _decoded(path, cv2.IMREAD_UNCHANGED)
    if image.ndim != 3 or image.shape[2] != 4:
        return None
    # OpenCV turns what it reads as the EXIF data say, but not what it reads unchanged.
    return np.ascontiguousarray(turned_upright(image[..., 3], _orientation(path)))


def _may_have_alpha(data: bytes) -> bool:
    """Whether it is worth decoding a file, which was decoded for its colours already, once more."""
    if data.startswith(PNG):
        return data[PNG_COLOUR_TYPE : PNG_COLOUR_TYPE + 1] in PNG_WITH_ALPHA
    return not data.startswith(JPEG)


def _orientation(path: str | Path) -> int:
    """EXIF's number, 1 where there is none."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:  # whatever Pillow's decoders meet; the pixels have been read already
        return 1


def turned_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """An image (H, W) or (H, W, channels) turned as its EXIF orientation says, as a view."""
    return UPRIGHT[orientation](image) if orientation in UPRIGHT else image


def time_taken(path: str | Path) -> float | None:
    """When a picture was taken [s since 1970], if the camera's clock ran by the local time; None: its file does not
    say."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            text = str(image.getexif().get_ifd(EXIF_DIRECTORY)[EXIF_DATE_TIME_ORIGINAL])
            return datetime.strptime(text, "%Y:%m:%d %H:%M:%S").timestamp()
    except Exception:  # damaged tags make Pillow raise nearly anything
        return None


def _decoded(path: str | Path, flags: int) -> np.ndarray:
    """The pixels as OpenCV reads them. Raises BadImage."""
    data = _checked(path, _content(path))
    # OpenCV's TIFF decoder would print errors to stderr; BadImage reports them.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        # From memory, as imread lets JPEG files that are cut off pass (OpenCV 4.11 to 5.0).
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise damaged(path)
    return image


def count_pixels(path: str | Path) -> int:
    """The number of pixels in an image file's header, without decoding it; for any other file its bytes."""
    if Path(path).suffix.lower() not in IMAGE_SUFFIXES:
        return Path(path).stat().st_size
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # nothing is decoded by Pillow here
    warnings.filterwarnings("ignore", module="PIL")  # read_image names what is wrong
    try:
        with Image.open(path) as image:
            return image.width * image.height
    except Exception:  # a damaged file, which read_image names; Pillow raises whatever its decoders meet
        return Path(path).stat().st_size


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Writes an image (H, W, 3), or (H, W, 4) with alpha, in one step, in the format of the path's suffix.

    .png         uint8 or uint16, with alpha too
    .tif, .tiff  uint8 or uint16, compressed without loss (deflate)
    .jpg, .jpeg  uint8, with quality 95
    Raises UserError for another suffix or image, and SaveError if the file cannot be written; an older file of this
    name is then unchanged.
    """
    path = Path(path)
    suffix, name = path.suffix.lower(), printable(path)
    if suffix not in _WRITERS:
        raise UserError(f"{name}: cannot be written; name it with one of {', '.join(_WRITERS)}")
    channels = (3, 4) if suffix == ".png" else (3,)
    if image.ndim != 3 or image.shape[2] not in channels or image.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{name}: {image.dtype} {image.shape} given; give uint8 or uint16 (H, W, 3)")
    if suffix in (".jpg", ".jpeg") and image.dtype != np.uint8:
        raise UserError(f"{name}: {image.dtype} given, and JPEG has 8 bits; give uint8, or name it .png or .tif")
    order = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    try:
        written, content = cv2.imencode(suffix, cv2.cvtColor(image, order), _WRITERS[suffix])
    except cv2.error:  # no pixels, or more than the format can hold
        written = False
    if not written:
        height, width = image.shape[:2]
        raise UserError(f"{name}: {suffix} cannot hold {width} x {height} pixels; cut the image to pieces")
    write_atomically(path, content.tobytes())


def to_tensor(image: np.ndarray) -> Tensor:
    """An image (H, W, 3), uint8 or uint16, as a tensor (3, H, W), float32, 0..1. to_uint is its inverse."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
    return torch.from_numpy(planes / np.iinfo(image.dtype).max)


def to_uint(srgb: Tensor, dtype: type[np.uint8] | type[np.uint16] | np.dtype) -> np.ndarray:
    """A tensor (3, H, W), clipped to 0..1, on any device, as an image (H, W, 3), rounded to uint8 or uint16."""
    levels = (srgb.float().clamp(0, 1) * np.iinfo(dtype).max).round()
    return np.ascontiguousarray(levels.permute(1, 2, 0).cpu().numpy().astype(dtype))


def _checked(path: str | Path, data: bytes) -> bytes:
    """The file's content as the decoder takes it. Raises BadImage for a file that must not be decoded."""
    if data.startswith(PNG):
        return checked_png(path, data)
    if data.startswith(TIFF):
        check_tiff(path, data)
    elif data.startswith(JPEG):
        check_jpeg(path, data)
    elif not data.startswith(WEBP):  # which has no more than 16383 x 16383 pixels
        raise BadImage(path, "is no PNG, TIFF, JPEG or WebP file", "convert it or remove it")
    return data


def _content(path: str | Path) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadImage(path, f"cannot be read ({error.strerror})", "check the path and who may read it") from None
    if not data:
        raise BadImage(path, "is an empty file", "copy it again or remove it")
    return data
