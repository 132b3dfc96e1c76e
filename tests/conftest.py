"""What all tests share: one thread, so that the suite's own processes do not slow one another, and an empty folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # for the commands that tests start

import cv2
import pytest
import torch

import losses
from options.base import parse
from restore.command.arguments import training_arguments
from restore.data.batches import Batch
from restore.networks import build_generator
from restore.networks.discriminators import PatchDiscriminatorOptions
from restore.training.lengths import RunLength
from restore.training.optimizers import Adam
from restore.training.precision import choose_precision
from restore.training.schedules import ScheduleSection
from restore.training.trainer import Trainer
from transforms import RGGB

ROOT = Path(__file__).parents[1]
torch.set_num_threads(1)
cv2.setNumThreads(1)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty current folder: where a user's command runs and its relative paths begin."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photographs(workplace):
    """Two folders, train and val, with pieces of real photographs that scikit-image carries."""
    from skimage import data

    for folder, picture in (("train", data.coffee()), ("val", data.astronaut())):
        (workplace / folder).mkdir()
        for number in range(6):
            top, left = divmod(number * 40, 200)
            piece = picture[top : top + 96, left : left + 80, ::-1]
            cv2.imwrite(str(workplace / folder / f"{number}.png"), piece)
    return workplace


@pytest.fixture
def option_file(photographs):
    """Writes an option file for a small UNet on the photographs, with changes, and returns its path."""

    def write(**changes):
        chain = [{"class_name": "RgbToRawTransform"}, {"class_name": "ToTensor2"}]
        crop = {"class_name": "RandomCrop", "h": 32, "w": 32}
        options = {
            "name": "small",
            "generator": {"class_name": "UNet", "n_channels": 4, "widths": [8, 16]},
            "losses": {"pixel": {"class_name": "L1", "weight": 1}},
            "training_path": ["train"],
            "testing_path": ["val"],
            "transforms_train": [crop, {"class_name": "RandomFlip"}, *chain],
            "transforms_test": [crop, *chain],
            "batch_size": 3,
            "total_epochs": 100,
            "total_iterations": 20,
            "validate_every": 5,
            "optimizer": {"class_name": "Adam", "initial_learning_rate": 1e-3},
            "amp": "off",
        }
        path = photographs / "options.json"
        path.write_text(json.dumps(options | changes))
        return path

    return write


def command(module, *words, **kwargs):
    """Starts `python -m module words` where the test runs; the caller waits for it or kills it."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    arguments = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs
    )


def photograph_pieces(rng, count, size):
    """(count, 3, size, size) in 0..1: pieces of a real photograph from places drawn from the generator."""
    from skimage import data

    picture = torch.from_numpy(data.astronaut()).permute(2, 0, 1).float() / 255
    corners = torch.randint(0, picture.shape[-1] - size, (count, 2), generator=rng).tolist()
    return torch.stack([picture[:, top : top + size, left : left + size] for top, left in corners])


def train(*words):
    """`python -m restore.train words`, on the CPU, in this process."""
    from restore.train import main

    main(training_arguments(["--device", "cpu", *map(str, words)]))


CPU = torch.device("cpu")


def trainer_of(
    terms, amp="off", scheduler=None, discriminator=None, grad_clip=0.4, precision=None, anomaly=False, optimizer=None
):
    """A trainer of a small UNet with these losses, always begun with the same weights."""
    torch.manual_seed(0)
    loss = losses.build(terms, 4)
    judge = discriminator or PatchDiscriminatorOptions(width=8, n_layers=1)
    schedule = parse(ScheduleSection, scheduler or {"class_name": "ReduceLROnPlateau"})
    return Trainer(
        build_generator({"class_name": "UNet", "n_channels": 4, "widths": [8]}),
        judge.build(4) if loss.adversarial else None,
        loss,
        optimizer or Adam(initial_learning_rate=1e-3),
        schedule.schedule(1e-3, RunLength(100, per_epoch=10)),
        precision or choose_precision(amp, CPU, True, not loss.adversarial),
        CPU,
        grad_clip=grad_clip,
        anomaly=anomaly,
    )


def batch(seed=0, size=16, count=2):
    rng = torch.Generator().manual_seed(seed)
    clean = torch.rand(count, 4, size, size, generator=rng)
    files = tuple("abcdefgh"[:count])
    return Batch(clean + 0.1 * torch.randn(clean.shape, generator=rng), clean, None, RGGB, files)


def parameters(network):
    """All of a network's weights in one row."""
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).clone()
