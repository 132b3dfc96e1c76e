"""Numbers that are not finite: the update is skipped, the term named, and a run that diverges goes back."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from conftest import batch, command, parameters, train, trainer_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from losses import WeightedLoss
from options.errors import Diverged, UserError
from restore.training.guard import IN_A_ROW, RETURNS
from restore.training.trainer import Trainer

L1 = {"pixel": {"class_name": "L1"}}
GAN = {"pixel": {"class_name": "L1"}, "gan": {"class_name": "wgan"}}


def in_an_image(trainer):
    def spoil(one):
        one.degraded[0, 0, 0, 0] = math.nan
        return one

    return spoil


def in_a_loss(trainer):
    trainer.loss.terms["pixel"].register_forward_hook(lambda *called: called[2] * math.nan)
    return lambda one: one


def in_a_gradient(trainer):
    trainer.generator.tail.weight.register_hook(lambda gradient: gradient * math.inf)
    return lambda one: one


@pytest.mark.parametrize(
    ("plant", "name"),
    [(in_an_image, "loss/pixel"), (in_a_loss, "loss/pixel"), (in_a_gradient, "gradient_norm/generator")],
)
def test_an_update_that_is_not_finite_is_left_out_named_once_and_counted(plant, name):
    trainer = trainer_of(L1)
    trainer.step([batch()])
    before = parameters(trainer.generator)
    spoil = plant(trainer)
    for _ in range(3):
        terms = trainer.step([spoil(batch())])
    assert torch.equal(parameters(trainer.generator), before)
    assert terms["skipped_updates"] == 3
    assert trainer.iteration == 4
    (notice,) = trainer.guard.take_notices()
    assert notice.startswith(f"warning: not finite: {name} at iteration 2 (photographs: a, b)")
    assert all(torch.isfinite(torch.as_tensor(value)).all() for value in terms.values()), "curves stay drawable"


def test_the_discriminator_too_is_left_as_it_was():
    trainer = trainer_of(GAN)
    trainer.step([batch()])
    before = parameters(trainer.discriminator), parameters(trainer.generator)
    spoilt = batch()
    spoilt.clean[0, 0, 0, 0] = math.nan
    trainer.step([spoilt])
    assert torch.equal(parameters(trainer.discriminator), before[0])
    assert torch.equal(parameters(trainer.generator), before[1])
    assert "discriminator/loss" in trainer.guard.take_notices()[0]


def test_a_good_update_between_starts_the_count_anew_and_ten_in_a_row_are_divergence():
    trainer = trainer_of(L1)
    spoil = in_an_image(trainer)
    for _ in range(2):
        for _ in range(IN_A_ROW - 1):
            trainer.step([spoil(batch())])
        trainer.step([batch()])
    for _ in range(IN_A_ROW - 1):
        trainer.step([spoil(batch())])
    with pytest.raises(Diverged, match="10 updates in a row"):
        trainer.step([spoil(batch())])


def test_training_goes_on_after_a_bad_batch_as_if_it_had_not_been():
    one, other = trainer_of(L1), trainer_of(L1)
    one.step([in_an_image(one)(batch(7))])
    for number in range(3):
        one.step([batch(number)])
        other.step([batch(number)])
    assert torch.equal(parameters(one.generator), parameters(other.generator))


@pytest.mark.parametrize(("plant", "layer"), [(in_an_image, "down_levels.0.0"), (in_a_gradient, "tail.weight")])
def test_anomaly_names_the_layer_where_it_arose(plant, layer):
    trainer = trainer_of(L1, anomaly=True)
    trainer.step([plant(trainer)(batch())])
    assert f"arising in {layer} " in trainer.guard.take_notices()[0]


@pytest.fixture
def poisoned(monkeypatch):
    """Makes the pixel term NaN, in training and in validation, while the update is between two numbers."""
    from losses.pixel import L1 as Section

    def plant(first, last):
        updates = [0]
        build = Section.build

        def spoil(value):
            updates[0] += torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
            return value * (math.nan if first <= updates[0] <= last else 1)

        def built(self):
            term = build(self)
            term.register_forward_hook(lambda *called: spoil(called[2]))
            return term

        monkeypatch.setattr(Section, "build", built)

    return plant


def test_a_run_that_diverges_goes_back_with_half_the_learning_rate_and_comes_to_its_end(option_file, poisoned, capsys):
    poisoned(21, 30)  # ten in a row after the first savepoint
    train("-opt", option_file(total_iterations=40, validate_every=20), "--run-name", "back")
    printed = capsys.readouterr().out
    assert "10 updates in a row were not finite: back to iteration 20 with the learning rate 0.0005" in printed
    assert "first not finite: loss/pixel at iteration 21" in printed
    information = json.loads(Path("model_zoo/back/model_40.json").read_text())
    assert information["last_learning_rate"] == 5e-4
    events = EventAccumulator("tensorboard_logs/back")
    events.Reload()
    steps = [point.step for point in events.Scalars("2_loss/total")]
    assert steps == sorted(set(steps)), "the curve of the updates that were undone is gone"
    with Path("model_zoo/back/curves.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [int(row["iteration"]) for row in rows] == [10, 20, 30, 40]
    assert all(float(row["learning_rate/generator"]) == 5e-4 for row in rows[2:])


def test_the_photographs_of_a_validation_loss_that_is_not_finite_are_named(option_file, monkeypatch):
    measure = WeightedLoss.comparison
    calls = iter(range(1, 10**9))

    def one_of_six(self, restored, clean, metadata):
        value = measure(self, restored, clean, metadata)
        return value * (math.nan if restored.shape == clean.shape and next(calls) % 6 == 4 else 1)

    monkeypatch.setattr(WeightedLoss, "comparison", one_of_six)
    with pytest.raises(Diverged, match=r"validation loss at iteration 5 is nan \(photographs: val/2\.png\)"):
        train("-opt", option_file(), "--run-name", "named")


def test_a_state_that_is_not_finite_never_replaces_a_good_one(option_file, monkeypatch):
    end_savepoint = Trainer.end_savepoint

    def spoilt(self, loss):
        end_savepoint(self, loss)
        if self.iteration == 10:
            next(iter(self.optimizers["generator"].state.values()))["exp_avg"][0] = math.nan

    monkeypatch.setattr(Trainer, "end_savepoint", spoilt)
    with pytest.raises(Diverged, match=r"the state to save is not finite \(optimizer/generator, state, 0, exp_avg\)"):
        train("-opt", option_file(), "--run-name", "spoilt")
    state = torch.load("model_zoo/spoilt/state.pth", weights_only=True)
    assert state["progress"]["iteration"] == 5
    assert all(moment["exp_avg"].isfinite().all() for moment in state["optimizer/generator"]["state"].values())


def test_pretrained_weights_that_are_not_finite_are_a_mistake_and_leave_no_run(option_file):
    train("-opt", option_file(), "--run-name", "made")
    weights = torch.load("model_zoo/made/best.pth", weights_only=True)
    weights["tail.weight"][0] = math.nan
    torch.save(weights, "nan.pth")
    with pytest.raises(UserError, match=r"nan\.pth"):
        train("-opt", option_file(pretrained_model="nan.pth"), "--run-name", "tuned")
    assert not Path("model_zoo/tuned").exists()


def test_a_run_that_diverges_for_good_stops_and_what_was_good_is_still_there(option_file, poisoned):
    poisoned(6, 10**9)
    with pytest.raises(
        Diverged, match=rf"after going back {RETURNS} times; first not finite: loss/pixel at iteration 6"
    ):
        train("-opt", option_file(), "--run-name", "lost")
    run = Path("model_zoo/lost")
    assert sorted(file.name for file in run.glob("model_*.pth")) == ["model_5.pth"]
    state = torch.load(run / "state.pth", weights_only=True)
    assert state["progress"]["iteration"] == 5
    assert all(tensor.isfinite().all() for tensor in state["generator"].values())
    assert json.loads((run / "best.json").read_text())["iteration"] == 5


def test_a_run_that_diverged_is_resumed_from_its_good_state(option_file, poisoned, monkeypatch):
    poisoned(6, 10**9)
    with pytest.raises(Diverged):
        train("-opt", option_file(), "--run-name", "again")
    monkeypatch.undo()
    monkeypatch.chdir(option_file().parent)
    train("--resume", "model_zoo/again")
    assert Path("model_zoo/again/model_20.pth").exists()


def test_a_run_with_an_absurd_learning_rate_ends_in_one_line_and_exit_status_1(option_file):
    deep = {"class_name": "SCUNet", "n_channels": 4, "config": [1, 1, 1, 1, 1, 1, 1]}
    path = option_file(generator=deep, optimizer={"class_name": "Adam", "initial_learning_rate": 10})
    process = command("restore.train", "-opt", path, "--run-name", "absurd", "--device", "cpu")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "error: diverged: " in err
    assert "Traceback" not in err
    assert not Path("model_zoo/absurd/best.pth").exists()
