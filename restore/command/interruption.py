"""Ctrl+C, kill and a closed terminal end a run between two updates, when its state is complete."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from options.errors import Interrupted, InterruptedAtOnce


@contextmanager
def interrupted_at_once() -> Iterator[None]:
    """Inside the block SIGTERM and SIGHUP raise InterruptedAtOnce, as Ctrl+C raises KeyboardInterrupt."""
    former = _handled(("SIGTERM", "SIGHUP"), _raise)
    try:
        yield
    finally:
        _put_back(former)


def _raise(number: int, frame: FrameType | None) -> None:
    raise InterruptedAtOnce(number)


class Interruption:
    """Inside the block Ctrl+C, SIGTERM and SIGHUP are only recorded for check; a second Ctrl+C acts at once.

    A second SIGTERM does not: a cluster sends it to every process, and so does torchrun, which may kill them later.
    Outside the main thread the block has no effect, since Python handles signals only there.

    highest  gives the highest of the numbers that the processes of the run give it, so that all stop where one does
    """

    SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

    def __init__(self, highest: Callable[[int], int]):
        self.highest = highest

    def __enter__(self) -> "Interruption":
        self.received = 0
        """The signal's number; 0: none."""
        self.former = _handled(self.SIGNALS, self._record)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _put_back(self.former)

    def check(self) -> None:
        """Raises Interrupted if a signal has arrived."""
        if number := self.highest(self.received):
            raise Interrupted(signal.Signals(number).name, number)

    def _record(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if number == signal.SIGINT:
            _put_back(self.former)  # so that a second one acts at once


def _handled(names: Iterable[str], handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Has these signals handled so; returns the handlers that they had. None outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return {number: signal.signal(number, handler) for number in numbers if not _under_nohup(number)}


def _put_back(former: dict[int, Any]) -> None:
    for number, handler in former.items():
        signal.signal(number, handler)


def _under_nohup(number: int) -> bool:
    """Whether the program was started with nohup, to outlive its terminal."""
    return signal.Signals(number).name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN
