"""The operations that a DNG lists for its reader: those that hold for an enlarged mosaic, and the gain maps applied.

A list is always big-endian: the number of operations, then for each its number, the version of the specification, flags
and the length of its parameters, and these. Source: DNG specification 1.7.1.0, chapter 7.
"""

import struct
from typing import NamedTuple

import numpy as np

BEFORE_LEVELS, BEFORE_DEMOSAICING, AFTER_DEMOSAICING = 51008, 51009, 51022
LISTS = {BEFORE_LEVELS: "OpcodeList1", BEFORE_DEMOSAICING: "OpcodeList2", AFTER_DEMOSAICING: "OpcodeList3"}
"""The tags of the lists, and their names."""
GAIN_MAP = 9
OF_ANY_SIZE = {1: "WarpRectilinear", 2: "WarpFisheye", 3: "FixVignetteRadial", 14: "WarpRectilinear2"}
"""The operations, by their number, whose parameters are relative to the size of the image."""
OF_AN_AREA = {7: "MapTable", 8: "MapPolynomial", GAIN_MAP: "GainMap"}
"""Those that count pixels only to name an area: a rectangle, and each how manieth row and column of it."""
AREA = struct.Struct(">8I")
"""Top, Left, Bottom, Right, Plane, Planes, RowPitch, ColPitch."""
GRID = struct.Struct(">2I4dI")
"""Of a gain map behind its area: MapPointsV and H, MapSpacingV and H, MapOriginV and H, MapPlanes."""


MOST_POINTS = 1024
"""A gain map with more points along a side is taken for damaged: cameras write about 20."""


class Operation(NamedTuple):
    number: int
    head: bytes
    """The specification's version and the flags."""
    parameters: bytes


def operations(data: bytes) -> list[Operation]:
    """The operations of a list; none of a damaged one."""
    found, place = [], 4
    for _ in range(int.from_bytes(data[:4], "big")):
        if place + 16 > len(data):
            return []
        number, length = struct.unpack_from(">I8xI", data, place)
        found.append(Operation(number, data[place + 4 : place + 12], data[place + 16 : place + 16 + length]))
        place += 16 + length
    return found


def opcode_list(found: list[Operation]) -> bytes:
    """The inverse of operations."""
    whole = [
        struct.pack(">I", number) + head + struct.pack(">I", len(parameters)) + parameters
        for number, head, parameters in found
    ]
    return struct.pack(">I", len(found)) + b"".join(whole)


def enlarged(found: list[Operation], scale: int, shift: tuple[int, int] | None) -> tuple[list[Operation], list[int]]:
    """The operations as they hold for the mosaic at `scale` times each side, and the numbers of those that do not.

    shift  rows and columns, 0 or 1, by which the pattern of the enlarged mosaic differs from the source's: its R lies
           so much further, modulo 2. None: areas count from the corner of the sensor, whose margins it does not have
    """
    kept, left_out = [], []
    for operation in found:
        number, head, parameters = operation
        if number in OF_ANY_SIZE:
            kept.append(operation)
        elif shift and number in OF_AN_AREA and (area := _enlarged_area(parameters, scale, shift)):
            kept.append(Operation(number, head, area + parameters[AREA.size :]))
        else:
            left_out.append(number)
    return kept, sorted(set(left_out))


def _enlarged_area(parameters: bytes, scale: int, shift: tuple[int, int]) -> bytes | None:
    """The area of an operation in the enlarged mosaic; None where no area of it has the same colours."""
    if len(parameters) < AREA.size:
        return None
    top, left, bottom, right, plane, planes, row_pitch, column_pitch = AREA.unpack_from(parameters)
    rows = _enlarged_side(top, bottom, row_pitch, scale, shift[0])
    columns = _enlarged_side(left, right, column_pitch, scale, shift[1])
    if rows is None or columns is None or max(*rows, *columns) >= 2**32:
        return None
    return AREA.pack(rows[0], columns[0], rows[1], columns[1], plane, planes, row_pitch, column_pitch)


def _enlarged_side(first: int, end: int, pitch: int, scale: int, shift: int) -> tuple[int, int] | None:
    """First row or column, and the one behind the last.

    With pitch 1 the area is what it covers. With pitch 2 it is the sites of one colour: of the cells of 2 x 2 that the
    enlarged area covers, those that begin in the row that this colour now has.
    """
    if pitch == 1:
        return scale * first, scale * end
    if pitch == 2:
        return scale * (first // 2 * 2) + (first + shift) % 2, scale * end
    return None


class GainMap(NamedTuple):
    """Factors for the values of an area, at points of a grid that are relative to the size of the image."""

    rows: slice
    columns: slice
    spacing: tuple[float, float]
    """Down and across, in parts of the image's side."""
    origin: tuple[float, float]
    gains: np.ndarray
    """(V, H) float32."""


def gain_map(operation: Operation) -> GainMap | None:
    """The gain map of a mosaic; None where the operation is none, or a damaged one."""
    data = operation.parameters
    if operation.number != GAIN_MAP or len(data) < AREA.size + GRID.size:
        return None
    top, left, bottom, right, plane, planes, row_pitch, column_pitch = AREA.unpack_from(data)
    height, width, *places, map_planes = GRID.unpack_from(data, AREA.size)
    gains = np.frombuffer(data, ">f4", offset=AREA.size + GRID.size)
    if len(gains) != height * width * map_planes or not len(gains) or not np.isfinite([*places, *gains]).all():
        return None
    if (
        max(height, width) > MOST_POINTS
        or plane > 0
        or not planes
        or not row_pitch
        or not column_pitch
        or min(places[:2]) < 0
    ):
        return None
    return GainMap(
        slice(top, bottom, row_pitch),
        slice(left, right, column_pitch),
        (places[0], places[1]),
        (places[2], places[3]),
        gains.reshape(height, width, map_planes)[..., 0].astype(np.float32),
    )


def with_gain_maps(mosaic: np.ndarray, found: list[Operation]) -> tuple[np.ndarray, list[int]]:
    """A mosaic (H, W), 0 at black, times the gain maps of a list; and the numbers of the operations left out."""
    maps = [(operation.number, gain_map(operation)) for operation in found]
    if any(gains is not None for _, gains in maps):
        mosaic = mosaic.copy()
    for _, gains in maps:
        if gains is not None:
            area = mosaic[gains.rows, gains.columns]
            area *= _at_pixels(gains, mosaic.shape)
    return mosaic, sorted({number for number, gains in maps if gains is None})


def _at_pixels(gains: GainMap, shape: tuple[int, ...]) -> np.ndarray:
    """The map at the centre of each pixel of its area, bilinear, and beyond its outer points as at them."""
    weights = [
        _weights((np.arange(side)[part] + 0.5) / side, spacing, origin, points)
        for side, part, spacing, origin, points in zip(
            shape, (gains.rows, gains.columns), gains.spacing, gains.origin, gains.gains.shape, strict=True
        )
    ]
    return weights[0] @ gains.gains @ weights[1].T


def _weights(places: np.ndarray, spacing: float, origin: float, points: int) -> np.ndarray:
    """(places, points) float32: how much each point of a side of the grid counts at each place."""
    at = ((places - origin) / spacing if spacing else np.zeros(len(places))).clip(0, points - 1)
    return (1 - abs(at[:, None] - np.arange(points))).clip(min=0).astype(np.float32)
