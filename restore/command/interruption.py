"""Ctrl+C, kill, a closed terminal: asked for at any moment, granted between two updates, where the state is whole."""

import signal
import threading
from types import FrameType, TracebackType

from options.errors import Interrupted


class Interruption:
    """While it is entered, a first Ctrl+C (or SIGTERM, or SIGHUP) only asks to stop; a second one stops at once.

    In a thread that is not the program's first, where Python hears no signals, it asks for nothing.
    """

    SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

    def __enter__(self) -> "Interruption":
        self.asked: int | None = None
        self.former = {}
        if threading.current_thread() is threading.main_thread():
            numbers = [getattr(signal, name) for name in self.SIGNALS if hasattr(signal, name)]
            self.former = {number: signal.signal(number, self._ask) for number in numbers if not _under_nohup(number)}
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


def _under_nohup(number: int) -> bool:
    """Whether the program was started so that it outlives its terminal."""
    return signal.Signals(number).name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN
