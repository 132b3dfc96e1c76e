"""What a run tells: log.txt and curves in its folder, TensorBoard's pages, other trackers; and that none can end it."""

import csv
import re
import signal
import sys
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import cv2
import pytest
from conftest import command, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from options.errors import Interrupted, UserError
from restore.compute.process import Process
from restore.runs import curves
from restore.runs.curves import Curves, thinned
from restore.runs.log_file import LogFile
from restore.tracking import TRACKERS, TrackerOptions
from restore.tracking.base import TrackedRun
from restore.tracking.tensorboard import flattened, tag_of
from restore.tracking.weights_and_biases import WandB
from restore.train import run
from restore.training.option_file import read_option_file


@pytest.fixture
def options(option_file):
    """The options of a short run, with changes."""
    return lambda **changes: read_option_file(option_file(**changes))


def table(folder):
    """curves.csv by iteration and name, without the empty cells."""
    with (folder / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        int(row.pop("iteration")): {name: float(cell) for name, cell in row.items() if cell} for row in rows
    }  # fmt: skip


def untimed(rows):
    """The values that do not depend on the machine's speed."""
    return {
        at: {name: value for name, value in row.items() if not name.startswith("speed/")} for at, row in rows.items()
    }


def test_log_has_with_times_all_that_was_said_and_goes_on_when_the_run_does(options, workplace):
    lines = []
    folder = workplace / "run"
    run(options(total_iterations=10), folder, "cpu", say=lines.append)
    run(options(total_iterations=20), folder, "cpu", resume=True, say=lines.append)
    logged = [line.split(" ", 1) for line in (folder / "log.txt").read_text().splitlines()]
    assert [text for _, text in logged] == "\n".join(lines).split("\n")
    times = [datetime.fromisoformat(at) for at, _ in logged]
    assert times == sorted(times)
    assert all(at.tzinfo for at in times)


def test_log_ends_with_what_ended_the_run(options, workplace):
    def interrupt(iteration, report):
        raise Interrupted("SIGINT", signal.SIGINT)

    def break_down(iteration, report):
        raise ZeroDivisionError("in the callback")

    folder = workplace / "run"
    with pytest.raises(Interrupted):
        run(options(), folder, "cpu", on_savepoint=interrupt)
    assert (folder / "log.txt").read_text().splitlines()[-1].endswith(" stopped by SIGINT")
    with pytest.raises(ZeroDivisionError):
        run(options(), folder, "cpu", resume=True, on_savepoint=break_down)
    text = (folder / "log.txt").read_text()
    assert "Traceback" in text
    assert text.endswith("ZeroDivisionError: in the callback\n")


def test_what_cannot_be_written_in_the_runs_folder_is_one_warning_each_and_the_run_goes_on(options, workplace):
    folder = workplace / "run"
    run(options(total_iterations=5), folder, "cpu")
    for name in ("log.txt", "curves.csv"):
        (folder / name).unlink()
        (folder / name).mkdir()
    lines = []
    assert run(options(total_iterations=20), folder, "cpu", resume=True, say=lines.append).iteration == 20
    for name in ("log.txt", "curves.csv"):
        assert len([line for line in lines if line.startswith(f"warning: {folder / name}: ")]) == 1


def test_a_process_that_is_not_the_first_says_and_logs_nothing(workplace):
    lines = []
    log = LogFile(lines.append, Process(rank=1, count=2))
    log.say("before")
    with log.written_to(workplace):
        log.say("within")
    assert lines == []
    assert list(workplace.iterdir()) == []


def test_curves_of_a_run_that_was_stopped_or_killed_are_those_of_one_that_was_not(options, option_file, workplace):
    whole, stopped, killed = (workplace / "model_zoo" / name for name in ("whole", "stopped", "killed"))
    run(options(total_iterations=60), whole, "cpu")
    run(options(total_iterations=60), stopped, "cpu", on_savepoint=lambda iteration, report: iteration == 30)
    run(options(total_iterations=60), stopped, "cpu", resume=True)
    assert untimed(table(stopped)) == untimed(table(whole))
    assert list(table(whole)) == list(range(5, 65, 5)), "a point at ten updates, and at each savepoint"

    process = command("restore.train", "-opt", option_file(total_iterations=60), "--run-name", "killed")
    while not (killed / "model_20.json").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.kill()
    process.communicate()
    saved = max(table(killed))
    train("--resume", killed)
    drawn = list(table(killed))
    assert drawn == sorted(set(drawn))
    assert {at: row for at, row in untimed(table(killed)).items() if at > saved + 10} == {
        at: row for at, row in untimed(table(whole)).items() if at > saved + 10
    }


def test_points_of_later_iterations_are_forgotten_where_a_run_goes_on_from_an_earlier_one(workplace):
    first = Curves(workplace, "degraded", 0, print)
    for iteration in (10, 20, 30):
        first.add({"loss/total": iteration}, iteration)
    first.write(last=True)
    second = Curves(workplace, "degraded", 20, print)
    assert list(second.rows) == [10, 20]
    second.add({"loss/total": 1.0}, 30)
    second.forget_after(10)
    second.write()
    assert table(workplace) == {10: {"loss/total": 10}}


def test_a_damaged_table_is_one_warning_and_the_curves_begin_anew(workplace):
    lines = []
    (workplace / "curves.csv").write_text("iteration,loss/total\n10,x\n")
    damaged = Curves(workplace, "degraded", 10, lines.append)
    assert damaged.rows == {}
    assert len(lines) == 1


def test_a_long_run_keeps_every_savepoint_and_the_mean_of_its_training_in_few_rows():
    rows, kept = {}, set()
    for iteration in range(10, 200_010, 10):
        rows[iteration] = {"loss/total": float(iteration)}
        if iteration % 5000 == 0:
            rows[iteration]["validation/loss"] = 1.0
            kept.add(iteration)
        rows = thinned(rows, kept, most=400)
    assert kept <= set(rows)
    assert len(rows) <= 400 + len(kept)
    training = [at for at in rows if at not in kept]
    assert max(after - before for before, after in pairwise(training)) < 4 * 200_000 / 400
    for at in training:
        assert at - 2000 < rows[at]["loss/total"] <= at


def test_picture_of_the_curves_is_wide_enough_and_drawn_anew_at_the_end(options, workplace):
    folder = workplace / "run"
    run(options(total_iterations=10), folder, "cpu")
    before = (folder / "curves.png").read_bytes()
    run(options(total_iterations=20), folder, "cpu", resume=True)
    assert (folder / "curves.png").read_bytes() != before
    assert cv2.imread(str(folder / "curves.png")).shape[1] >= 1200


def test_curves_are_drawn_at_a_savepoint_where_that_takes_a_small_part_of_the_time(workplace, monkeypatch):
    drawing = Curves(workplace, "degraded", 0, print)
    drawing.add({"loss/total": 1.0, "validation/loss": 2.0, "momentum/generator": 0.9}, 10)
    drawing.write()
    assert not (workplace / "curves.png").exists()
    monkeypatch.setattr(curves, "SHARE", 1e9)
    drawing.write()
    assert (workplace / "curves.png").exists()


def test_status_lines_tell_speed_time_left_loss_rate_and_the_wait_for_data(options, workplace, monkeypatch):
    monkeypatch.setattr("restore.runs.logbook.LINES_EVERY", 0.0)
    lines = []
    run(options(workers=0), workplace / "run", "cpu", say=lines.append)
    status = r"iteration 10/20, [\d.]+ it/s, [\d.]+ img/s, wait \d+%, loss [\d.]+, lr 0.001, [\d:]+ left"
    assert any(re.fullmatch(status, line) for line in lines)
    shares = [row["speed/waiting_for_data"] for row in table(workplace / "run").values() if "loss/total" in row]
    assert all(0 < share < 1 for share in shares), "the training process makes the samples itself"


def events_of(name):
    events = EventAccumulator(f"tensorboard_logs/{name}")
    events.Reload()
    return events


def test_tensorboard_shows_validation_first_then_losses():
    names = ["gradient_norm/generator", "skipped_updates", "loss/total", "validation/loss", "learning_rate/generator"]
    assert [tag_of(name) for name in sorted(names, key=tag_of)] == [
        "1_validation/loss", "2_loss/total", "5_learning_rate/generator", "7_gradient_norm/generator",
        "9_other/skipped_updates",
    ]  # fmt: skip


def test_tensorboard_draws_degraded_and_restored_in_one_chart_and_has_options_card_and_hyperparameters(
    options, workplace
):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    report = run(options(), workplace / "one", "cpu")
    restored, degraded = events_of("one"), events_of("one/degraded")
    shared = "1_validation/psnr_raw"
    assert degraded.Scalars(shared)[-1].value == pytest.approx(report.last.baseline["psnr_raw"])
    assert restored.Scalars(shared)[-1].value == pytest.approx(report.last.restored["psnr_raw"])
    best = report.best["validation"]["restored"]["psnr_raw"]
    assert restored.Scalars("3_best_model/psnr_raw")[-1].value == pytest.approx(best)
    texts = {
        tag: restored.Tensors(tag)[-1].tensor_proto.string_val[0].decode()
        for tag in restored.Tags()["tensors"]
        if tag.startswith(("1_model", "2_option_file"))
    }
    card, file = texts.values()
    assert "| architecture | UNet" in card
    assert "6 photographs: train" in card
    assert file.startswith("```json\n{")
    content = restored.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    assert values["optimizer.initial_learning_rate"].number_value == 1e-3


def test_hyperparameters_are_named_as_set_names_them():
    data = {"a": {"b": 1, "c": None}, "steps": [{"h": 32}, {"on": True}], "widths": [8, 16]}
    assert flattened(data) == {"a.b": 1, "steps.0.h": 32, "steps.1.on": True, "widths": "[8, 16]"}


class Failing(TrackerOptions):
    class_name: Literal["Failing"] = "Failing"
    at: str = "build"

    def build(self, run):
        def method(name):
            def tell(*arguments):
                if name == self.at:
                    raise ConnectionError("the server\nis gone")

            return tell

        method("build")()
        names = ("scalars", "image", "settle", "forget_after", "close")
        return SimpleNamespace(**{name: method(name) for name in names})


@pytest.mark.parametrize("at", ["build", "scalars", "image", "settle", "close"])
def test_a_tracker_that_fails_is_one_warning_and_the_run_goes_on(options, workplace, monkeypatch, at):
    monkeypatch.setitem(TRACKERS.kinds, "Failing", Failing)
    lines = []
    report = run(options(trackers=[{"class_name": "Failing", "at": at}]), workplace / "run", "cpu", say=lines.append)
    assert report.iteration == 20
    assert [line for line in lines if "Failing" in line] == [
        "warning: trackers.0: what Failing shows cannot be written (the server is gone); the run goes on without"
    ]
    assert events_of("run").Scalars("1_validation/loss")[-1].step == 20, "the others go on"


def test_a_tracker_that_is_unknown_is_a_mistake_of_the_option_file(options):
    with pytest.raises(UserError, match=r'trackers\.0\.class_name: "wandb" is unknown; did you mean "WandB"\?'):
        options(trackers=["wandb"])


@pytest.fixture
def account(monkeypatch):
    """A stand-in for wandb, and what it was told."""
    told = SimpleNamespace(began=None, rows=[], finished=False)

    def init(**arguments):
        told.began = arguments
        return SimpleNamespace(log=told.rows.append, finish=lambda: None, define_metric=lambda *_, **__: None)

    stand_in = SimpleNamespace(init=init, setup=lambda _: None, Settings=dict, Image=lambda pixels: pixels)
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    return told


def test_weights_and_biases_gets_the_runs_values_and_pictures_and_no_key(options, workplace, account):
    report = run(options(trackers=[{"class_name": "WandB", "project": "raw"}]), workplace / "run", "cpu")
    assert (account.began["project"], account.began["name"]) == ("raw", "run")
    assert account.began["config"]["batch_size"] == 3
    assert "secret" not in str(account.began)
    steps = [row["iteration"] for row in account.rows]
    assert steps == [5, 10, 15, 20]
    assert account.rows[-1]["validation/loss"] == report.last.loss
    assert account.rows[-1]["validation/strip_degraded_restored_clean"].shape[-1] == 3
    identity = account.began["id"]
    run(options(total_iterations=25), report.folder, "cpu", resume=True)
    resumed = options(total_iterations=30, trackers=["WandB"])
    run(resumed, report.folder, "cpu", resume=True)
    assert account.began["id"] == identity, "a continued run is one run there too"


def test_weights_and_biases_is_told_only_what_is_never_taken_back(workplace, account):
    tracker = WandB().build(TrackedRun(workplace, 0, {}, {}, "degraded"))
    for iteration in (10, 20, 30):
        tracker.scalars({"loss/total": float(iteration)}, iteration)
    assert account.rows == []
    tracker.settle(10)
    tracker.forget_after(10)
    tracker.scalars({"loss/total": 1.0}, 20)
    tracker.settle(20)
    tracker.scalars({"loss/total": 2.0}, 30)
    tracker.close()
    assert account.rows == [{"loss/total": 10.0, "iteration": 10}, {"loss/total": 1.0, "iteration": 20}]


def test_weights_and_biases_without_key_or_package_is_a_warning_that_says_what_to_do(options, workplace, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", None)
    lines = []
    trackers = ["WandB", {"class_name": "WandB", "mode": "offline"}]
    run(options(total_iterations=5, trackers=trackers), workplace / "run", "cpu", say=lines.append)
    online, offline = [line for line in lines if "WandB" in line]
    assert "set WANDB_API_KEY in the environment" in online
    assert "pip install 'restore[wandb]'" in offline


def test_weights_and_biases_offline_leaves_the_run_in_its_folder(options, workplace):
    pytest.importorskip("wandb")
    lines = []
    trackers = [{"class_name": "WandB", "mode": "offline"}]
    report = run(options(trackers=trackers), workplace / "run", "cpu", say=lines.append)
    assert report.iteration == 20
    assert [line for line in lines if line.startswith("warning")] == []
    (record,) = Path(report.folder, "wandb").glob("offline-run-*/run-*.wandb")
    assert b"validation/psnr_raw" in record.read_bytes()
