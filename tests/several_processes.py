"""Runs that one process or several make together: `python several_processes.py NAME ...`, as torchrun starts it.

Each scenario is an option file of its name, and ends in model_zoo/<name>_<number of processes>.
"""

import math
import os
import socket
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

from options.errors import Diverged, UserError
from restore.compute.process import Process, joined_processes
from restore.train import run
from restore.training.option_file import read_option_file
from restore.training.trainer import Trainer

UNET = {"class_name": "UNet", "n_channels": 4, "widths": [8], "dropout": 0.2}
ADAM = {"optimizer": {"class_name": "Adam", "initial_learning_rate": 5e-5}}
SGD = {"optimizer": {"class_name": "SGD", "initial_learning_rate": 0.01}}
GAN = {
    "optimizer": {"class_name": "SGD", "initial_learning_rate": 0.005},
    "losses": {"pixel": {"class_name": "L2"}, "gan": {"class_name": "wgan", "weight": 0.1, "critic_steps": 2}},
    "discriminator": {"class_name": "PatchDiscriminator", "width": 8, "n_layers": 1},
}
COMMON = {
    "generator": UNET,
    "batch_size": 8,
    "crops_per_photograph": 5,
    "total_iterations": 20,
    "validate_every": 10,
    "workers": 0,
}
SCENARIOS = {
    "l1": COMMON | ADAM | {"ema": {"decay": 0.9}},
    "wgan": COMMON | GAN,
    "parts": COMMON | GAN | {"accumulation": 2, "synthesis": "device"},
    "skipped": COMMON | SGD,
    "lost": COMMON | {"total_iterations": 30, "validate_every": 5},
    "stopped": COMMON | ADAM | {"validate_every": 7},
    "nowhere": {"training_path": ["nowhere"]},
    "few": COMMON | {"batch_size": 4, "accumulation": 2, "total_iterations": 5},
    "whole": COMMON | ADAM | {"validate_every": 7},
}
"""Changes of conftest's option file by the scenario's name."""
STOPPED = "stopped"
"""Ends at its first savepoint, in the middle of an epoch."""
ENDS = {
    "lost": "first not finite: loss/pixel at iteration 6 .photographs: ",
    "nowhere": r"training_path\.0: ",
}
"""Scenarios that end with an error, which is the same for any number of processes, and a pattern in it."""
SPOILT = {"skipped": range(5, 8), "lost": range(6, 10**9)}
"""Updates in which the last sample of the batch, which one process has, is not finite."""


def spoil(name: str) -> None:
    step = Trainer.step

    def spoilt(self, parts):
        last = parts[-1]
        share = last.share
        if self.iteration + 1 in SPOILT.get(name, ()) and (share.size - 1 - share.first) % share.step == 0:
            last.degraded[-1, 0, 0, 0] = math.nan
        return step(self, parts)

    Trainer.step = spoilt


def perform(name: str, process: Process = Process(), stop: int | None = None, resume: Path | None = None) -> list[str]:
    """Makes the run of a scenario, or resumes one; returns what it said.

    stop  the savepoint at which the run ends before its time
    """
    said: list[str] = []
    step = Trainer.step
    spoil(name)
    try:
        run(
            read_option_file(f"{name}.json"),
            resume or Path("model_zoo") / f"{name}_{process.count}",
            "cpu",
            process=process,
            resume=resume is not None,
            on_savepoint=lambda iteration, report: iteration == stop,
            say=said.append,
        )
    except (Diverged, UserError) as error:
        told_by = "one" if error.of_all else "each"
        Path(f"{name}_{process.count}_{process.rank}.txt").write_text(f"told by {told_by}: {error}")
    finally:
        Trainer.step = step
    return said


def start(count: int, *words: str, **kwargs) -> list[subprocess.Popen]:
    """`python words` in so many processes that find one another as those of torchrun do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "PYTHONUNBUFFERED": "1",
    }
    return [
        subprocess.Popen(
            [sys.executable, *map(str, words)],
            env=environment
            | {name: str(value) for name, value in (group | {"RANK": rank, "LOCAL_RANK": rank}).items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **kwargs,
        )
        for rank in range(count)
    ]


def main(names: list[str]) -> None:
    with joined_processes() as process:
        for name in names:
            if name.startswith("resumed/"):
                perform(STOPPED, process, resume=Path("model_zoo") / name)
            else:
                perform(name, process, stop=7 if name == STOPPED else None)


if __name__ == "__main__":
    main(sys.argv[1:])
