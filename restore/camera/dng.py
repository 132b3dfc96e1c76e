"""Writes a restored mosaic as a DNG in the numbers of its source, with all that an editor needs of the source.

Source: DNG specification 1.7.1.0. The mosaic lies in a sub-directory behind a preview, as Adobe's converter writes it,
in tiles of lossless JPEG.
"""

from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from restore.camera.dng_tags import CFA, DNG_BACKWARD_VERSION, DNG_VERSION, EXIF, SUB_IFDS, Carried, carried_tags
from restore.camera.lossless_jpeg import encode
from restore.camera.raw_file import RawFile, sites
from restore.camera.tiff import (
    BYTE,
    DOUBLE,
    LONG,
    RATIONAL,
    SHORT,
    SRATIONAL,
    Directory,
    Entry,
    append,
    finish,
    numbers,
    text,
    values_of,
    write_header,
)
from restore.files.atomic import open_atomically
from transforms.sensor.bayer import Pattern, unify
from transforms.sensor.cameras import RGB_TO_XYZ
from transforms.sensor.layout import RGGB

TILE = 512
"""Side of a tile [px]; TIFF wants a multiple of 16."""
PREVIEW = 1024
"""Longest side of the preview [px], about."""
PREVIEW_QUALITY = 85
VERSION, READABLE_FROM = bytes((1, 4, 0, 0)), bytes((1, 2, 0, 0))
"""The specification that has all tags written here, and the oldest whose readers understand the file."""
LEAST_NOISE = 0.01
"""A noise profile scaled by less is left out: an editor would find nothing to do."""

NEW_SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
MODEL, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 272, 273, 274, 277, 278, 279
PLANAR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, SUBSAMPLING = 284, 322, 323, 324, 325, 530
EXPOSURE_TIME, ISO = 33434, 34855
CFA_REPEAT, CFA_PATTERN, UNIQUE_CAMERA_MODEL, CFA_PLANE_COLOR, CFA_LAYOUT = 33421, 33422, 50708, 50710, 50711
BLACK_REPEAT, BLACK_LEVEL, WHITE_LEVEL, CROP_ORIGIN, CROP_SIZE = 50713, 50714, 50717, 50719, 50720
COLOR_MATRIX, AS_SHOT_NEUTRAL, AS_SHOT_WHITE, ILLUMINANT = 50721, 50728, 50729, 50778
ACTIVE_AREA, NOISE_REDUCTION_APPLIED, PREVIEW_COLOR_SPACE, NOISE_PROFILE = 50829, 50935, 50970, 51041
JPEG, YCBCR, SRGB, D65 = 7, 6, 2, 21


def write_dng(
    path: Path,
    source: RawFile,
    mosaic: np.ndarray,
    pattern: Pattern,
    strength: float = 1,
    noise_left: float | None = None,
) -> list[str]:
    """Writes a restored mosaic as a DNG, whole or not at all.

    source      the raw file that was restored. Its tags are carried on as far as they still hold (dng_tags)
    mosaic      (s * H, s * W) linear, 0 black, 1 white: its visible area (H, W), restored at s times each side. Both
                have the same outer edges, so that every area of the source is s times as far from them and as large.
                With s = 1 the sensor's margins are kept as recorded
    pattern     of the mosaic
    strength    of the restoration, 0 to 1: NoiseReductionApplied
    noise_left  variance of the noise left / of the source's noise, by which the source's NoiseProfile is scaled;
                None: not known, and it is left out
    Values are rounded, and clipped to 0..65535 DN. Returns a line for each thing that was left out and changes how the
    picture looks. Raises SaveError where the file cannot be written.
    """
    scale = len(mosaic) // len(source.data)
    assert mosaic.shape == tuple(scale * side for side in source.data.shape), mosaic.shape
    carried = carried_tags(source.path, scale)
    order, notes = carried.order, carried.notes
    if source.xyz_to_camera is None and COLOR_MATRIX not in carried.about:
        notes.append("the camera's colours are not known; sRGB's are written in their place")
    first = _about(source, carried)
    noise = _noise(carried, strength, noise_left if scale == 1 else None)
    raw = _levels_and_areas(source, mosaic, pattern, carried) | noise
    with open_atomically(path) as file:
        write_header(file, order)
        first |= _preview(file, source, mosaic, pattern, order)
        first[SUB_IFDS] = [raw | _tiles(file, _frame(source, mosaic, pattern), order)]
        finish(file, first, order)
    return notes


def _about(source: RawFile, carried: Carried) -> Directory:
    """The first directory, less the preview: the file's own tags, and what LibRaw knows where they are missing."""
    order, own = carried.order, carried.about
    colours = source.xyz_to_camera if source.xyz_to_camera is not None else np.linalg.inv(RGB_TO_XYZ)
    known: Directory = {
        MODEL: text(source.camera),
        UNIQUE_CAMERA_MODEL: text(source.camera),
        COLOR_MATRIX: numbers(order, SRATIONAL, colours),
        ILLUMINANT: numbers(order, SHORT, [D65]),  # without which darktable does not use the matrix
    }
    if AS_SHOT_WHITE not in own:
        neutral = 1 / source.metadata.camera.white_balance.double().numpy()
        known[AS_SHOT_NEUTRAL] = numbers(order, RATIONAL, neutral)
    if EXIF not in own:
        known[EXIF] = [_exif(source, order)]
    versions = {
        DNG_VERSION: max(VERSION, _version(own, DNG_VERSION)),
        DNG_BACKWARD_VERSION: min(VERSION, max(READABLE_FROM, _version(own, DNG_BACKWARD_VERSION))),
    }
    orientation: Directory = {ORIENTATION: numbers(order, SHORT, [source.orientation])}
    return known | own | orientation | {code: Entry(BYTE, version) for code, version in versions.items()}


def _version(own: Directory, code: int) -> bytes:
    entry = own.get(code)
    return entry.data if isinstance(entry, Entry) else b""


def _exif(source: RawFile, order: str) -> Directory:
    exif: Directory = {}
    if source.exposure_time is not None:
        exif[EXPOSURE_TIME] = numbers(order, RATIONAL, [source.exposure_time])
    if source.iso is not None:
        exif[ISO] = numbers(order, SHORT, [min(round(source.iso), 65535)])
    return exif


def _levels_and_areas(source: RawFile, mosaic: np.ndarray, pattern: Pattern, carried: Carried) -> Directory:
    """What the directory of the mosaic says of its values and its areas."""
    (height, width), order, scale = mosaic.shape, carried.order, len(mosaic) // len(source.data)
    black = np.empty((2, 2))
    black[tuple(zip(*sites(pattern), strict=True))] = source.black
    top, left, *_ = source.margins if scale == 1 else (0, 0)
    made: Directory = {
        CFA_REPEAT: numbers(order, SHORT, [2, 2]),
        CFA_PATTERN: numbers(order, BYTE, ["RGB".index(colour) for colour in pattern]),
        ACTIVE_AREA: numbers(order, LONG, [top, left, top + height, left + width]),
    }
    if scale > 1 or BLACK_LEVEL not in carried.mosaic:  # else they stay, with those that vary by row and column
        made[BLACK_REPEAT] = numbers(order, SHORT, [2, 2])
        made[BLACK_LEVEL] = numbers(order, RATIONAL, black)
    known: Directory = {
        CFA_PLANE_COLOR: numbers(order, BYTE, [0, 1, 2]),
        CFA_LAYOUT: numbers(order, SHORT, [1]),
        WHITE_LEVEL: numbers(order, LONG, [round(source.white)]),
        CROP_ORIGIN: numbers(order, RATIONAL, [0, 0]),
        CROP_SIZE: numbers(order, RATIONAL, [width, height]),
    }
    for code in (CROP_ORIGIN, CROP_SIZE) if scale > 1 else ():
        if isinstance(crop := carried.mosaic.get(code), Entry):
            made[code] = known[code]
            area = scale * values_of(crop, order)
            if area.size == 2 and ((area >= 0) & (area <= max(mosaic.shape))).all():  # else damaged
                made[code] = numbers(order, RATIONAL, area)
    return known | carried.mosaic | made


def _noise(carried: Carried, strength: float, noise_left: float | None) -> Directory:
    """What is said of the noise; the source's profile is taken from what is carried."""
    order = carried.order
    said: Directory = {NOISE_REDUCTION_APPLIED: numbers(order, RATIONAL, [strength])}
    profile = carried.mosaic.pop(NOISE_PROFILE, None)
    if isinstance(profile, Entry) and profile.kind == DOUBLE and noise_left is not None and noise_left > LEAST_NOISE:
        said[NOISE_PROFILE] = numbers(order, DOUBLE, values_of(profile, order) * noise_left)
    return said


def _frame(source: RawFile, mosaic: np.ndarray, pattern: Pattern) -> np.ndarray:
    """The mosaic in DN, uint16; inside the sensor's margins where it has the source's size."""
    if mosaic.shape == source.data.shape:
        frame = source.frame.copy()
        top, left, bottom, right = source.margins
        area = frame[top : len(frame) - bottom, left : frame.shape[1] - right]
    else:
        frame = area = np.empty(mosaic.shape, np.uint16)
    for (row, column), black in zip(sites(pattern), source.black, strict=True):
        values = mosaic[row::2, column::2] * (source.white - black) + black
        area[row::2, column::2] = values.round().clip(0, 65535)
    return frame


def _tiles(file: BinaryIO, frame: np.ndarray, order: str) -> Directory:
    """Writes the pixels; returns the tags that lead to them."""
    # LibRaw misreads tiles that are wider than the image.
    sides = [min(TILE, max(16, side // 16 * 16)) for side in frame.shape]
    offsets, lengths = [], []
    for top in range(0, frame.shape[0], sides[0]):
        for left in range(0, frame.shape[1], sides[1]):
            part = frame[top : top + sides[0], left : left + sides[1]]
            missing = [(0, side - length) for side, length in zip(sides, part.shape, strict=True)]
            stream = encode(np.pad(part, missing, mode="edge"))
            offsets.append(append(file, stream))
            lengths.append(len(stream))
    return {
        **_image(frame.shape, order, kind=0, photometric=CFA, samples=1, bits=16),
        TILE_WIDTH: numbers(order, LONG, [sides[1]]),
        TILE_HEIGHT: numbers(order, LONG, [sides[0]]),
        TILE_OFFSETS: numbers(order, LONG, offsets),
        TILE_BYTES: numbers(order, LONG, lengths),
    }


def _preview(file: BinaryIO, source: RawFile, mosaic: np.ndarray, pattern: Pattern, order: str) -> Directory:
    """Writes a small JPEG of the restored picture; returns the tags that lead to it. It is turned as the mosaic is."""
    rggb = unify(mosaic, pattern)
    shrink = max(1, max(rggb.shape) / 2 / PREVIEW)
    size = [max(2, round(side / 2 / shrink)) for side in reversed(rggb.shape)]
    planes = [rggb[row::2, column::2] for row, column in RGGB.sites]
    red, *greens, blue = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes)
    camera = np.stack([red, sum(greens) / 2, blue], axis=2) * source.metadata.camera.white_balance.numpy()
    # Without a tone curve of our own: RawTherapee gives its rendering the tones of the preview.
    linear = (camera @ np.linalg.inv(source.metadata.camera.rgb_to_camera.numpy()).T).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    picture = (255 * srgb).round().astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, PREVIEW_QUALITY]
    stream = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)[1].tobytes()
    return {
        **_image(picture.shape, order, kind=1, photometric=YCBCR, samples=3, bits=8),
        SUBSAMPLING: numbers(order, SHORT, [2, 2]),
        ROWS_PER_STRIP: numbers(order, LONG, [picture.shape[0]]),
        STRIP_OFFSETS: numbers(order, LONG, [append(file, stream)]),
        STRIP_BYTES: numbers(order, LONG, [len(stream)]),
        PREVIEW_COLOR_SPACE: numbers(order, LONG, [SRGB]),
    }


def _image(shape: tuple[int, ...], order: str, kind: int, photometric: int, samples: int, bits: int) -> Directory:
    return {
        NEW_SUBFILE_TYPE: numbers(order, LONG, [kind]),
        WIDTH: numbers(order, LONG, [shape[1]]),
        HEIGHT: numbers(order, LONG, [shape[0]]),
        BITS: numbers(order, SHORT, [bits] * samples),
        COMPRESSION: numbers(order, SHORT, [JPEG]),
        PHOTOMETRIC: numbers(order, SHORT, [photometric]),
        SAMPLES: numbers(order, SHORT, [samples]),
        PLANAR: numbers(order, SHORT, [1]),
    }
