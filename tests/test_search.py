"""restore.search: mistakes before the first trial, trials that are runs, a search that is stopped, killed or shared."""

import csv
import json
import os
import signal
import sqlite3
import time
from pathlib import Path

import cv2
import pytest
from conftest import command, train

from options.errors import Interrupted, UserError
from restore.search.__main__ import main, read_arguments
from restore.search.space import Space

RATE = {"low": 0.0001, "high": 0.01, "log": True}
SPACE = {
    "optimizer.initial_learning_rate": RATE,
    "generator.widths": {"choices": [[8, 16], [8]]},
    "optimizer.class_name": {"choices": ["Adam", "SGD"]},
    "optimizer.momentum": {"low": 0.5, "high": 0.99, "when": {"optimizer.class_name": ["SGD"]}},
}
FOLDER = Path("model_zoo/search_small")


@pytest.fixture
def files(option_file):
    """Writes an option file of 2 updates and a space; returns the words that begin a search."""

    def write(space, **changes):
        path = option_file(**{"total_iterations": 2, "validate_every": 2, "workers": 0} | changes)
        Path("space.json").write_text(json.dumps(space))
        return ["-opt", str(path), "--space", "space.json", "--device", "cpu"]

    return write


def search(*words):
    main(read_arguments(list(map(str, words))))


def table(folder=FOLDER):
    with (folder / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def mistakes_of(*words):
    with pytest.raises(UserError) as caught:
        search(*words)
    return str(caught.value).splitlines()


def test_every_mistake_in_the_space_is_reported_before_the_first_trial(files):
    words = files(
        {
            "optimizer.inital_learning_rate": RATE,
            "batch_size": {"low": 0, "high": 4},
            "generator.widths": {"choices": [[8, 16], [8, "a"]]},
            "optimizer.class_name": {"choices": ["Adam", "Sgd"]},
            "losses.pixel.weight.more": {"choices": [1]},
            "grad_clip": {"low": 0.1, "high": 1.0},
        }
    )
    lines = mistakes_of(*words, "--trials", 2)
    expected = [
        "optimizer.inital_learning_rate = 0.0001: optimizer.inital_learning_rate: unknown key (given 0.0001); did you "
        'mean "initial_learning_rate"?',
        "batch_size = 0: batch_size: 0 given; input should be greater than 0",
        'generator.widths = [8, "a"]: generator.widths.1: "a" given',
        'optimizer.class_name = "Sgd": optimizer.class_name: "Sgd" is unknown; did you mean "SGD"?',
        "losses.pixel.weight.more = 1: losses.pixel.weight is 1, which holds no keys",
    ]
    for text in expected:
        assert any(line.startswith(f"space.json: {text}") for line in lines), (text, lines)
    assert not Path("model_zoo").exists()


@pytest.mark.parametrize(
    ("key", "dimension", "expected"),
    [
        ("seed", {"lo": 1, "high": 2}, 'seed.lo: unknown key (given 1); did you mean "low"?'),
        ("seed", {"low": 1}, 'seed: low given; give a range, as {"low":'),
        ("seed", {"low": 1, "high": 2, "choices": [1]}, "seed: choices, high, low given; give a range"),
        ("seed", {"low": 2, "high": 2}, "seed: low 2 and high 2 given; give a high that is above low"),
        ("seed", {"low": 0, "high": 2, "log": True}, "seed: low 0 given with log; give a low above 0"),
        ("seed", {"low": "a", "high": 2}, 'seed.low: "a" given; give a number'),
        ("seed", {"choices": [1, 1]}, "seed: [1, 1] given, where a choice stands twice; keep one"),
        ("seed", {"choices": [1], "when": {"sed": [1]}}, 'seed.when: "sed" given; name a key above this one'),
        ("seed", {"choices": [1], "when": {"amp": ["on"]}}, 'seed.when.amp: "on" given; its choices are ["off",'),
        ("seed", {"choices": [1], "when": {"amp": "off"}}, 'seed.when.amp: "off" given; give a list, as ["off"]'),
        ("generator", {"choices": [{}]}, "generator: replaces generator.widths, which stands above it; put generator"),
    ],
)  # fmt: skip
def test_a_dimension_that_says_nothing_clear_is_refused_with_its_place(key, dimension, expected):
    data = {"amp": {"choices": ["off", "bf16"]}, "generator.widths": {"choices": [[8]]}, key: dimension}
    with pytest.raises(UserError) as caught:
        Space(data, "s.json")
    assert any(line.startswith(f"s.json: {expected}") for line in str(caught.value).splitlines()), caught.value


def test_the_trials_are_runs_and_the_best_option_file_trains_as_it_is(files, capsys):
    search(*files(SPACE), "--trials", 3, "--sampler", "random", "--no-pruning")
    rows = table()
    assert [row["state"] for row in rows] == ["complete"] * 3
    assert [row["own_settings"] for row in rows] == ["1", "0", "0"]  # what the file has is tried first
    assert (rows[0]["optimizer.initial_learning_rate"], rows[0]["generator.widths"]) == ("0.001", "[8, 16]")
    for row in rows:
        assert bool(row["optimizer.momentum"]) == (row["optimizer.class_name"] == "SGD")
        run = FOLDER / f"search_small_00{row['trial']}"
        options, best = json.loads((run / "options.json").read_text()), json.loads((run / "best.json").read_text())
        assert float(row["loss"]) == best["final_val_loss"]
        assert options["optimizer"]["class_name"] == row["optimizer.class_name"]
        assert options["generator"]["widths"] == json.loads(row["generator.widths"])
        assert options["optimizer"]["initial_learning_rate"] == float(row["optimizer.initial_learning_rate"])
    lowest = min(rows, key=lambda row: float(row["loss"]))
    assert f"best: trial {lowest['trial']}, loss {float(lowest['loss']):.5g}" in capsys.readouterr().out
    assert cv2.imread(str(FOLDER / "trials.png")).std() > 20
    best = FOLDER / f"search_small_00{lowest['trial']}/options.json"
    assert (FOLDER / "best_options.json").read_bytes() == best.read_bytes()
    train("-opt", FOLDER / "best_options.json", "--run-name", "again")
    again = json.loads(Path("model_zoo/again/best.json").read_text())
    assert again["final_val_loss"] == float(lowest["loss"])
    assert Path("tensorboard_logs/search_small_002").is_dir()


def test_a_grid_has_every_combination_once_and_none_of_a_key_that_does_not_apply(files):
    space = {
        "optimizer.class_name": {"choices": ["Adam", "SGD"]},
        "optimizer.nesterov": {"choices": [False, True], "when": {"optimizer.class_name": ["SGD"]}},
    }
    words = [*files(space, total_iterations=1, validate_every=1), "--sampler", "grid"]
    search(*words, "--trials", 2)
    search(*words, "--trials", 100)
    found = [(row["optimizer.class_name"], row["optimizer.nesterov"]) for row in table()]
    assert found[0] == ("Adam", "")  # as in the option file
    assert sorted(found) == [("Adam", ""), ("SGD", "false"), ("SGD", "true")]
    Path("space.json").write_text(json.dumps({"optimizer.initial_learning_rate": RATE}))
    assert mistakes_of(*words, "--trials", 4, "--name", "other") == [
        "space.json: optimizer.initial_learning_rate: a range has no grid; give choices, as "
        '{"choices": [0.0001, 0.001, 0.01]}, or another sampler'
    ]


def test_a_trial_that_is_worse_than_most_ends_at_a_savepoint(files):
    """Rates that are far too low for anything to be learned, after five that learn."""
    rates = {"choices": [1e-3, 1.1e-3, 1.2e-3, 1.3e-3, 1.4e-3, 1e-9]}
    words = files(
        {"optimizer.initial_learning_rate": rates},
        seed=2,  # draws an order in which the last is the last
        total_iterations=12,
        validate_every=6,
        scheduler={"class_name": "Constant"},
    )
    search(*words, "--trials", 6, "--sampler", "grid")
    last = table()[-1]
    assert last["optimizer.initial_learning_rate"] == "1e-09"
    assert (last["state"], last["iteration"]) == ("pruned", "6")


def test_higher_is_better_where_the_metric_is_psnr(files):
    search(*files({"optimizer.initial_learning_rate": RATE}), "--trials", 2, "--metric", "psnr_raw", "--no-pruning")
    rows = table()
    best = max(rows, key=lambda row: float(row["psnr_raw"]))
    own = json.loads((FOLDER / "best_options.json").read_text())["optimizer"]["initial_learning_rate"]
    assert own == float(best["optimizer.initial_learning_rate"])


def test_values_that_contradict_one_another_fail_their_trial_also_the_first_and_the_search_goes_on(files):
    space = {"batch_size": {"choices": [2, 3]}, "accumulation": {"choices": [2, 3]}}
    words = files(space, batch_size=6, crops_per_photograph=5, total_iterations=1, validate_every=1)
    search(*words, "--trials", 4, "--sampler", "grid")
    rows = table()
    assert sorted(row["state"] for row in rows) == ["complete", "complete", "failed", "failed"]
    assert all("accumulation: " in row["reason"] for row in rows if row["state"] == "failed")


def test_a_search_by_torchrun_and_arguments_of_no_use_are_refused(files, monkeypatch, capsys):
    words = files(SPACE)
    for wrong in ([*words, "--trials", "0"], ["--report", "x", "--metric", "psnr_raw"]):
        with pytest.raises(SystemExit):
            read_arguments(wrong)
    errors = capsys.readouterr().err
    assert "--trials: 0 given; give 1 or more" in errors
    assert "--report stands alone" in errors
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"^a trial has one process; start restore.search without torchrun"):
        search(*words, "--trials", 1)


def test_another_space_does_not_go_on_with_a_search(files):
    words = files({"optimizer.initial_learning_rate": RATE})
    search(*words, "--trials", 1)
    words = files({"optimizer.initial_learning_rate": RATE | {"high": 0.1}})
    assert mistakes_of(*words, "--trials", 2)[0].startswith(
        f"--name: {FOLDER} was begun with other values of space; give the same"
    )


def test_a_trial_that_fails_is_recorded_and_the_search_goes_on(files):
    """A batch that is larger than the photographs allow is found when the trial begins."""
    search(*files({"batch_size": {"choices": [3, 50]}}), "--trials", 2, "--sampler", "grid")
    rows = {row["batch_size"]: row for row in table()}
    assert (rows["3"]["state"], rows["50"]["state"]) == ("complete", "failed")
    assert "50" in rows["50"]["reason"]


def test_what_no_trial_could_be_trained_with_ends_the_search_and_the_trial_goes_on_afterwards(files):
    words = files({"optimizer.initial_learning_rate": RATE})
    Path("train").rename("elsewhere")
    assert "train: there is no such folder" in mistakes_of(*words, "--trials", 1)[0]
    Path("elsewhere").rename("train")
    search(*words, "--trials", 1)
    assert [row["state"] for row in table()] == ["complete"]


def test_a_stopped_search_goes_on_with_its_trial_to_the_result_of_one_that_was_not(files, monkeypatch):
    words = [*files(SPACE, total_iterations=4), "--trials", 2, "--no-pruning"]
    search(*words, "--name", "whole")
    from restore.runs.logbook import Logbook

    original, calls = Logbook.progress, []

    def stop_in_the_second_trial(self, *arguments):
        calls.append(1)
        if len(calls) == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *arguments)

    monkeypatch.setattr(Logbook, "progress", stop_in_the_second_trial)
    with pytest.raises(Interrupted):
        search(*words, "--name", "stopped")
    search(*words, "--name", "stopped")
    columns = ("trial", "state", "loss", *SPACE)
    whole, stopped = (
        [[row[key] for key in columns] for row in table(Path("model_zoo") / name)] for name in ("whole", "stopped")
    )
    assert whole == stopped
    assert "continues from iteration 3 of 4" in Path("model_zoo/stopped/stopped_001/log.txt").read_text()


def test_two_processes_share_a_search_of_which_one_is_killed(files):
    words = [*files(SPACE, total_iterations=40, validate_every=5), "--trials", "4"]
    processes = [command("restore.search", *words, start_new_session=True) for _ in range(2)]
    deadline = time.monotonic() + 90
    while len(list(FOLDER.glob("*/model_*.pth"))) < 2 or len(list(FOLDER.glob("search_small_*"))) < 2:
        assert time.monotonic() < deadline, [process.communicate() for process in processes]
        time.sleep(0.01)
    os.killpg(processes[0].pid, signal.SIGKILL)
    outputs = [process.communicate(timeout=120) for process in processes]
    assert processes[1].returncode == 0, outputs
    assert [row["trial"] for row in table()] == list("0123")
    assert {row["state"] for row in table()} <= {"complete", "pruned"}
    with sqlite3.connect(FOLDER / "search.db") as database:
        assert database.execute("select count(*) from trials").fetchone() == (4,)


def test_the_report_is_written_on_demand_and_of_no_search_there_is_none(files, capsys):
    search(*files({"optimizer.initial_learning_rate": RATE}), "--trials", 1)
    for name in ("trials.csv", "trials.png", "best_options.json"):
        (FOLDER / name).unlink()
    capsys.readouterr()
    search("--report", FOLDER)
    assert "best: trial 0" in capsys.readouterr().out
    assert {"trials.csv", "trials.png", "best_options.json"} <= {path.name for path in FOLDER.iterdir()}
    with pytest.raises(UserError, match=r"holds no search, as there is no search\.db"):
        search("--report", "train")
    (Path("train") / "search.db").write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match=r"search\.db: cannot be read"):
        search("--report", "train")
