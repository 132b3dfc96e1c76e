"""Images too large for the device's memory, restored tile by tile."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from options.errors import UserError
from restore.compute.device import tf32
from restore.networks.base import Generator
from restore.networks.padding import mirrored_around


@torch.inference_mode()
@tf32(allowed=False)
def restore_tiled(
    network: Generator, image: Tensor, tile: int, overlap: int, on_tile: Callable[[float], None] | None = None
) -> Tensor:
    """The network's output for the whole image, from overlapping tiles with blended borders.

    network  its mode and its device are kept. Tiles begin at multiples of its size_multiple, so that its strides and
             windows lie on the same pixels as in the whole image
    image    (in_channels, H, W) or (1, in_channels, H, W) float32. It may lie on the CPU while the network does not: a
             tile at a time is moved, and the result is put together where the image lies
    tile     longest side of a tile [pixels of the image]. A side of the image that is no longer is not cut
    overlap  pixels that neighbouring tiles share at least, rounded up to size_multiple [pixels of the image]: context
             for the network, and the width over which the tiles are blended
    on_tile  called after each tile with its share of the image: 1 / the number of tiles
    The image is mirrored beyond its edges by the network's margin, and tiles are larger by as much on both sides.
    Returns (n_channels, scale * H, scale * W), with a batch of one where one was given; float32, on image's device.
    Raises UserError for a negative overlap, and for a tile that is not larger than the overlap.
    """
    multiple, scale = network.size_multiple, network.scale
    check_tiles(tile, overlap, multiple)
    if image.ndim == 3:
        return restore_tiled(network, image[None], tile, overlap, on_tile)[0]
    if network.margin:
        image, tile = mirrored_around(image, network.margin), tile + 2 * network.margin
    height, width = image.shape[-2:]
    rows, columns = _spans(height, tile, overlap, multiple), _spans(width, tile, overlap, multiple)
    rows_of_result, columns_of_result = _enlarged(rows, scale), _enlarged(columns, scale)
    device = next(network.parameters(), image).device
    row_weights = [weight[:, None].to(device) for weight in _weights(rows_of_result)]
    column_weights = [weight.to(device) for weight in _weights(columns_of_result)]
    result = image.new_zeros(1, network.n_channels, scale * height, scale * width, dtype=torch.float32)
    for row, row_of_result, row_weight in zip(rows, rows_of_result, row_weights, strict=True):
        for column, column_of_result, column_weight in zip(columns, columns_of_result, column_weights, strict=True):
            restored = network(image[..., slice(*row), slice(*column)].to(device)).float()
            restored = restored * column_weight * row_weight
            result[..., slice(*row_of_result), slice(*column_of_result)] += restored.to(result.device)
            if on_tile:
                on_tile(1 / (len(rows) * len(columns)))
    edge = scale * network.margin
    return result[..., edge : scale * height - edge, edge : scale * width - edge]


def check_tiles(tile: int, overlap: int, multiple: int) -> None:
    """Raises UserError for a negative overlap, and for a tile that is not larger than the overlap [px]."""
    if overlap < 0:
        raise UserError(f"overlap: {overlap} given; 0 or more pixels are wanted")
    least = (_cells(overlap, multiple) + 1) * multiple
    if tile < least:
        raise UserError(
            f"tile: {tile} given with an overlap of {overlap}; give a tile of at least {least} pixels "
            f"(both count in multiples of {multiple} for this network), or a smaller overlap"
        )


def _spans(length: int, tile: int, overlap: int, multiple: int) -> list[tuple[int, int]]:
    """Begin and end of the fewest tiles along a side, of sizes as equal as the multiple allows.

    Lengths are counted in cells of `multiple` pixels, of which neighbouring tiles have `shared` in common.
    """
    if length <= tile:
        return [(0, length)]
    shared = _cells(overlap, multiple)
    way = _cells(length, multiple) - shared
    count = _cells(way, tile // multiple - shared)
    starts = [i * way // count * multiple for i in range(count + 1)]
    return [(start, min(following + shared * multiple, length)) for start, following in pairwise(starts)]


def _enlarged(spans: list[tuple[int, int]], scale: int) -> list[tuple[int, int]]:
    """The spans of the result [pixels of the result]."""
    return [(scale * start, scale * stop) for start, stop in spans]


def _weights(spans: list[tuple[int, int]]) -> list[Tensor]:
    """The weight of each pixel of each span; at every pixel of the side the weights of all spans add up to 1.

    Between two neighbours the weight changes from 0 to 1 along a ramp over the middle half of the shared pixels. Pixels
    nearer to a tile's border have the least context and get the weight 0. The ramp is no wider than the shortest step
    between tiles, so that no more than two tiles are blended.
    """
    neighbours = list(pairwise(spans))
    centres = [(first[1] + second[0]) / 2 for first, second in neighbours]
    halves = [(first[1] - second[0]) / 2 for first, second in neighbours]
    steps = [second[0] - first[0] for first, second in neighbours]
    width = max(1, min([*halves, *steps], default=1))  # of 1 pixel it is a hard edge between pixels
    places = [torch.arange(start, stop, dtype=torch.float64) + 0.5 for start, stop in spans]
    weights = [torch.ones_like(place) for place in places]
    for number, centre in enumerate(centres):
        weights[number] -= _ramp(places[number], centre, width)
        weights[number + 1] -= 1 - _ramp(places[number + 1], centre, width)
    return [weight.float() for weight in weights]


def _ramp(place: Tensor, centre: float, width: float) -> Tensor:
    return ((place - centre) / width + 0.5).clamp(0, 1)


def _cells(length: int, size: int) -> int:
    return -(-length // size)
