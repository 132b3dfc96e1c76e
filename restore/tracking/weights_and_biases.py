"""Weights & Biases: a run's numbers and pictures on wandb.ai, or in a folder until they are sent there."""

import os
import uuid
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from restore.files.atomic import make_folder, write_atomically
from restore.tracking.base import TrackedRun, Tracker, TrackerOptions

KEY = "WANDB_API_KEY"
IDENTITY = "wandb_id.txt"  # in the run's folder, so that a continued run is one run there too
LONGEST_WAIT = 30.0  # seconds for an answer of its servers when the run begins, and for what is left when it ends


class WandB(TrackerOptions):
    """Weights & Biases, which needs its package: pip install 'restore[wandb]'. The account's key is taken from the
    environment variable WANDB_API_KEY and written nowhere. Sent are the option file, losses, metrics and pictures, and
    what wandb itself tells of the machine; code and console are not."""

    class_name: Literal["WandB"] = "WandB"
    project: str = Field(default="restore", min_length=1, max_length=128)
    """The project that the run is shown in."""
    entity: str | None = None
    """The user or team that the project belongs to; null: the key's own."""
    mode: Literal["online", "offline"] = "online"
    """offline: nothing is sent; `wandb sync model_zoo/<run>/wandb/offline-run-*` sends it later."""

    def build(self, run: TrackedRun) -> "WeightsAndBiases":
        return WeightsAndBiases(self, run)


class WeightsAndBiases(Tracker):
    """A run on wandb.ai.

    What was sent there cannot be taken back. So it is sent when the run's state is saved, from which it never goes back
    behind that iteration, and is held until then.
    """

    def __init__(self, options: WandB, run: TrackedRun):
        if options.mode == "online" and not os.environ.get(KEY):
            raise ValueError(f'the key is missing; set {KEY} in the environment, or use "mode": "offline"')
        try:
            import wandb
        except ImportError:
            raise ValueError("the package is missing; pip install 'restore[wandb]'") from None
        self.wandb = wandb
        self.held: dict[int, dict[str, Any]] = defaultdict(dict)
        settings = wandb.Settings(
            silent=True,
            console="off",
            save_code=False,
            disable_git=True,
            init_timeout=LONGEST_WAIT,
            finish_timeout=LONGEST_WAIT,
            finish_timeout_raises=True,
        )
        wandb.setup(settings)  # wandb.init speaks before it has looked at its own
        self.run = wandb.init(
            project=options.project,
            entity=options.entity,
            mode=options.mode,
            name=run.folder.name,
            id=_identity(run),
            resume="allow",
            config=run.options | {"model": run.card},
            dir=str(run.folder),
            settings=settings,
        )
        self.run.define_metric("iteration", hidden=True)
        self.run.define_metric("*", step_metric="iteration")

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        self.held[iteration].update(values)

    def image(self, name: str, image: Tensor, iteration: int) -> None:
        pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        self.held[iteration][name] = self.wandb.Image(pixels)

    def settle(self, iteration: int) -> None:
        for at in sorted(self.held):
            if at <= iteration:
                self.run.log(self.held.pop(at) | {"iteration": at})

    def forget_after(self, iteration: int) -> None:
        for at in [at for at in self.held if at > iteration]:
            del self.held[at]

    def close(self) -> None:
        self.run.finish()


def _identity(run: TrackedRun) -> str:
    """The run's name on wandb.ai, by which it is found again when it is continued."""
    path = run.folder / IDENTITY
    if not path.exists():
        make_folder(run.folder)
        write_atomically(path, uuid.uuid4().hex[:16].encode())
    return path.read_text(encoding="utf-8").strip()
