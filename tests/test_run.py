"""A run is a function: what it returns, what stops it, and what it does where something around it fails."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT, command, train
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import nn

import losses
from options.errors import UserError
from restore.compute.process import Process
from restore.data.batches import Batch
from restore.evaluation import validation
from restore.inference.restorer import Restorer
from restore.networks.base import Generator
from restore.runs import checkpoints
from restore.runs.checkpoints import Checkpoints, make_run_folder
from restore.train import run
from restore.training.option_file import read_option_file
from transforms import SRGB


@pytest.fixture
def options(option_file):
    """The options of a short run, with changes."""
    return lambda **changes: read_option_file(option_file(total_iterations=10, **changes))


def test_run_returns_its_report_and_speaks_only_to_whom_it_is_told(options, workplace, capsys):
    lines = []
    report = run(options(), workplace / "search/one", "cpu", say=lines.append)
    assert report.folder == workplace / "search/one"
    assert report.iteration == 10
    assert report.last.loss == json.loads((report.folder / "model_10.json").read_text())["final_val_loss"]
    assert report.best["final_val_loss"] <= report.last.loss
    assert lines[0].startswith("device: cpu")
    assert capsys.readouterr().out == ""


def test_on_savepoint_sees_every_savepoint_and_ends_the_run_by_returning_true(options, workplace):
    seen = []

    def stop_at_5(iteration, report):
        seen.append((iteration, report.loss))
        return iteration == 5

    report = run(options(), workplace / "pruned", "cpu", on_savepoint=stop_at_5)
    assert [iteration for iteration, _ in seen] == [5]
    assert (report.iteration, report.last.loss) == seen[0]
    whole = run(options(), workplace / "whole", "cpu")
    resumed = run(options(), workplace / "pruned", "cpu", resume=True)
    assert resumed.last.loss == whole.last.loss, "a run that was ended can be continued"


def test_a_run_given_to_a_process_that_is_not_the_first_writes_nothing_and_is_silent(workplace, capsys, options):
    folder = make_run_folder(workplace / "second")
    second = Checkpoints(folder, options(), Process(rank=1, count=2))
    with second.locked():
        second.save_state({"number": torch.zeros(1)})
        second.save_model(1, {}, {}, best=True)
    assert list(folder.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_two_runs_started_in_one_second_get_different_folders(workplace, monkeypatch):
    class Clock:
        @staticmethod
        def now():
            return Clock()

        def __format__(self, _):
            return "2026_01_01_00_00_00"

    monkeypatch.setattr(checkpoints, "datetime", Clock)
    folders = [make_run_folder() for _ in range(3)]
    assert [folder.name for folder in folders] == [f"2026_01_01_00_00_00{end}" for end in ("", "_2", "_3")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"losses": {"shape": {"class_name": "ms_ssim"}}},
            r"transforms_train\.0: 32 x 32 given, too small to compute losses\.shape \(ms_ssim\) on",
        ),
        (
            {
                "losses": {"gan": {"class_name": "wgan"}, "pixel": {"class_name": "L1"}},
                "discriminator": {"class_name": "PatchDiscriminator"},
            },
            r"transforms_train\.0: 32 x 32 given, too small to show to PatchDiscriminator",
        ),
        ({"accumulation": 2}, "accumulation: 2 given, which does not divide batch_size, 3; give a divisor of it"),
        ({"scheduler": {"class_name": "Cosine", "min_lr": 1.0}}, r"scheduler\.min_lr: 1\.0 is not below"),
    ],
)
def test_what_the_first_update_would_refuse_is_known_before_the_runs_folder_is_made(option_file, changes, message):
    with pytest.raises(UserError, match=message):
        train("-opt", option_file(**changes))
    assert not Path("model_zoo").exists()


def test_a_new_name_for_a_run_that_is_continued_is_refused(option_file):
    train("-opt", option_file(total_iterations=5), "--run-name", "one")
    with pytest.raises(UserError, match=r"^--run-name: other given, but a run continued keeps its name"):
        train("--resume", "model_zoo/one", "--run-name", "other")


def test_names_are_checked_before_any_photograph_is_decoded(option_file):
    with pytest.raises(UserError, match=r"^--run-name: "):
        train("-opt", option_file(training_path=["nowhere"]), "--check", "--run-name", "../x")


def test_accumulation_trains_to_the_same_weights_to_rounding(options, workplace):
    weights = []
    for parts in (1, 3):
        report = run(options(accumulation=parts), workplace / f"in_{parts}", "cpu")
        weights.append(torch.load(report.folder / "model_10.pth", weights_only=True))
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-4) for name in weights[0])


def test_a_cosine_run_tells_its_schedule_and_ends_with_the_lowest_rate(options, workplace):
    report = run(options(scheduler={"class_name": "Cosine", "min_lr": 1e-5}), workplace / "cosine", "cpu")
    information = json.loads((report.folder / "model_10.json").read_text())
    assert (information["decay_step"], information["decay_factor"], information["lr_patience"]) == (
        "cosine",
        None,
        None,
    )
    assert 1e-5 < information["last_learning_rate"] < 1e-4


def test_an_adversarial_run_alone_has_a_best_model_that_means_something(options, workplace):
    changes = {
        "losses": {"gan": {"class_name": "lsgan"}},
        "discriminator": {"class_name": "PatchDiscriminator", "width": 8, "n_layers": 1},
    }
    report = run(options(**changes), workplace / "gan", "cpu")
    assert report.best["final_val_loss"] > 0


def test_photographs_larger_than_a_tile_are_validated_in_tiles_to_the_same_values(options, workplace, monkeypatch):
    class Watched(Generator):
        def __init__(self):
            super().__init__(n_channels=3)
            self.layer, self.largest = nn.Conv2d(3, 3, 3, padding=1), 0

        def core(self, degraded):
            self.largest = max(self.largest, *degraded.shape[-2:])
            return self.layer(degraded)

    torch.manual_seed(0)
    network = Watched()
    clean = torch.rand(1, 3, 40, 56)
    batch = Batch((clean + 0.1).clamp(0, 1), clean, None, SRGB, ("large",))
    loss = losses.build({"pixel": {"class_name": "L1"}}, 3)
    whole = validation.validate(network, loss, [batch])
    assert network.largest == 56
    monkeypatch.setattr(validation, "TILE", 24)
    monkeypatch.setattr(validation, "OVERLAP", 8)
    network.largest = 0
    tiled = validation.validate(network, loss, [batch])
    assert network.largest <= 24
    assert tiled.loss == pytest.approx(whole.loss, rel=1e-5)


def test_validation_and_restoring_are_float32_throughout_while_training_may_use_tf32():
    from restore.networks.tiles import restore_tiled
    from restore.training.precision import training_arithmetic

    seen = []

    class Network(Generator):
        def core(self, image):
            seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
            return image

    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with training_arithmetic():
        Network(3)(torch.zeros(1, 3, 4, 4))
        restore_tiled(Network(3), torch.zeros(3, 8, 8), 8, 0)
    assert seen == [("high", True), ("highest", False)]
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_curves_that_cannot_be_written_are_one_warning_and_the_run_goes_on(options, workplace):
    Path("tensorboard_logs").write_text("a file where the folder should be")
    lines = []
    report = run(options(), workplace / "run", "cpu", say=lines.append)
    assert report.iteration == 10
    (warning,) = [line for line in lines if "TensorBoard" in line]
    assert warning.startswith("warning: tensorboard_logs/run: TensorBoard's curves cannot be written")


def test_curves_that_can_no_longer_be_written_are_one_warning_and_the_run_goes_on(
    options, workplace, monkeypatch, capfd
):
    def full_disk(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordWriter, "write", full_disk)  # in TensorBoard's own thread
    lines = []
    assert run(options(), workplace / "run", "cpu", say=lines.append).iteration == 10
    assert len([line for line in lines if "No space left on device" in line]) == 1
    assert "Traceback" not in capfd.readouterr().err


def test_a_folder_that_is_deleted_while_its_run_trains_is_made_anew_and_the_run_can_go_on(options, workplace):
    import shutil

    def delete(iteration, report):
        if iteration == 5:
            shutil.rmtree(workplace / "run")

    run(options(), workplace / "run", "cpu", on_savepoint=delete)
    assert {"model_10.pth", "model_10.json", "state.pth", "options.json"} <= {
        file.name for file in Path("run").iterdir()
    }
    assert run(options(), workplace / "run", "cpu", resume=True).iteration == 10


def test_what_killed_processes_left_unfinished_is_removed_and_a_living_ones_kept(options, workplace):
    report = run(options(), workplace / "run", "cpu")
    done = subprocess.Popen(["true"])
    done.wait()
    dead, living = (report.folder / f".{process}.1.unfinished" for process in (done.pid, os.getppid()))
    dead.touch()
    living.touch()
    run(options(), report.folder, "cpu", resume=True)
    assert not dead.exists()
    assert living.exists()


HOLDS_A_LOCK = """
import fcntl, os, sys
file = open(sys.argv[1], "a+")
fcntl.lockf(file, fcntl.LOCK_EX)
file.write(str(os.getpid())); file.flush()
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_run_that_another_process_trains_is_refused_and_a_dead_ones_lock_is_not_heeded(options, workplace):
    report = run(options(), workplace / "run", "cpu")
    lock = report.folder / ".lock"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDS_A_LOCK, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "locked\n"
    with pytest.raises(UserError, match=rf"run: in use by process {other.pid}; wait until it ends, or stop it"):
        run(options(), report.folder, "cpu", resume=True)
    other.kill()
    other.communicate()
    assert lock.exists()
    assert run(options(), report.folder, "cpu", resume=True).iteration == 10
    assert not lock.exists()


def test_best_of_two_savepoints_after_a_kill_is_read_with_the_information_of_its_own_weights(options, workplace):
    report = run(options(), workplace / "run", "cpu")
    folder = report.folder
    for name in ("pth", "json"):  # as after a kill between the two: best.pth is of iteration 5, best.json of 10
        source = folder / f"model_{5 if name == 'pth' else 10}.{name}"
        (folder / f"best.{name}").write_bytes(source.read_bytes())
    assert Restorer(folder, "cpu").information.data["iteration"] == 5


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: [state],
        lambda state: {name: part for name, part in state.items() if name != "photographs"},
        lambda state: state | {"progress": state["progress"] | {"iteration": -5}},
        lambda state: state | {"progress": state["progress"] | {"iteration": "five"}},
        lambda state: state | {"progress": [1, 2]},
        lambda state: state | {"generator": None},
        lambda state: state | {"generator": {name: value * torch.nan for name, value in state["generator"].items()}},
    ],
    ids=["a list", "no photographs", "negative", "a text", "a list within", "no weights", "not finite"],
)
def test_a_state_of_the_wrong_content_is_one_line(options, workplace, spoil):
    report = run(options(validate_every=10), workplace / "run", "cpu")
    state = report.folder / "state.pth"
    torch.save(spoil(torch.load(state, weights_only=True)), state)
    with pytest.raises(UserError, match=r"^[^\n]*run[^\n]*(does not fit|holds no state)[^\n]*$"):
        run(options(), report.folder, "cpu", resume=True)


def started(workplace, option_file, *words, workers, **changes):
    """A long run that has come to its first updates, in a process of its own."""
    path = option_file(total_iterations=100000, validate_every=5, total_epochs=100000, **changes)
    process = command(
        "restore.train", "-opt", path, "--run-name", "long", "--device", "cpu", "--set", f"workers={workers}", *words,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not any((workplace / "model_zoo/long").glob("model_*.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def children(process):
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(number) for number in text.split()]


def test_closing_the_terminal_saves_the_state(option_file, workplace):
    process = started(workplace, option_file, workers=1)
    os.killpg(process.pid, signal.SIGHUP)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGHUP
    assert "Traceback" not in err
    saved = int(re.search(r"state saved at iteration (\d+)", out)[1])
    state = torch.load(workplace / "model_zoo/long/state.pth", weights_only=True)
    assert state["progress"]["iteration"] == saved


def test_a_run_that_was_started_to_outlive_its_terminal_does(option_file, workplace):
    path = option_file(total_iterations=10)
    words = ["-m", "restore.train", "-opt", path, "--run-name", "long", "--device", "cpu"]
    code = (  # what nohup does
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, *words], env=os.environ | {"PYTHONPATH": str(ROOT)})
    while not (workplace / "model_zoo/long/options.json").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=120) == 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers by /proc")
def test_a_killed_worker_is_one_line_that_says_which_and_what_to_do(option_file, workplace):
    process = started(workplace, option_file, workers=1)
    (worker,) = children(process)
    os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert f"error: workers: the process {worker}, which makes samples, " in err
    assert "set workers to" in err
    assert "state saved at iteration" in out


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers by /proc")
def test_a_second_ctrl_c_stops_at_once_and_quietly(option_file, workplace):
    process = started(workplace, option_file, workers=1)
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err


FAULTY = """
import sys
from conftest import train
from transforms.geometry import RandomFlip

def broken(self, *arguments):
    raise ZeroDivisionError("in the transform")

RandomFlip.__call__ = broken
from restore.command.arguments import run_command, training_arguments
from restore.train import main
sys.exit(run_command(main, training_arguments(sys.argv[1:])))
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_transform_is_shown_where_it_arose_and_the_program_ends(option_file, workers):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    words = ["-opt", option_file(), "--device", "cpu", "--set", f"workers={workers}"]
    done = subprocess.run(
        [sys.executable, "-c", FAULTY, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "in broken" in done.stderr
    assert "ZeroDivisionError: in the transform" in done.stderr
