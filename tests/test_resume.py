"""A run that was interrupted, in whatever way, ends with the bits of one that never was."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from conftest import command, train

from options.errors import Interrupted, SaveError, UserError
from restore.runs.checkpoints import Checkpoints
from restore.training.trainer import Trainer


def weights(run, iteration=20):
    return torch.load(f"model_zoo/{run}/model_{iteration}.pth", weights_only=True)


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def stop(process, number, run, model="model_*.json"):
    """Sends the signal once a savepoint's model is there; returns the exit status."""
    deadline = time.monotonic() + 60
    while not any(run.glob(model)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run does not get to its savepoint"
        time.sleep(0.005)
    os.killpg(process.pid, number)  # a terminal and a scheduler reach the workers too
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.fixture
def uninterrupted(option_file):
    """The option file of a run, and the weights that it ends with when nothing disturbs it."""
    path = option_file(total_iterations=60)
    train("-opt", path, "--run-name", "whole")
    return path, weights("whole", 60)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_goes_on_from_its_last_state_to_the_same_bits(uninterrupted, workplace, workers):
    path, expected = uninterrupted
    run = workplace / "model_zoo/killed"
    process = command(
        "restore.train", "-opt", path, "--run-name", "killed", "--set", f"workers={workers}", start_new_session=True
    )
    status, _, _ = stop(process, signal.SIGKILL, run)
    assert status == -signal.SIGKILL
    assert not (run / "model_60.pth").exists(), "killed too late to show anything"
    train("--resume", run)
    assert_same_bits(weights("killed", 60), expected)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_saves_its_last_update_and_goes_on_to_the_same_bits(uninterrupted, workplace, number):
    path, expected = uninterrupted
    run = workplace / "model_zoo/stopped"
    process = command(
        "restore.train", "-opt", path, "--run-name", "stopped", "--set", "workers=2", start_new_session=True
    )
    status, out, err = stop(process, number, run)
    assert status == 128 + number
    assert "Traceback" not in err
    state = torch.load(run / "state.pth", weights_only=True)
    assert 5 <= state["progress"]["iteration"] < 60
    assert f"state saved at iteration {state['progress']['iteration']}" in out
    train("--resume", run)
    assert_same_bits(weights("stopped", 60), expected)


SCUNET = {"generator": {"class_name": "SCUNet", "n_channels": 4, "config": [1] * 7, "drop_path": 0.5}}
GAN = {
    "losses": {"pixel": {"class_name": "L1", "weight": 10}, "gan": {"class_name": "wgan"}},
    "discriminator": {"class_name": "PatchDiscriminator", "width": 8, "n_layers": 1},
}


def interrupt_after(monkeypatch, updates):
    """Ctrl+C, sent by the process to itself in the middle of the update of this number."""
    step = Trainer.step

    def interrupted(self, parts):
        if self.iteration + 1 == updates:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, parts)

    monkeypatch.setattr(Trainer, "step", interrupted)


@pytest.mark.parametrize("parts", [SCUNET, GAN], ids=["stochastic depth", "gradient penalty"])
@pytest.mark.parametrize("updates", [2, 3, 4])
def test_networks_that_draw_random_numbers_go_on_to_the_same_bits_wherever_they_stop(
    option_file, monkeypatch, parts, updates
):
    path = option_file(
        total_iterations=6,
        validate_every=3,
        batch_size=2,
        scheduler={"class_name": "ReduceLROnPlateau", "factor": 0.5, "patience": 0, "min_lr": 0.0},
        **parts,
    )
    train("-opt", path, "--run-name", "whole")
    with monkeypatch.context() as patch:
        interrupt_after(patch, updates)
        with pytest.raises(Interrupted):
            train("-opt", path, "--run-name", "parted")
    train("--resume", "model_zoo/parted")
    whole, parted = (torch.load(f"model_zoo/{run}/state.pth", weights_only=True) for run in ("whole", "parted"))
    assert torch.equal(whole["random_state"]["cpu"], parted["random_state"]["cpu"])
    for name in {"generator", "discriminator"} & whole.keys():
        assert_same_bits(whole[name], parted[name])
        one, other = (state[f"optimizer/{name}"] for state in (whole, parted))
        assert one["param_groups"] == other["param_groups"]
        assert all(torch.equal(one["state"][n]["exp_avg_sq"], other["state"][n]["exp_avg_sq"]) for n in one["state"])


def test_a_savepoint_that_could_not_be_saved_is_done_again(option_file, monkeypatch):
    path = option_file()
    train("-opt", path, "--run-name", "whole")
    save_model = Checkpoints.save_model

    def full_disk(self, iteration, *arguments):
        if iteration == 10:
            raise SaveError("model_10.pth: could not be written")
        save_model(self, iteration, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save_model", full_disk)
        with pytest.raises(SaveError):
            train("-opt", path, "--run-name", "parted")
    train("--resume", "model_zoo/parted")
    assert_same_bits(weights("parted"), weights("whole"))
    assert_same_bits(weights("parted", 10), weights("whole", 10))
    best = [json.loads(Path("model_zoo", run, "best.json").read_text())["iteration"] for run in ("whole", "parted")]
    assert best[0] == best[1]


def test_changes_that_a_continued_run_could_not_follow_are_refused(option_file):
    train("-opt", option_file(), "--run-name", "begun")
    with pytest.raises(UserError) as caught:
        train("--resume", "model_zoo/begun", "--set", "optimizer.initial_learning_rate=0.5", "total_iterations=30")
    (line,) = str(caught.value).splitlines()
    assert line.startswith("--set optimizer.initial_learning_rate: cannot change when a run is continued")
    assert "total_iterations" in line


def test_a_continued_run_tells_where_it_goes_on_and_a_complete_one_how_to_go_on(option_file, capsys):
    train("-opt", option_file(), "--run-name", "begun")
    weights_before = Path("model_zoo/begun/state.pth").read_bytes()
    capsys.readouterr()
    train("--resume", "model_zoo/begun")
    assert "the run is complete, at iteration 20 of 20; to train on, raise total_iterations" in capsys.readouterr().out
    assert Path("model_zoo/begun/state.pth").read_bytes() == weights_before
    train("--resume", "model_zoo/begun", "--set", "total_iterations=22")
    assert "continues from iteration 20 of 22" in capsys.readouterr().out


def test_a_state_of_another_run_is_one_line(option_file):
    train("-opt", option_file(), "--run-name", "begun")
    weights_alone = Path("model_zoo/begun/best.pth").read_bytes()
    Path("model_zoo/begun/state.pth").write_bytes(weights_alone)
    with pytest.raises(UserError, match=r"^model_zoo/begun: its state does not fit its options\.json [^\n]*$"):
        train("--resume", "model_zoo/begun")


def test_photographs_that_have_changed_since_are_mentioned_and_touched_ones_are_not(option_file, capsys):
    train("-opt", option_file(), "--run-name", "begun")
    for file in Path("train").iterdir():
        os.utime(file, (1, 1))
    train("--resume", "model_zoo/begun", "--set", "total_iterations=21")
    assert "warning" not in capsys.readouterr().out
    Path("train/0.png").unlink()
    train("--resume", "model_zoo/begun", "--set", "total_iterations=22")
    assert "warning: the training photographs have changed" in capsys.readouterr().out
