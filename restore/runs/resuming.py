"""Going on where a run stopped: what may change, what its state holds, and whether the state fits."""

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
    "total_epochs",
    "total_iterations",
    "validate_every",
    "workers",
)
"""Keys of the option file that a continued run can follow; all else it goes on with as it was begun."""


def refuse_changes(overrides: list[str]) -> None:
    """UserError for overrides that a continued run could not follow: its state holds the rest as it was begun."""
    keys = [override.partition("=")[0] for override in overrides]
    if changed := [key for key in keys if key.partition(".")[0] not in CHANGEABLE]:
        raise UserError(
            *(f"--set {key}: a run is continued as it was begun; start a new one with -opt" for key in changed),
            f"with --resume only {', '.join(CHANGEABLE)} can be set",
        )


def state_of(parts: Parts) -> dict[str, Any]:
    """The trainer's state, and which photographs it was trained on."""
    return parts.trainer.state() | {"photographs": parts.batches.samples.fingerprint()}


def continue_from(state: dict[str, Any], parts: Parts, run: Path, say: Callable[[str], None]) -> None:
    """Takes a run's state back, and says so if the photographs have changed. UserError if the state does not fit."""
    try:
        if place := non_finite_part(state):
            raise ValueError(f"its {place} is not finite")
        photographs = state["photographs"]
        parts.trainer.load_state(state)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{run}: its state does not fit its {OPTIONS} ({reason}); start a new run") from None
    if photographs != parts.batches.samples.fingerprint():
        say("warning: the training photographs have changed: the run goes on, but not as an undisturbed one would")
