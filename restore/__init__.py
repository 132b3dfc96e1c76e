"""Image restoration for raw photographs: training (restore.train), use (restore.test, load_model), measurement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from restore.inference.restorer import Restorer


def load_model(run_or_pth: str | Path, device: str | None = None) -> Restorer:
    """A trained model, ready to use: restore.inference.restorer.Restorer says how.

    run_or_pth  a run's folder (its best model), or a .pth or .safetensors: with its information file beside it, or
                without one a published model that spandrel knows
    device      "cpu", "cuda", "cuda:1", "mps"; None: the best there is
    Raises UserError if a file is missing or does not fit.
    """
    from restore.inference.restorer import (
        Restorer,  # torch takes seconds to import, and the commands' --help must not wait
    )

    return Restorer(run_or_pth, device)
