"""A bar for the user while many photographs are read."""

import sys
from collections.abc import Iterable

from tqdm import tqdm


def photographs_bar(photographs: Iterable, total: int) -> Iterable:
    """The same photographs, while a bar on a terminal shows how many of the total have been read."""
    return tqdm(photographs, "photographs", total, leave=False, disable=not sys.stderr.isatty())
