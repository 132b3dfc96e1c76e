"""How much may be decoded at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelBudget:
    """Lets threads decode photographs of so many pixels at once, all together; a larger one has to be alone."""

    def __init__(self, pixels: int):
        self.pixels = self.free = pixels
        self.change = threading.Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Waits until so many pixels are free, and holds them in the block."""
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
