"""A decoded image in a file of its own, with a checksum by which damage is found."""

import io
import json
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from options.errors import Failure
from restore.files.atomic import open_atomically
from transforms import NoiseProfile, RawMetadata
from transforms.sensor.cameras import Camera
from transforms.sensor.mosaic import Mosaic

FORMAT = 1
"""Of the files written here. Raise it by one when their content changes for any reason but a decoder's or transform's
version: this file, sources/reading.py, transforms.sensor.bayer.unify, Pipeline.prepare."""
CHECKSUM = 4
"""Bytes of the CRC-32 at the end of a file."""
BLOCK = 1 << 20
"""Bytes read at a time."""


class DamagedImage(Exception):
    """The file of a stored image is not as it was written."""


class MissingImage(Failure):
    """The file of a stored image was removed or cut off while a run was reading it."""

    def __init__(self, message: str):
        # A worker's error reaches the training process as a new one, whose message is the traceback; its end is ours.
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class StoredImage(NamedTuple):
    """Where a decoded image is, and what has to be known to read it. Its file holds, one after another:

    the array as numpy.save writes it, the metadata as JSON (nothing for sRGB), and the CRC-32 of all that (4 bytes).
    """

    array: Path
    """A .npy file: sRGB (H, W, 3), uint8 or uint16; or the values of a mosaic (H, W), float32."""
    dtype: str
    shape: tuple[int, ...]
    offset: int
    """Of the first pixel in the file [bytes]."""
    metadata: str | None
    """The metadata of a mosaic as JSON; None for sRGB."""

    def image(self) -> np.ndarray | Mosaic:
        """The image, its pixels read from the disk only where they are looked at. MissingImage if it is gone."""
        try:
            pixels = np.memmap(self.array, self.dtype, "r", self.offset, self.shape)
        except (OSError, ValueError):
            raise MissingImage(
                f"{self.array}: this decoded image was removed or cut off while it was in use; "
                f"start again, and it is decoded anew"
            ) from None
        return self._with_metadata(pixels)

    def stand_in(self) -> np.ndarray | Mosaic:
        """An image of the same kind, size and metadata, black and without a file: what a chain checks is the same."""
        return self._with_metadata(np.broadcast_to(np.zeros((), self.dtype), self.shape))

    def _with_metadata(self, pixels: np.ndarray) -> np.ndarray | Mosaic:
        return pixels if self.metadata is None else Mosaic(pixels, _metadata_from_json(self.metadata))


def write_stored(path: Path, image: np.ndarray | Mosaic) -> StoredImage:
    """Writes the image, whole or not at all. Raises SaveError if the disk is full."""
    pixels, metadata = (image.values, _metadata_as_json(image.metadata)) if isinstance(image, Mosaic) else (image, None)
    pixels = np.ascontiguousarray(pixels)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(pixels))
    checksum = 0
    with open_atomically(path) as file:
        for part in (header.getvalue(), pixels.data, (metadata or "").encode()):
            file.write(part)
            checksum = zlib.crc32(part, checksum)
        file.write(checksum.to_bytes(CHECKSUM))
    return StoredImage(path, pixels.dtype.str, pixels.shape, len(header.getvalue()), metadata)


def read_stored(path: Path) -> StoredImage:
    """What was stored, all of its file having been read and found as it was written. Raises DamagedImage if not."""
    try:
        with path.open("rb") as file:
            end = path.stat().st_size - CHECKSUM
            checksum = 0
            while file.tell() < end and (block := file.read(min(BLOCK, end - file.tell()))):
                checksum = zlib.crc32(block, checksum)
            if end <= 0 or int.from_bytes(file.read(CHECKSUM)) != checksum:
                raise DamagedImage(path)
            file.seek(0)
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            offset = file.tell()
            file.seek(offset + dtype.itemsize * int(np.prod(shape)))
            metadata = file.read()[:-CHECKSUM].decode()
    except (OSError, ValueError):
        raise DamagedImage(path) from None
    return StoredImage(path, dtype.str, shape, offset, metadata or None)


def _metadata_as_json(metadata: RawMetadata) -> str:
    """The metadata of an image that was not conditioned yet; noise that is not known is written as NaN."""
    return json.dumps([[values.tolist() for values in part] for part in metadata[:2]])


def _metadata_from_json(content: str) -> RawMetadata:
    camera, noise = ([torch.tensor(values) for values in part] for part in json.loads(content))
    return RawMetadata(Camera(*camera), NoiseProfile(*noise))
