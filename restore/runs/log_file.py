"""log.txt: what a run says, with times, also across resuming."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from options.errors import Failure, UserError
from restore.compute.process import Process

LOG = "log.txt"


class LogFile:
    """Says each line to the user, and writes it to log.txt in the run's folder, after what is there already.

    print_line  takes a line for the user
    process     which process of the run this is: only the first says and writes anything
    What cannot be written is one warning.
    """

    def __init__(self, print_line: Callable[[str], None], process: Process):
        self.print_line = print_line
        self.process = process
        self.path: Path | None = None
        self.waiting = ""
        """What was said before there was a folder."""
        self.warned = False

    def say(self, text: str) -> None:
        if self.process.first:
            self.print_line(text)
            self._append(_with_time(text))

    @contextmanager
    def written_to(self, folder: Path) -> Iterator[None]:
        """For a while there is a folder to write to. An error that leaves it is written too; its catcher tells it."""
        self.path = folder / LOG
        self._append("")
        try:
            yield
        except BaseException as error:
            told = isinstance(error, UserError | Failure | KeyboardInterrupt)
            text = str(error) or type(error).__name__
            self._append(_with_time(f"error: {text}" if told else "".join(traceback.format_exception(error)).rstrip()))
            raise
        finally:
            self.path = None

    def _append(self, lines: str) -> None:
        if not self.process.first:
            return
        self.waiting += lines
        if not self.path:
            return
        try:
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(self.waiting)
        except OSError as error:
            if not self.warned:
                self.warned = True
                self.print_line(f"warning: {self.path}: cannot be written ({error.strerror}); the run goes on without")
        self.waiting = ""


def _with_time(text: str) -> str:
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    return "".join(f"{now} {line}\n" for line in text.split("\n"))
