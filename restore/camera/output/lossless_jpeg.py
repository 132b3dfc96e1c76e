"""Lossless JPEG, in which DNG files keep their pixels: encoding only, as LibRaw decodes.

Source: ITU-T T.81, annex H (lossless coding) and K.2 (Huffman codes); DNG specification 1.7, chapter 2 (a mosaic has
two components, so that each pixel is predicted from its neighbour of the same colour).
"""

import heapq
import struct

import numpy as np

PRECISION = 16
"""Bits of a sample."""
CATEGORIES = PRECISION + 1
"""Of differences, by the bits that they need: 0 to 16."""
BITS = np.array([int(difference).bit_length() for difference in range(2**15 + 1)], np.uint8)
"""Bits of a difference, by its absolute value."""
RAREST = 1024
"""A category counts as no rarer than one in so many, which keeps its code within the 16 bits that JPEG allows."""


def encode(image: np.ndarray) -> bytes:
    """An image (H, W, components) uint16, H and W below 65536, 2 to 4 components, as a JPEG of process 14 (SOF3).

    A mosaic (H, W), W even, goes in as (H, W / 2, 2).
    """
    height, width, components = image.shape
    differences = _differences(image)
    categories = BITS[np.abs(differences)]
    lengths = _code_lengths(np.bincount(categories, minlength=CATEGORIES))
    symbols = np.lexsort((np.arange(CATEGORIES), lengths))
    numbers = range(1, components + 1)
    frame = struct.pack(">BHHB", PRECISION, height, width, components) + b"".join(bytes((n, 0x11, 0)) for n in numbers)
    table = b"\0" + bytes(np.bincount(lengths, minlength=17)[1:17].tolist()) + bytes(symbols.tolist())
    scan = bytes((components, *(byte for n in numbers for byte in (n, 0)), 1, 0, 0))  # predictor 1: the left neighbour
    header = b"\xff\xd8" + _segment(0xC3, frame) + _segment(0xC4, table) + _segment(0xDA, scan)
    return header + _entropy_coded(differences, categories, lengths, symbols) + b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _differences(image: np.ndarray) -> np.ndarray:
    """Each sample less its prediction, modulo 2 ** 16, in the order of coding (H * W * components,) int32."""
    samples = image.astype(np.int32)
    differences = samples.copy()
    differences[:, 1:] -= samples[:, :-1]
    differences[1:, 0] -= samples[:-1, 0]
    differences[0, 0] -= 2 ** (PRECISION - 1)
    return ((differences.ravel() + 2**15) & 0xFFFF) - 2**15


def _code_lengths(counts: np.ndarray) -> np.ndarray:
    """Bits of the Huffman code of each category (17,). One more, the rarest, keeps the code of ones free."""
    counts = np.maximum(counts, counts.sum() // RAREST) + 1
    heap: list[tuple[int, tuple[int, ...]]] = [(int(count), (category,)) for category, count in enumerate([*counts, 0])]
    heapq.heapify(heap)
    lengths = np.zeros(CATEGORIES + 1, np.int64)
    while len(heap) > 1:
        (first, left), (second, right) = heapq.heappop(heap), heapq.heappop(heap)
        lengths[[*left, *right]] += 1
        heapq.heappush(heap, (first + second, left + right))
    assert lengths.max() <= 16, lengths
    return lengths[:CATEGORIES]


def _entropy_coded(differences: np.ndarray, categories: np.ndarray, lengths: np.ndarray, symbols: np.ndarray) -> bytes:
    """The bits of all differences: of each the code of its category, then the difference itself."""
    codes, code, length = np.zeros(CATEGORIES, np.uint64), 0, 0
    for symbol in symbols:
        code <<= int(lengths[symbol]) - length
        length = int(lengths[symbol])
        codes[symbol] = code
        code += 1
    further = np.where(categories == PRECISION, 0, categories).astype(np.uint64)  # -32768 needs no more than its code
    values = np.where(differences < 0, differences - 1, differences).astype(np.uint64) & ((1 << further) - np.uint64(1))
    return _packed(codes[categories] << further | values, lengths.astype(np.uint64)[categories] + further)


def _packed(values: np.ndarray, lengths: np.ndarray) -> bytes:
    """The lowest bits, 1 to 32, of the values one after another, filled up with ones, and a 0 byte after each 255."""
    ends = np.cumsum(lengths)
    starts = ends - lengths
    words = (starts >> np.uint64(5)).astype(np.int64)
    shifted = values << (np.uint64(64) - (starts & np.uint64(31)) - lengths)
    count = int(ends[-1]) // 32 + 2
    # No two values share a bit, so that sums are unions; float64 holds 32 bits exactly.
    high = np.bincount(words, weights=shifted >> np.uint64(32), minlength=count)
    low = np.bincount(words + 1, weights=shifted & np.uint64(0xFFFFFFFF), minlength=count)
    stream = (high + low).astype(np.uint64).astype(">u4").view(np.uint8)[: -(-int(ends[-1]) // 8)]
    stream[-1] |= (1 << (-int(ends[-1]) % 8)) - 1
    return np.insert(stream, np.flatnonzero(stream == 255) + 1, 0).tobytes()
