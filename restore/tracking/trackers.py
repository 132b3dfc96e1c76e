"""All trackers of a run as one, whose failures do not reach the run."""

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch import Tensor

from restore.tracking.base import TrackedRun, Tracker, TrackerOptions
from restore.tracking.tensorboard import LOGS, TensorBoard

LONGEST = 300  # characters of a reason


class Trackers:
    """TensorBoard, and those of the option file. One that fails is left out after a line that says so.

    run       None: this process is not the one that speaks, and nothing is tracked
    sections  the option file's "trackers"
    say       takes a line for the user
    """

    def __init__(self, run: TrackedRun | None, sections: Sequence[TrackerOptions], say: Callable[[str], None]):
        self.say = say
        self.trackers: dict[str, Tracker] = {}
        """By what the warning says of them."""
        self.former = threading.excepthook
        threading.excepthook = self._on_failed_thread
        if run:
            self._begin(f"{LOGS / run.folder.name}: TensorBoard's curves", partial(TensorBoard, run))
            for number, section in enumerate(sections):
                self._begin(f"trackers.{number}: what {section.class_name} shows", partial(section.build, run))

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        self._tell(lambda tracker: tracker.scalars(values, iteration))

    def image(self, name: str, image: Tensor, iteration: int) -> None:
        """image  (3, H, W) sRGB 0..1"""
        self._tell(lambda tracker: tracker.image(name, image, iteration))

    def settle(self, iteration: int) -> None:
        self._tell(lambda tracker: tracker.settle(iteration))

    def forget_after(self, iteration: int) -> None:
        self._tell(lambda tracker: tracker.forget_after(iteration))

    def close(self) -> None:
        self._tell(lambda tracker: tracker.close())
        threading.excepthook = self.former

    def _begin(self, what: str, build: Callable[[], Tracker]) -> None:
        try:
            self.trackers[what] = build()
        except Exception as error:
            self._warn(what, error)

    def _tell(self, action: Callable[[Tracker], None]) -> None:
        for what, tracker in list(self.trackers.items()):
            try:
                action(tracker)
            except Exception as error:  # of any kind: whatever the tracker's own threads and servers met
                del self.trackers[what]
                self._warn(what, error)

    def _warn(self, what: str, error: Exception) -> None:
        reason = " ".join((str(error) or type(error).__name__).split())[:LONGEST]
        self.say(f"warning: {what} cannot be written ({reason}); the run goes on without")

    def _on_failed_thread(self, failure: threading.ExceptHookArgs) -> None:
        """Of TensorBoard's writing thread a traceback would say what the warning says in a line."""
        if not type(failure.thread).__module__.startswith("tensorboard."):
            self.former(failure)
