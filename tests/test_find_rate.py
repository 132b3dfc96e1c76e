"""--find-lr: suggests a learning rate, and changes nothing else."""

import csv
import math
from pathlib import Path

import cv2
import pytest
import torch
from conftest import train

from options.errors import UserError
from restore.training import find_rate
from restore.training.find_rate import Point, steepest_descent, suggestion
from restore.training.trainer import Trainer

GAN = {
    "losses": {"pixel": {"class_name": "L1", "weight": 10}, "gan": {"class_name": "wgan"}},
    "discriminator": {"class_name": "PatchDiscriminator", "width": 8, "n_layers": 1},
}


def rows():
    with Path("model_zoo/find_lr_small.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("changes", [{}, {"amp": "bf16"}, GAN], ids=["L1", "bf16", "gan"])
def test_training_after_finding_has_the_weights_of_training_alone(option_file, monkeypatch, capsys, changes):
    monkeypatch.setattr(find_rate, "UPDATES", 40)
    path = option_file(total_iterations=3, validate_every=3, workers=0, **changes)
    train("-opt", path, "--run-name", "alone")
    runs = set(Path("model_zoo").iterdir())
    train("-opt", path, "--find-lr")
    assert {made.name for made in set(Path("model_zoo").iterdir()) - runs} == {"find_lr_small.csv", "find_lr_small.png"}
    out = capsys.readouterr().out
    assert "--set optimizer.initial_learning_rate=" in out
    assert cv2.imread("model_zoo/find_lr_small.png") is not None
    points = rows()
    assert points[0]["learning_rate"] == pytest.approx(1e-7)
    assert all(math.isfinite(point["smoothed"]) for point in points)
    train("-opt", path, "--run-name", "after")
    alone, after = (torch.load(f"model_zoo/{run}/model_3.pth", weights_only=True) for run in ("alone", "after"))
    assert all(torch.equal(alone[name], after[name]) for name in alone)


def test_the_very_trainer_goes_on_as_if_nothing_had_been(option_file, monkeypatch):
    from restore.training.assembly import assemble
    from restore.training.option_file import read_option_file
    from restore.training.rates import Scaled

    monkeypatch.setattr(find_rate, "UPDATES", 25)
    options = read_option_file(option_file(workers=0, **GAN))
    weights = []
    for finding in (False, True):
        parts = assemble(options, torch.device("cpu"), lambda line: None)
        if finding:
            find_rate.find_rate(options, parts)
        assert isinstance(parts.trainer.schedule, Scaled)
        for batch in parts.batches.after(0, 3):
            parts.trainer.step([batch])
        weights.append(
            [parameter.detach() for net in parts.trainer.networks.values() for parameter in net.parameters()]
        )
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))


def test_the_test_stops_where_the_loss_is_four_times_the_lowest_or_not_finite(option_file, monkeypatch):
    step = Trainer.step

    def diverging(self, parts):
        terms = step(self, parts)
        return terms | {"loss/pixel": 1.0 if self.iteration <= 30 else 100.0}

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", diverging)
        train("-opt", option_file(workers=0), "--find-lr")
    assert len(rows()) == 31
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_restore", lambda self, part: self.forward(part.degraded) * math.nan)
        with pytest.raises(UserError, match="finite for 0 updates"):
            train("-opt", option_file(workers=0), "--find-lr")


def test_the_suggestion_is_a_tenth_of_the_lowest_and_the_steepest_descent_lies_on_the_slope():
    points = []
    for number in range(100):
        rate = 10 ** (-7 + number * 0.07)
        loss = 1 - 0.9 / (1 + (1e-4 / rate) ** 2) + (rate / 0.05) ** 2
        points.append(Point(number + 1, rate, loss, loss))
    lowest = min(points, key=lambda point: point.loss).learning_rate
    assert suggestion(points) == lowest / 10
    assert 3e-5 < steepest_descent(points) < 2e-4


def test_finding_names_the_key_of_the_schedule_and_undoes_the_linear_rule(option_file, monkeypatch, capsys):
    monkeypatch.setattr(find_rate, "UPDATES", 25)
    path = option_file(
        workers=0,
        optimizer={"class_name": "SGD", "initial_learning_rate": 1e-3, "scale_learning_rate": 1},
        scheduler={"class_name": "OneCycle", "max_lr": 0.1},
    )
    train("-opt", path, "--find-lr")
    out = capsys.readouterr().out
    assert "learning rates: 3 times those given" in out
    suggested = float(out.split(", the suggestion")[0].split()[-1])
    assert float(out.split("--set scheduler.max_lr=")[1].split()[0]) == pytest.approx(suggested / 3, rel=0.06)


def test_a_run_to_continue_has_its_rate(option_file):
    train("-opt", option_file(total_iterations=1), "--run-name", "begun")
    with pytest.raises(UserError, match="--find-lr: a run is continued with its own learning rate"):
        train("--resume", "model_zoo/begun", "--find-lr")


def test_what_the_run_is_too_short_for_is_a_mistake_before_its_folder_is_made(option_file):
    path = option_file(scheduler={"class_name": "MultiStep", "milestones": [50], "warmup": 11})
    with pytest.raises(
        UserError, match=r"scheduler\.warmup: 11 epochs given[^\n]*\n[^\n]*scheduler\.milestones\.0: 50"
    ):
        train("-opt", path, "--run-name", "short")
    assert not Path("model_zoo/short").exists()
