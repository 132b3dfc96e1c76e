"""What a run leaves in its folder: models to use, each with its information file, and the state to go on from."""

import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from options.errors import UserError
from restore.files.atomic import make_folder, write_atomically
from restore.training.option_file import TrainingOptions

STATE = "state.pth"
OPTIONS = "options.json"


class Checkpoints:
    """The folder of a run.

    model_<iteration>.pth, .json   the generator's weights at a savepoint, and how they were made
    best.pth, best.json            those with the lowest validation loss
    state.pth                      all that an identical continuation needs
    options.json                   the options as resolved, runnable again as they are
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def save_model(self, iteration: int, weights: dict[str, torch.Tensor], information: dict, best: bool) -> None:
        """Writes a savepoint's model and its information, and once more as the best if it is."""
        for name in (f"model_{iteration}", "best") if best else (f"model_{iteration}",):
            write_atomically(self.folder / f"{name}.pth", _serialised(weights))
            write_atomically(self.folder / f"{name}.json", json.dumps(information, indent=2, allow_nan=False).encode())

    def best(self) -> dict[str, Any]:
        """The information of the best model so far; empty before the first savepoint with a finite loss."""
        path = self.folder / "best.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def save_options(self, options: TrainingOptions) -> None:
        """Writes the options as resolved, a whole option file."""
        write_atomically(self.folder / OPTIONS, options.model_dump_json(by_alias=True, indent=2).encode())

    def save_state(self, state: dict[str, Any]) -> None:
        write_atomically(self.folder / STATE, _serialised(state))

    def load_state(self) -> dict[str, Any]:
        """The last state written. UserError if there is none or it cannot be read."""
        path = self.folder / STATE
        if not path.exists():
            raise UserError(f"{path}: not there, so nothing was saved to continue from; start the run anew")
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a file that is damaged or not its own
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"{path}: cannot be read ({reason}); continue from another run") from error


def new_run_folder(name: str | None = None, root: Path = Path("model_zoo")) -> Path:
    """Makes model_zoo/<name>, by default the date and time. UserError if it exists: no run writes into another's."""
    name = f"{datetime.now():%Y_%m_%d_%H_%M_%S}" if name is None else name
    folder = root / name
    if not name.strip() or name == ".." or Path(name).name != name:
        raise UserError(f'--run-name: "{name}" given; a run\'s name is one folder name, without "/"')
    make_folder(root)
    try:
        folder.mkdir()
    except FileExistsError:
        raise UserError(
            f"--run-name: {folder} exists; choose another name, or continue it with --resume {folder}"
        ) from None
    return folder


def _serialised(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
