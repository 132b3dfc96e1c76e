"""The folder of a run: models, each with its information file, and the state to continue from."""

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from options.errors import Diverged, UserError
from restore.compute.process import Process
from restore.files.atomic import cannot_be_made, make_folder, remove_unfinished, write_atomically
from restore.runs.information import file_of_these_weights, hash_of
from restore.runs.lock import locked
from restore.training.guard import non_finite_part
from restore.training.option_file import TrainingOptions

STATE = "state.pth"
OPTIONS = "options.json"
LOCK = ".lock"
ROOT = Path("model_zoo")
MODEL = re.compile(r"model_(\d+)\.(pth|json)")


class Checkpoints:
    """The folder of a run. If several processes train together, only the first writes.

    model_<iteration>.pth, .json   the generator's weights at a savepoint that is kept, and how they were made
    best.pth, best.json            the model with the lowest validation loss
    state.pth                      all that an identical continuation needs
    options.json                   the options as resolved, itself an option file
    .lock                          exists while a process trains
    """

    def __init__(self, folder: Path, options: TrainingOptions, process: Process):
        self.folder = folder
        self.options = options
        self.process = process

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder while the block runs. UserError if another process trains this run."""
        if not self.process.first:
            yield
            return
        with locked(self.folder / LOCK, str(self.folder)):
            remove_unfinished(self.folder)
            self.save_options()
            self._mend_best()
            yield

    def _mend_best(self) -> None:
        """After a kill between best.pth and best.json: writes the best.json that belongs to best.pth."""
        path = self.folder / "best.json"
        if (own := file_of_these_weights(path)) != path:
            self._write(path.name, own.read_bytes())

    def save_model(self, iteration: int, weights: dict[str, Tensor], information: dict[str, Any], best: bool) -> None:
        """Writes a savepoint's model and its information file; the best model also as best.pth and best.json.

        A process that is killed between best.pth and best.json leaves files of two savepoints. A reader recognises this
        by the hash of the weights, and finds the right information file beside model_<iteration>.pth, written before.
        """
        if not self.process.first:
            return
        content = _serialised(weights)
        text = _as_json(information | {"weights_hash": hash_of(content)})
        for name in (f"model_{iteration}", "best") if best else (f"model_{iteration}",):
            self._write(f"{name}.pth", content)
            self._write(f"{name}.json", text)

    def remove_models(self, last: int, stays: Callable[[int], bool]) -> None:
        """Removes the models of all savepoints but so many last ones and those of the iterations that stay.

        The weights go first: a process killed between leaves no weights without their information.
        """
        if not self.process.first:
            return
        found = {int(match[1]) for file in self.folder.iterdir() if (match := MODEL.fullmatch(file.name))}
        for iteration in sorted(found)[:-last]:
            if not stays(iteration):
                with suppress(OSError):  # to be tried again at the next savepoint
                    for kind in ("pth", "json"):
                        (self.folder / f"model_{iteration}.{kind}").unlink(missing_ok=True)

    def best_weights(self) -> dict[str, Tensor]:
        """The weights of the best model so far."""
        return torch.load(self.folder / "best.pth", map_location="cpu", weights_only=True)

    def add_to_best(self, **found: Any) -> None:
        """Adds what was found out about the best model to its information."""
        self._write("best.json", _as_json(self.best() | found))

    def best(self) -> dict[str, Any]:
        """The information of the best model so far; empty before the first savepoint with a finite loss."""
        path = self.folder / "best.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def save_options(self) -> None:
        """Writes the options as resolved, as an option file."""
        self._write(OPTIONS, self.options.model_dump_json(by_alias=True, indent=2).encode())

    def save_state(self, state: dict[str, Any]) -> None:
        """Replaces the saved state by this one. Raises Diverged, and writes nothing, if it is not finite."""
        if place := non_finite_part(state):
            raise Diverged(f"the state to save is not finite ({place})")
        if self.process.first:
            self._write(STATE, _serialised(state))

    def load_state(self) -> dict[str, Any]:
        """The saved state. UserError if there is none or it cannot be read."""
        path = self.folder / STATE
        if not path.exists():
            raise UserError(f"{path}: not there, so there is no state to continue from; start a new run")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for damaged and foreign files
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"{path}: cannot be read ({reason}); continue from another run") from error
        if not isinstance(state, dict):
            raise UserError(f"{path}: holds no state of a run but a {type(state).__name__}; continue from another run")
        return state

    def _write(self, name: str, content: bytes) -> None:
        if not self.process.first:
            return
        if not self.folder.exists():  # deleted during the run: made again, so that the run can be continued
            make_folder(self.folder)
            self.save_options()
        write_atomically(self.folder / name, content)


def named_run(name: str) -> Path:
    """The folder of a new run of this name. UserError if the name cannot be a folder's."""
    if not name.strip() or name == ".." or Path(name).name != name or "\0" in name or len(os.fsencode(name)) > 255:
        raise UserError(f'run name: "{name[:80]}" given; a run\'s name is one folder name, without "/"')
    return ROOT / name


def refuse_existing(folder: Path) -> None:
    """UserError if the folder exists: no run writes into the folder of another."""
    if folder.exists():
        raise UserError(f"run name: {folder} exists; choose another name, or continue that run")


def make_run_folder(folder: Path | None = None) -> Path:
    """Makes the folder of a new run and returns it. UserError if it exists.

    None: model_zoo/<date and time>, with a number behind it if another run has that folder.
    """
    if folder is not None:
        if not _made(folder):
            refuse_existing(folder)
        return folder
    dated = ROOT / f"{datetime.now():%Y_%m_%d_%H_%M_%S}"
    candidates = chain([dated], (dated.with_name(f"{dated.name}_{n}") for n in count(2)))
    return next(candidate for candidate in candidates if _made(candidate))


def _made(folder: Path) -> bool:
    """Makes a folder; False if it exists already."""
    make_folder(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    except OSError as error:
        raise cannot_be_made(folder, error) from error
    return True


def _as_json(information: dict[str, Any]) -> bytes:
    return json.dumps(information, indent=2, allow_nan=False).encode()


def _serialised(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
