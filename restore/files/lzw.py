"""Checks whether the LZW data of a TIFF file can be decoded. Source: TIFF specification 6.0, section 13."""

import numpy as np

CLEAR, END, FIRST = 256, 257, 258
LONGEST = 4096 - FIRST
"""The most codes between two Clear codes: then no code is free."""

NEXT_FREE = np.maximum(np.arange(LONGEST) - 1, 0) + FIRST
"""The first code that is not defined yet, by the number of codes read since Clear."""
WIDTHS = 9 + np.searchsorted([511, 1023, 2047], NEXT_FREE, side="right")
STARTS = np.cumsum(WIDTHS) - WIDTHS


def lzw_length(data: bytes) -> int | None:
    """The length of the decoded data [bytes]; None if it contains an undefined code."""
    if data[:1] == b"\0" and data[1:2] and data[1] & 1:
        raise ValueError("LZW as before TIFF 6.0, in which bits count from the other end")
    content = np.frombuffer(data + bytes(4), np.uint8).astype(np.uint32)
    windows = content[:-3] << 16 | content[1:-2] << 8 | content[2:-1]
    bits, position, total = 8 * len(data), 0, 0
    while position + 9 <= bits:
        places = position + STARTS
        places = places[places + WIDTHS <= bits]
        widths = WIDTHS[: places.size]
        codes = (windows[places >> 3] >> (24 - (places & 7) - widths)).astype(np.int64) & (1 << widths) - 1
        stops = np.flatnonzero((codes == CLEAR) | (codes == END))
        run = codes[: stops[0]] if stops.size else codes
        if run.size and (run[0] >= CLEAR or (run > NEXT_FREE[: run.size]).any()):
            return None
        total += int(_lengths(run).sum())
        if not stops.size or codes[stops[0]] == END:
            return total
        position = int(places[stops[0]] + widths[stops[0]])
    return total


def _lengths(codes: np.ndarray) -> np.ndarray:
    """The decoded length of each code since Clear [bytes]: 1, or 1 + that of the code which its table entry extends."""
    lengths, sources = np.ones_like(codes), codes - FIRST
    while (derived := np.flatnonzero(sources >= 0)).size:
        lengths[derived] += lengths[sources[derived]]
        sources[derived] = sources[sources[derived]]
    return lengths
