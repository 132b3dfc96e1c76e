"""EMA, stages, early stopping, models that are kept, epochs of several crops, and photographs that are held out."""

import json
import shutil
import signal
from itertools import chain, product
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import command, train
from test_data import batches_of, samples_of, write_photographs
from test_logbook import events_of
from test_resume import GAN, assert_same_bits, interrupt_after, stop

from options.errors import Interrupted, UserError
from restore.data.batches import Batches, Stage
from restore.train import run
from restore.training.averaging import Average
from restore.training.option_file import read_option_file

CPU = torch.device("cpu")
STAGES = [{"iterations": 4, "crop_size": 16, "batch_size": 6}, {"crop_size": 32}]
PLATEAU = {"class_name": "ReduceLROnPlateau", "factor": 0.5, "patience": 0, "min_lr": 0.0}


def state(name):
    return torch.load(f"model_zoo/{name}/state.pth", weights_only=True)


def assert_same_state(one, other):
    """All but the time that it took."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one.keys() - {"seconds"}:
            assert_same_state(one[name], other[name])
    elif isinstance(one, (list, tuple)):
        for pair in zip(one, other, strict=True):
            assert_same_state(*pair)
    else:
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


STRATEGIES = {
    "gan": GAN,  # crops of 16 are 8 x 8 packed, which the small discriminator takes
    "cosine": {"scheduler": {"class_name": "Cosine", "warmup": {"iterations": 2}}},
    "ema": {"ema": {"decay": 0.9}},
    "accumulation": {"accumulation": 3},
    "stages": {"stages": STAGES, "restart_schedule": True},
}


def with_strategies(names, **changes):
    """Changes of the option file for a short run with these strategies; without "cosine" by the plateau."""
    changes |= {"validate_every": 3, "scheduler": PLATEAU}
    return changes | {key: value for name in names for key, value in STRATEGIES[name].items()}


@pytest.mark.parametrize("left_out", list(product(*[[(), (name,)] for name in STRATEGIES if name != "gan"])))
def test_a_gan_with_every_combination_goes_on_to_the_same_state_from_wherever_it_was_stopped(
    option_file, monkeypatch, left_out
):
    names = STRATEGIES.keys() - set(chain(*left_out))
    path = option_file(**with_strategies(names, total_iterations=7, workers=0))
    train("-opt", path, "--run-name", "whole")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(Interrupted):
            train("-opt", path, "--run-name", "parted")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 5)
        with pytest.raises(Interrupted):
            train("--resume", "model_zoo/parted")
    train("--resume", "model_zoo/parted")
    assert_same_state(state("parted"), state("whole"))


# With the run without any of them, which test_resume.py kills, these have each two strategies together, each alone and
# neither.
@pytest.mark.parametrize(
    ("names", "savepoint"),
    [
        ("gan cosine ema accumulation stages", 6),
        ("gan ema", 3),
        ("gan accumulation stages", 3),
        ("cosine ema accumulation", 3),
        ("cosine stages", 6),
    ],
)
def test_a_run_with_strategies_that_is_killed_goes_on_to_the_same_state(option_file, workplace, names, savepoint):
    path = option_file(**with_strategies(names.split(), total_iterations=24, workers=0))
    train("-opt", path, "--run-name", "whole")
    process = command("restore.train", "-opt", path, "--run-name", "killed", start_new_session=True)
    run = workplace / "model_zoo/killed"
    status, _, _ = stop(process, signal.SIGKILL, run, f"model_{savepoint}.json")
    assert status == -signal.SIGKILL
    assert state("killed")["progress"]["iteration"] < 24, "killed too late to show anything"
    train("--resume", run)
    assert_same_state(state("killed"), state("whole"))


def test_the_average_follows_its_rule_and_becomes_the_model(option_file):
    network = torch.nn.BatchNorm1d(2)
    average = Average(network, 0.999)
    expected = network.weight.detach().clone()
    for n in range(3):
        with torch.no_grad():
            network.weight += 1
            network.running_mean += 1
        average.update(network)
        decay = (1 + n) / (10 + n)
        expected = decay * expected + (1 - decay) * network.weight.detach()
    torch.testing.assert_close(average.network.weight, expected)
    assert torch.equal(average.network.running_mean, network.running_mean)
    train("-opt", option_file(total_iterations=5, ema={}), "--run-name", "averaged")
    saved, held = torch.load("model_zoo/averaged/model_5.pth", weights_only=True), state("averaged")
    assert_same_bits(saved, held["average"]["network"])
    assert any(not torch.equal(saved[name], held["generator"][name]) for name in saved)


def test_an_update_that_is_left_out_does_not_move_the_average():
    from conftest import batch, parameters, trainer_of

    trainer = trainer_of({"pixel": {"class_name": "L1"}})
    trainer.average = Average(trainer.generator, 0.9)
    trainer.step([batch()])
    before = parameters(trainer.average.network)
    poisoned = batch()
    poisoned.clean.fill_(torch.nan)
    trainer.step([poisoned])
    assert torch.equal(parameters(trainer.average.network), before)
    assert trainer.average.updates == 1


def staged(folder):
    samples = samples_of(folder)
    return Batches([Stage(0, samples, 3), Stage(3, samples, 2), Stage(6, samples, 5)], 0, CPU)


def test_stages_lose_no_crop_and_their_batches_are_the_same_wherever_a_run_begins(workplace):
    folder = write_photographs(workplace / "photos", 7)
    batches = staged(folder)
    whole = list(batches.after(0, 9))
    assert [len(batch.files) for batch in whole] == [3, 3, 3, 2, 2, 2, 5, 5, 5]
    # the second epoch: three crops in the first stage, four more in the second, each photograph once
    assert len({file for batch in whole[2:5] for file in batch.files}) == 7
    assert [batches.epoch(n) for n in range(10)] == [0, 1, 1, 2, 2, 2, 3, 3, 4, 5]
    assert [batches.iterations(n) for n in range(1, 6)] == [2, 5, 7, 8, 9]
    for begin in range(9):
        for batch, again in zip(whole[begin:], staged(folder).after(begin, 9), strict=True):
            assert torch.equal(batch.degraded, again.degraded)


def test_an_epoch_takes_so_many_crops_of_every_photograph(workplace):
    folder = write_photographs(workplace / "photos", 3)
    batches = Batches([Stage(0, samples_of(folder), 4)], 0, CPU, crops_per_photograph=8)
    assert batches.iterations(1) == 6
    files = [file for batch in batches.after(0, 6) for file in batch.files]
    assert sorted(map(files.count, set(files))) == [8, 8, 8]
    crops = [image.numpy().tobytes() for batch in batches.after(0, 6) for image in batch.clean]
    assert len(set(crops)) == 24, "the crops of one photograph differ"
    one = Batches([Stage(0, samples_of(folder), 3)], 0, CPU)
    assert torch.equal(next(one.after(0, 1)).clean, next(batches_of(folder).after(0, 1)).clean)


def test_each_stage_is_told_with_its_crop_and_batch_and_a_schedule_may_begin_anew(option_file, workplace):
    path = option_file(
        total_iterations=8, validate_every=4, stages=STAGES, scheduler={"class_name": "Cosine"}, restart_schedule=True
    )
    seen = run(read_option_file(path), workplace / "staged", "cpu", say=lambda _: None)
    first, second = (json.loads((seen.folder / f"model_{n}.json").read_text()) for n in (4, 8))
    assert (first["in_res"], first["batch_size"], second["in_res"], second["batch_size"]) == (16, 6, 32, 3)
    assert first["last_learning_rate"] == second["last_learning_rate"] < 0.5e-3
    card = events_of("staged").Tensors("1_model/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| updates | 8, each of 6, then 3 crops |" in card


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": [{"iterations": 4, "crop_size": 200}, {}]}, "none of the 6 files can be used"),
        ({"stages": [{"iterations": 4, "batch_size": 7}, {}]}, r"stages\.0: batch_size: 7 given"),
        ({"stages": [{"iterations": 4, "crop_size": 17}, {}]}, r"stages\.0: transforms_train\.0: 17 x 17 given"),
        ({"stages": [{"iterations": 40}, {}]}, "stages: the last one begins after 40 updates"),
        ({"stages": [{}, {}]}, r"stages\.0\.iterations: null given"),
        ({"stages": [{"iterations": 4}, {"iterations": 4}]}, r"stages\.1\.iterations: 4 given"),
        ({"stages": [{"iterations": 4, "batch_size": 4}, {}], "accumulation": 3}, r"stages\.0: accumulation: 3 given"),
        ({"restart_schedule": True}, "restart_schedule: true given"),
        ({"held_out_path": ["val"]}, r"held_out_path: val/0\.png is also in testing_path \(val/0\.png\)"),
    ],
)
def test_mistakes_are_reported_before_the_runs_folder_is_made(option_file, changes, message):
    with pytest.raises(UserError, match=message):
        train("-opt", option_file(**changes))
    assert not Path("model_zoo").exists()


NO_GAIN = {"metric": "psnr_raw", "patience": 2, "min_gain": 99}


def test_a_run_without_gain_stops_early_says_so_and_goes_on_when_given_more_patience(option_file, capsys):
    path = option_file(early_stopping=NO_GAIN)
    train("-opt", path, "--run-name", "stopped")
    assert "stopped early, at iteration 15: psnr_raw" in capsys.readouterr().out
    told = json.loads(Path("model_zoo/stopped/model_15.json").read_text())
    assert told["stopped_early"] is True
    train("--resume", "model_zoo/stopped")
    assert state("stopped")["progress"]["iteration"] == 15
    train("--resume", "model_zoo/stopped", "--set", "early_stopping.patience=5")
    train("-opt", path, "--run-name", "whole", "--set", "early_stopping.patience=5")
    assert_same_state(state("stopped"), state("whole"))


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ({}, [8, 9, 10]),
        ({"last": 1, "every": 4}, [4, 8, 10]),
        ({"every": 1}, list(range(1, 11))),
        ({"last": 2, "every": None}, [9, 10]),
    ],
)
def test_the_last_models_and_every_nth_are_kept_with_their_information(option_file, keep, left):
    train("-opt", option_file(total_iterations=10, validate_every=1, keep=keep), "--run-name", "kept")
    for kind in ("pth", "json"):
        found = sorted(int(file.stem[6:]) for file in Path("model_zoo/kept").glob(f"model_*.{kind}"))
        assert found == left
    assert Path("model_zoo/kept/best.pth").exists()


def test_photographs_held_out_are_measured_at_the_end_with_the_best_model_and_change_nothing(
    option_file, workplace, capsys
):
    (workplace / "held").mkdir()
    cv2.imwrite("held/a.png", np.random.default_rng(0).integers(0, 256, (96, 80, 3), np.uint8))
    report = run(read_option_file(option_file(held_out_path=["held"])), workplace / "held_out", "cpu", say=print)
    assert report.held_out == report.best["held_out"]
    assert report.held_out["n_imgs"] == 1
    assert "on 1 photographs that were held out: degraded PSNR" in capsys.readouterr().out
    plain = run(read_option_file(option_file()), workplace / "plain", "cpu", say=lambda _: None)
    assert plain.held_out is None
    assert plain.last.loss == report.last.loss
    Path("held/a.png").unlink()
    shutil.copy("train/3.png", "held/renamed.png")
    options = read_option_file(option_file(held_out_path=["held"]))
    with pytest.raises(UserError, match=r"held/renamed\.png is also in training_path \(train/3\.png\)"):
        run(options, workplace / "seen", "cpu", say=lambda _: None)
    assert not (workplace / "seen").exists()
