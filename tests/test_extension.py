"""Parts from outside the suite: a loss, a degradation, a network of scale 2, a schedule and a data source are added by
a user's own module, trained with, and used, through the doors that .github/CONTRIBUTING.md names."""

import contextlib
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT

PARTS = '''
import math
from pathlib import Path
from typing import ClassVar, Literal

import cv2
import numpy as np
from torch import nn
from torch.nn import functional

from losses import LOSSES
from losses.term import TermOptions
from restore.data.sources import SOURCES
from restore.data.sources.base import Found, ImageFile, Source
from restore.networks import GENERATORS
from restore.networks.base import Generator, NetworkOptions
from restore.training.schedules import SCHEDULES, Schedule, ScheduleOptions
from transforms import TRANSFORMS
from transforms.base import Degradation


class Huber(TermOptions):
    """Quadratic below 0.1, linear above."""

    family: ClassVar = "pixel"
    class_name: Literal["Huber"] = "Huber"

    def build(self):
        return nn.HuberLoss(delta=0.1)


class AreaHalf(Degradation):
    """Means of 2 x 2 pixels, and Gaussian noise."""

    class_name: Literal["AreaHalf"] = "AreaHalf"
    sigma: float = 0.02

    @property
    def reduction(self):
        return 2

    def degrade(self, image, rng):
        import torch

        small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        return small + self.sigma * torch.randn(small.shape, generator=rng).numpy()


class TinyOptions(NetworkOptions):
    """One hidden layer beside the enlarged image."""

    class_name: Literal["Tiny"] = "Tiny"
    scale: Literal[2] = 2
    width: int = 8

    @property
    def stages(self):
        return (self.width,)

    def build(self):
        return Tiny(self)


class Tiny(Generator):
    def __init__(self, options):
        super().__init__(options.n_channels, scale=2)
        last = nn.Conv2d(options.width, 4 * options.n_channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(
            nn.Conv2d(options.n_channels, options.width, 3, padding=1), nn.ReLU(), last, nn.PixelShuffle(2)
        )

    def core(self, degraded):
        return functional.interpolate(degraded, scale_factor=2, mode="bilinear") + self.layers(degraded)


class InverseRoot(ScheduleOptions):
    """Falls with the root of the iteration."""

    class_name: Literal["InverseRoot"] = "InverseRoot"

    def build(self, initial, *length):
        return Root(initial)


class Root(Schedule):
    def __init__(self, initial):
        self.initial = initial

    def rate(self, iteration):
        return self.initial / math.sqrt(iteration)


class Arrays(Source):
    """A folder of .npy files, (H, W, 3) uint8."""

    class_name: Literal["Arrays"] = "Arrays"
    path: str

    def find(self):
        return Found([(ImageFile(file),) for file in sorted(Path(self.path).glob("*.npy"))], [])

    def reader(self, file):
        return "npy 1"

    def read(self, file):
        return np.load(file.path)


for table, part in (
    (LOSSES, Huber), (TRANSFORMS, AreaHalf), (GENERATORS, TinyOptions), (SCHEDULES, InverseRoot), (SOURCES, Arrays)
):
    table.add(part)
'''
CHAIN = [{"class_name": "RandomFlip"}, {"class_name": "AreaHalf", "sigma": 0.01}, {"class_name": "ToTensor2"}]
OPTIONS = {
    "name": "mine",
    "generator": {"class_name": "Tiny", "n_channels": 3, "scale": 2},
    "losses": {"huber": {"class_name": "Huber"}},
    "training_path": [{"class_name": "Arrays", "path": "arrays"}],
    "testing_path": ["val"],
    "transforms_train": [{"class_name": "RandomCrop", "h": 32, "w": 48}, *CHAIN],
    "transforms_test": [{"class_name": "CenterCrop", "h": 64, "w": 64}, *CHAIN[1:]],
    "batch_size": 3,
    "total_epochs": 100,
    "total_iterations": 12,
    "validate_every": 6,
    "optimizer": {"class_name": "Adam", "initial_learning_rate": 1e-3},
    "scheduler": {"class_name": "InverseRoot"},
    "amp": "off",
}


def started(script, *words):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, script, *map(str, words)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with parts of a user's own, in a folder that holds what a user would write."""
    from skimage import data

    folder = tmp_path_factory.mktemp("mine")
    with contextlib.chdir(folder):
        (folder / "my_parts.py").write_text(PARTS)
        for command in ("train", "test"):
            script = f"import my_parts\nfrom restore.{command} import command\nraise SystemExit(command())\n"
            (folder / f"my_{command}.py").write_text(script)
        for name, image in (("arrays", data.coffee()), ("val", data.astronaut())):
            (folder / name).mkdir()
            for number in range(4):
                piece = image[number * 60 :][:80, :96]
                if name == "arrays":
                    np.save(folder / name / f"{number}.npy", piece)
                else:
                    cv2.imwrite(str(folder / name / f"{number}.png"), piece[..., ::-1])
        (folder / "options.json").write_text(json.dumps(OPTIONS))
        started("my_train.py", "-opt", "options.json", "--run-name", "mine", "--device", "cpu")
        yield folder


def test_parts_from_outside_are_trained_with_and_told_in_the_information_file(trained):
    information = json.loads((trained / "model_zoo/mine/best.json").read_text())
    assert information["model_architecture"] == "Tiny"
    assert information["loss_info"]["Pixel_Loss"] == "Huber"
    assert information["transforms_train"]["2"] == {"class_name": "AreaHalf", "sigma": 0.01}
    assert information["training_path"] == [{"class_name": "Arrays", "path": "arrays"}]
    assert information["last_learning_rate"] == pytest.approx(1e-3 / information["iteration"] ** 0.5)
    assert set(information["validation"]) == {"restored", "bicubic"}, "what a network of scale 2 is compared with"
    for measured in information["validation"].values():
        assert set(measured) == {"psnr_srgb", "ssim_srgb", "psnr_y", "ssim_y"}
    assert "bicubic/psnr_y" in (trained / "model_zoo/mine/curves.csv").read_text().splitlines()[0].split(",")
    assert list((trained / "tensorboard_logs/mine/bicubic").iterdir())
    assert "(bicubic -> restored)" in (trained / "model_zoo/mine/log.txt").read_text()


def test_a_run_with_parts_from_outside_continues_to_the_very_same_weights(trained):
    started(
        "my_train.py", "-opt", "options.json", "--run-name", "short", "--device", "cpu", "--set", "total_iterations=6"
    )
    started("my_train.py", "--resume", "model_zoo/short", "--device", "cpu", "--set", "total_iterations=12")
    whole, continued = (torch.load(f"model_zoo/{run}/model_12.pth", weights_only=True) for run in ("mine", "short"))
    assert all(torch.equal(whole[name], continued[name]) for name in whole)


def test_a_network_of_scale_2_restores_pictures_of_twice_the_size_in_tiles_and_whole(trained):
    small = cv2.imread("val/0.png")[:50, :70]
    (trained / "small").mkdir(exist_ok=True)
    cv2.imwrite("small/a.png", small)
    for words, output in (([], "whole"), (["--tile", 32, "--overlap", 8], "tiled")):
        started("my_test.py", "--model", "model_zoo/mine", "--input", "small", "--output", output, *words)
    whole, tiled = (cv2.imread(f"{output}/a.png").astype(int) for output in ("whole", "tiled"))
    assert whole.shape == (100, 140, 3)
    assert np.abs(whole - tiled).max() <= 1
    enlarged = cv2.resize(small, (140, 100), interpolation=cv2.INTER_LINEAR).astype(int)
    assert np.abs(whole - enlarged).mean() < 12, "no shift, no cast: near the plain enlargement after so few updates"


def test_a_model_of_scale_2_is_measured_on_photographs_that_its_own_chain_degrades(trained):
    started("my_test.py", "--model", "model_zoo/mine", "--input", "val", "--degrade", "--output", "measured")
    results = json.loads((trained / "measured/results.json").read_text())
    rows = results["pictures"].values()
    assert len(rows) == 4
    assert all(row["restored"]["psnr_srgb"] > 20 and row["bicubic"]["psnr_srgb"] > 20 for row in rows)
    strip = cv2.imread(next(str(trained / "measured" / row["strip"]) for row in rows))
    assert strip.shape[0] == 80, "degraded, restored and clean side by side at the clean image's size"
