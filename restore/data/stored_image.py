"""A decoded image in a file of its own, with a checksum that shows damage."""

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
    """The file of a stored image differs from what was written."""


class MissingImage(Failure):
    """The file of a stored image was removed or cut off while a run was reading it."""

    def __init__(self, message: str):
        # The training process gets a worker's error as a new one, whose message is the traceback. It ends with ours.
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


class StoredImage(NamedTuple):
    """Where a decoded image is stored, and what is needed to read it.

    The file holds the array as numpy.save writes it, then the metadata as JSON (nothing for sRGB), then the CRC-32 of
    both (4 bytes).
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
        """The image. Its pixels are read only where they are used. Raises MissingImage if the file was removed."""
        try:
            pixels = np.memmap(self.array, self.dtype, "r", self.offset, self.shape)
        except (OSError, ValueError):
            raise MissingImage(
                f"{self.array}: this decoded image was removed or cut off while it was in use; "
                f"start again, and it is decoded anew"
            ) from None
        return self._with_metadata(pixels)

    def stand_in(self) -> np.ndarray | Mosaic:
        """A black image of the same type, size and metadata, without a file, for the checks of a chain."""
        return self._with_metadata(np.broadcast_to(np.zeros((), self.dtype), self.shape))

    def _with_metadata(self, pixels: np.ndarray) -> np.ndarray | Mosaic:
        return pixels if self.metadata is None else Mosaic(pixels, _metadata_from_json(self.metadata))


def write_stored(path: Path, image: np.ndarray | Mosaic) -> StoredImage:
    """Writes the image in one step. Raises SaveError if the disk is full."""
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
    """The stored image. Reads the whole file and verifies its checksum; raises DamagedImage if it is wrong."""
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
    """The metadata as JSON, without a conditioning, which comes later; noise that is not known is NaN."""
    return json.dumps([[values.tolist() for values in part] for part in metadata[:2]])


def _metadata_from_json(content: str) -> RawMetadata:
    camera, noise = ([torch.tensor(values) for values in part] for part in json.loads(content))
    return RawMetadata(Camera(*camera), NoiseProfile(*noise))
