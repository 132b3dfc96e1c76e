"""Photographs that show the same: near duplicates, bursts, and a raw file beside the picture made of it.

Where such photographs are divided between training and validation, validation measures what was learnt by heart.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from restore.camera.raw_file import RAW_SUFFIXES, read_raw
from restore.data.sources.reading import PACKED_SUFFIX, read_packed
from restore.files.images import read_image, time_taken

SIDE = 8
"""Rows of the small grey version, and differences in each of them."""
NEAR = 6
"""Bits of 64 in which near duplicates differ at most: of a photograph moved by 1 % of its sides 95 in 100 do, and of
395 photographs of BSDS500 no two did that show different things."""
BURST = 2
"""Longest time between two photographs of a burst [s]."""
ROWS = 64
"""Hashes compared with all others at a time."""
BITS = np.array([number.bit_count() for number in range(2**16)], np.uint8)
"""How many bits of a number of 16 bits are 1."""


class Content(NamedTuple):
    """What is known of a photograph's content."""

    file: Path
    hash: int
    """64 bits: which of two neighbours in a row is brighter, in a grey version of 8 rows of 9 pixels (a dHash)."""
    taken: float | None
    """When it was taken [s]; None where the file does not say."""


def content(file: Path) -> Content:
    """Reads an image or raw file. BadImage for one that cannot be used."""
    if file.suffix.lower() in RAW_SUFFIXES:
        raw = read_raw(file)
        # Brighter and darker are the same in the sensor's numbers, whatever its black level and colours are.
        return Content(file, _hash(raw.data), raw.taken)
    if file.suffix.lower() == PACKED_SUFFIX:
        return Content(file, _hash(read_packed(file).values), None)
    return Content(file, _hash(cv2.cvtColor(read_image(file), cv2.COLOR_RGB2GRAY)), time_taken(file))


def content_groups(contents: Sequence[Content]) -> list[list[Content]]:
    """Groups of photographs that show the same, each in the order given: each belongs to one, if it is alone in it.

    Two are in one group if their hashes are near, if they were taken within two seconds, if they have one name in one
    folder but for the suffix, or if both are in a group with a third.
    """
    groups = _Groups(len(contents))
    _join_near(groups, np.array([one.hash for one in contents], np.uint64))
    by_name: dict[Path, int] = {}
    for number, one in enumerate(contents):
        groups.join(number, by_name.setdefault(one.file.with_suffix(""), number))
    timed = sorted((one.taken, number) for number, one in enumerate(contents) if one.taken is not None)
    for (earlier, first), (later, second) in pairwise(timed):
        if later - earlier <= BURST:
            groups.join(first, second)
    members = defaultdict(list)
    for number, one in enumerate(contents):
        members[groups.first(number)].append(one)
    return list(members.values())


class _Groups:
    """Disjoint sets of the numbers from 0, each known by its smallest number."""

    def __init__(self, count: int):
        self.parents = list(range(count))

    def first(self, number: int) -> int:
        while self.parents[number] != number:
            self.parents[number] = self.parents[self.parents[number]]
            number = self.parents[number]
        return number

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self.first(one), self.first(other)))
        self.parents[second] = first


def _join_near(groups: _Groups, hashes: np.ndarray) -> None:
    for begin in range(0, len(hashes), ROWS):
        distances = _bits(hashes[begin : begin + ROWS, None] ^ hashes[None, begin:])
        for one, other in np.argwhere(distances <= NEAR):
            if one < other:
                groups.join(begin + int(one), begin + int(other))


def _bits(numbers: np.ndarray) -> np.ndarray:
    """How many bits of each number of 64 bits are 1."""
    return BITS[numbers[..., None].view(np.uint16)].sum(-1, dtype=np.uint8)


def _hash(pixels: np.ndarray) -> int:
    small = cv2.resize(pixels.astype(np.float32), (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA)
    brighter = (small[:, 1:] > small[:, :-1]).ravel()
    return int.from_bytes(np.packbits(brighter).tobytes())
