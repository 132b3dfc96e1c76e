"""Image restoration for raw photographs: training (restore.train), use (restore.test, load_model), measurement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from options.errors import UserError

if TYPE_CHECKING:
    from restore.inference.restorer import Restorer


GENERAL_MODEL = Path(__file__).parents[1] / "model_zoo" / "raw_denoise_general"
"""The raw denoiser that comes with the suite, for any Bayer camera."""


def load_model(run_or_pth: str | Path | None = None, device: str | None = None) -> Restorer:
    """A trained model, ready to use: restore.inference.restorer.Restorer says how.

    run_or_pth  a run's folder (its best model), or a .pth or .safetensors: with its information file beside it, or
                without one a published model that spandrel knows; None: the raw denoiser that comes with the suite
    device      "cpu", "cuda", "cuda:1", "mps"; None: the best there is
    Raises UserError if a file is missing or does not fit.
    """
    from restore.inference.restorer import (
        Restorer,  # torch takes seconds to import, and the commands' --help must not wait
    )

    if run_or_pth is None and not GENERAL_MODEL.exists():
        raise UserError(
            f"run_or_pth: not given, and the raw denoiser that comes with the suite is not at {GENERAL_MODEL}; work in "
            f"a copy of the repository, installed with pip install -e, or give a model"
        )
    return Restorer(GENERAL_MODEL if run_or_pth is None else run_or_pth, device)


def describe_model(restorer: Restorer) -> str:
    """A line for the user of a command: which model it uses."""
    own = restorer.path.parent == GENERAL_MODEL
    return f"model: {restorer.path}, {restorer.weights_report}{' (the raw denoiser of the suite)' if own else ''}"
