"""A limit for the number of pixels that are decoded at the same time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelBudget:
    """Lets threads decode at most `pixels` pixels together. A larger photograph waits until it is the only one."""

    def __init__(self, pixels: int):
        self.pixels = self.free = pixels
        self.change = threading.Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Waits until this number of pixels is free, and reserves them during the block."""
        pixels = min(pixels, self.pixels)
        with self.change:
            self.change.wait_for(lambda: self.free >= pixels)
            self.free -= pixels
        try:
            yield
        finally:
            with self.change:
                self.free += pixels
                self.change.notify_all()
