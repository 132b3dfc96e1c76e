"""Continuing a run: which options may change, what its state holds, and loading it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from options.errors import UserError
from restore.runs.checkpoints import OPTIONS
from restore.training.assembly import Parts
from restore.training.guard import non_finite_part

CHANGEABLE = (
    "accumulation",
    "early_stopping",
    "held_out_path",
    "keep",
    "prefetch",
    "total_epochs",
    "total_iterations",
    "trackers",
    "validate_every",
    "workers",
)
"""Keys of the option file that may change when a run is continued."""


def refuse_changes(overrides: list[str]) -> None:
    """UserError for an override of another key."""
    keys = [override.partition("=")[0] for override in overrides]
    if changed := [key for key in keys if key.partition(".")[0] not in CHANGEABLE]:
        raise UserError(
            f"--set {', '.join(changed)}: cannot change when a run is continued; start a new run with -opt, "
            f"as with --resume only {', '.join(CHANGEABLE)} can be set"
        )


def state_of(parts: Parts) -> dict[str, Any]:
    """The trainer's state, and a fingerprint of the training photographs."""
    return parts.trainer.state() | {"photographs": parts.batches.samples.fingerprint()}


def progress_of(parts: Parts) -> str:
    """A line for the user: how far a run that is continued has come, and how a complete one can go on."""
    iteration, last = parts.trainer.iteration, parts.timetable.last
    if iteration < last:
        return f"continues from iteration {iteration} of {last}"
    return (
        f"the run is complete, at iteration {iteration} of {last}; to train on, raise total_iterations and, where that "
        f"ends the run earlier, total_epochs: --set total_iterations={2 * iteration}"
    )


def continue_from(state: dict[str, Any], parts: Parts, run: Path, say: Callable[[str], None]) -> None:
    """Loads a run's state. Warns if the photographs have changed. UserError if the state does not fit the options."""
    try:
        if place := non_finite_part(state):
            raise ValueError(f"its {place} is not finite")
        photographs = state["photographs"]
        parts.trainer.load_state(state)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{run}: its state does not fit its {OPTIONS} ({reason}); start a new run") from None
    if photographs != parts.batches.samples.fingerprint():
        say("warning: the training photographs have changed: the run continues, but its result will differ")
