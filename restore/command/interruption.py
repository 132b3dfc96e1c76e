"""Ctrl+C and kill: asked for at any moment, granted between two updates, where the state is whole."""

import signal
from types import FrameType, TracebackType

from options.errors import Interrupted


class Interruption:
    """While it is entered, a first Ctrl+C (or SIGTERM) only asks to stop; a second one stops at once."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __enter__(self) -> "Interruption":
        self.asked: int | None = None
        self.former = {number: signal.signal(number, self._ask) for number in self.SIGNALS}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._give_back()

    def check(self) -> None:
        """Raises Interrupted if the run was asked to stop."""
        if self.asked is not None:
            raise Interrupted(signal.Signals(self.asked).name, self.asked)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = number
        self._give_back()  # whoever asks again does not want to wait

    def _give_back(self) -> None:
        for number, handler in self.former.items():
            signal.signal(number, handler)
