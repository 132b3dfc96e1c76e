"""What every DNG of ours is made of: a directory about the file with a preview, and behind it one of the pixels.

Source: DNG specification 1.7.1.0. The pixels lie in a sub-directory behind a preview, as Adobe's converter writes them,
in tiles of lossless JPEG.
"""

from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import torch

from restore.camera.output.developing import baseline_exposure, linear_srgb
from restore.camera.output.dng_tags import COLOR_MATRIX, DNG_BACKWARD_VERSION, DNG_VERSION, SUB_IFDS, Carried
from restore.camera.output.lossless_jpeg import encode
from restore.camera.output.srgb import srgb_encoded
from restore.camera.output.tiff import (
    BYTE,
    LONG,
    RATIONAL,
    SHORT,
    SRATIONAL,
    Directory,
    Entry,
    append,
    finish,
    image_tags,
    numbers,
    text,
    write_header,
)
from restore.camera.raw_file import RawFile
from restore.camera.restored_raw import RestoredRaw
from restore.files.atomic import open_atomically
from transforms.sensor.bayer import unify
from transforms.sensor.cameras import RGB_TO_XYZ
from transforms.sensor.layout import RGGB

TILE = 512
"""Side of a tile [px]; TIFF wants a multiple of 16."""
PREVIEW = 1024
"""Longest side of the preview [px], about."""
PREVIEW_QUALITY = 85
VERSION, READABLE_FROM = bytes((1, 4, 0, 0)), bytes((1, 2, 0, 0))
"""The specification that has all tags written here, and the oldest whose readers understand the file."""

STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_BYTES, SUBSAMPLING, ORIENTATION = 273, 278, 279, 530, 274
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
UNIQUE_CAMERA_MODEL, AS_SHOT_NEUTRAL, AS_SHOT_WHITE, ILLUMINANT = 50708, 50728, 50729, 50778
PREVIEW_COLOR_SPACE = 50970
JPEG, YCBCR, SRGB, D65 = 7, 6, 2, 21


def write_dng_file(
    path: Path, restored: RestoredRaw, carried: Carried, image: np.ndarray, photometric: int, tags: Directory
) -> None:
    """Writes a DNG, whole or not at all, with the source's tags and a preview of the restored picture.

    image        (H, W) or (H, W, 3) uint16 [DN]
    photometric  what it is: TIFF's PhotometricInterpretation
    tags         what the directory of the pixels says of them beyond their size and place
    Raises SaveError where the file cannot be written.
    """
    order, source = carried.order, restored.source
    with open_atomically(path) as file:
        write_header(file, order)
        first = _about(source, carried) | _preview(file, restored, carried)
        first[SUB_IFDS] = [tags | _tiles(file, image, photometric, order)]
        finish(file, first, order)


def _about(source: RawFile, carried: Carried) -> Directory:
    """The first directory, less the preview: the file's own tags, and what LibRaw knows where they are missing."""
    order, own = carried.order, carried.about
    colours = source.xyz_to_camera if source.xyz_to_camera is not None else np.linalg.inv(RGB_TO_XYZ)
    known: Directory = {
        UNIQUE_CAMERA_MODEL: text(source.camera),
        COLOR_MATRIX: numbers(order, SRATIONAL, colours),
        ILLUMINANT: numbers(order, SHORT, [D65]),  # without which darktable does not use the matrix
    }
    if AS_SHOT_WHITE not in own:
        neutral = 1 / source.metadata.camera.white_balance.double().numpy()
        known[AS_SHOT_NEUTRAL] = numbers(order, RATIONAL, neutral)
    versions = {
        DNG_VERSION: max(VERSION, _version(own, DNG_VERSION)),
        DNG_BACKWARD_VERSION: min(VERSION, max(READABLE_FROM, _version(own, DNG_BACKWARD_VERSION))),
    }
    orientation: Directory = {ORIENTATION: numbers(order, SHORT, [source.orientation])}
    return known | own | orientation | {code: Entry(BYTE, version) for code, version in versions.items()}


def _version(own: Directory, code: int) -> bytes:
    entry = own.get(code)
    return entry.data if isinstance(entry, Entry) else b""


def _tiles(file: BinaryIO, image: np.ndarray, photometric: int, order: str) -> Directory:
    """Writes the pixels; returns the tags that lead to them."""
    # LibRaw misreads tiles that are wider than the image.
    height, width = (min(TILE, max(16, side // 16 * 16)) for side in image.shape[:2])
    offsets, lengths = [], []
    for top in range(0, image.shape[0], height):
        for left in range(0, image.shape[1], width):
            part = image[top : top + height, left : left + width]
            missing = [(0, height - part.shape[0]), (0, width - part.shape[1]), (0, 0)][: image.ndim]
            tile = np.pad(part, missing, mode="edge")
            # Of a mosaic each pixel is predicted from its neighbour of the same colour.
            stream = encode(tile if image.ndim == 3 else tile.reshape(height, width // 2, 2))
            offsets.append(append(file, stream))
            lengths.append(len(stream))
    return {
        **image_tags(order, image, JPEG, photometric),
        TILE_WIDTH: numbers(order, LONG, [width]),
        TILE_HEIGHT: numbers(order, LONG, [height]),
        TILE_OFFSETS: numbers(order, LONG, offsets),
        TILE_BYTES: numbers(order, LONG, lengths),
    }


def _preview(file: BinaryIO, restored: RestoredRaw, carried: Carried) -> Directory:
    """Writes a small JPEG of the restored picture; returns the tags that lead to it. It is turned as the mosaic is."""
    order, camera = carried.order, restored.source.metadata.camera
    rggb = unify(restored.mosaic, restored.pattern)
    shrink = max(1, max(rggb.shape) / 2 / PREVIEW)
    size = [max(2, round(side / 2 / shrink)) for side in reversed(rggb.shape)]
    planes = [rggb[row::2, column::2] for row, column in RGGB.sites]
    red, *greens, blue = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes)
    balanced = np.stack([red, sum(greens) / 2, blue], axis=2) * camera.white_balance.numpy()
    # Without a tone curve of our own: RawTherapee gives its rendering the tones of the preview.
    linear = linear_srgb(balanced, camera, baseline_exposure(carried))
    picture = (255 * srgb_encoded(torch.from_numpy(linear))).round().byte().numpy()
    quality = [cv2.IMWRITE_JPEG_QUALITY, PREVIEW_QUALITY]
    stream = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)[1].tobytes()
    return {
        **image_tags(order, picture, JPEG, YCBCR, reduced=True),
        SUBSAMPLING: numbers(order, SHORT, [2, 2]),
        ROWS_PER_STRIP: numbers(order, LONG, [picture.shape[0]]),
        STRIP_OFFSETS: numbers(order, LONG, [append(file, stream)]),
        STRIP_BYTES: numbers(order, LONG, [len(stream)]),
        PREVIEW_COLOR_SPACE: numbers(order, LONG, [SRGB]),
    }
