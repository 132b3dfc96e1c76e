"""Several processes make the run that one would make, stop together, and leave nothing behind."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from conftest import command
from several_processes import ENDS, SCENARIOS, STOPPED, perform, start

from options.errors import UserError
from restore.compute.process import joined_processes
from restore.compute.share import Share

SCRIPT = Path(__file__).with_name("several_processes.py")
BY_THREE = ["l1", "parts", "lost", "nowhere", "few"]
"""Scenarios that three processes make as well."""
CLOSE = {"rtol": 0, "atol": 1e-6}


@pytest.fixture
def scenarios(option_file):
    """Their option files."""
    for name, changes in SCENARIOS.items():
        shutil.copy(option_file(**changes), f"{name}.json")


def ended(processes, within=180):
    """The exit status and the output of each."""
    deadline = time.monotonic() + within
    outputs = [process.communicate(timeout=max(deadline - time.monotonic(), 0.1)) for process in processes]
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def state_of(run):
    return torch.load(f"model_zoo/{run}/state.pth", weights_only=True)


def assert_same_report(one, other):
    """The last savepoint's metrics, which are means over the photographs of all processes."""
    one, other = (json.loads(max(Path("model_zoo", run).glob("model_*.json")).read_text()) for run in (one, other))
    assert one["validation"].keys() == other["validation"].keys()
    for name, metrics in one["validation"].items():
        assert metrics == pytest.approx(other["validation"][name], abs=1e-3), name
    assert one["final_val_loss"] == pytest.approx(other["final_val_loss"], abs=1e-6)
    assert one["final_test_loss"] == pytest.approx(other["final_test_loss"], abs=1e-6)


def assert_close(one, other):
    for network in ("generator", "discriminator", "average"):
        assert (network in one) == (network in other)
        if network in one:
            torch.testing.assert_close(one[network], other[network], **CLOSE)
    assert one["guard"] == other["guard"]
    assert torch.equal(one["random_state"]["cpu"], other["random_state"]["cpu"])


def test_one_two_and_three_processes_make_the_same_run_also_resumed_as_another_number(scenarios):
    names = list(SCENARIOS)
    for name in names:
        perform(name, stop=7 if name == STOPPED else None)  # in the middle of an epoch
    shutil.copytree("model_zoo/stopped_1", "model_zoo/resumed/by_two")
    results = ended(start(2, SCRIPT, *names, "resumed/by_two"))
    results += ended(start(3, SCRIPT, *BY_THREE))
    assert [status for status, _, _ in results] == [0] * 5, results
    for count, made in ((2, names), (3, BY_THREE)):
        for name in set(made) - {"nowhere", "few"}:
            assert_close(state_of(f"{name}_1"), state_of(f"{name}_{count}"))
            assert_same_report(f"{name}_1", f"{name}_{count}")

    perform(STOPPED, resume=Path("model_zoo/stopped_2"))
    for run in ("resumed/by_two", "stopped_2"):
        assert state_of(run)["progress"]["iteration"] == 20
        assert_close(state_of("whole_1"), state_of(run))

    for name, words in ENDS.items():
        told = {Path(f"{name}_{count}_{rank}.txt").read_text() for count in (1, 2, 3) for rank in range(count)}
        assert len(told) == 1, "each process ends with the same error, although one of them has met it"
        assert re.fullmatch(rf"told by one: .*{words}.*", told.pop(), re.DOTALL)
    (few,) = {Path(f"few_3_{rank}.txt").read_text() for rank in range(3)}
    assert "batch_size: 4 in 2 parts given, too few for 3 processes" in few


def test_four_processes_make_the_same_run(scenarios):
    perform("l1")
    assert [status for status, _, _ in ended(start(4, SCRIPT, "l1"))] == [0] * 4
    assert_close(state_of("l1_1"), state_of("l1_4"))
    assert_same_report("l1_1", "l1_4")


def test_an_environment_of_another_launcher_is_a_mistake_and_an_empty_one_is_one_process(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with (
        pytest.raises(UserError, match=r"^WORLD_SIZE is '2' .*; start several processes by torchrun"),
        joined_processes(),
    ):
        pass
    monkeypatch.setenv("WORLD_SIZE", "")
    with joined_processes() as process:
        assert process.count == 1


LONG = {"total_iterations": 100000, "total_epochs": 100000, "validate_every": 5, "workers": 1}


def begun(processes, run):
    """Waits until the run has a savepoint."""
    deadline = time.monotonic() + 120
    while not any(run.glob("model_*.json")):
        assert all(process.poll() is None for process in processes), ended(processes)
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return processes


def long_run(option_file, workplace, count):
    words = ["-m", "restore.train", "-opt", option_file(**LONG), "--run-name", "long", "--device", "cpu"]
    return begun(start(count, *words, start_new_session=True), workplace / "model_zoo/long")


def left_behind(processes):
    """The processes of these sessions that still run."""
    sessions = {process.pid for process in processes}
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) in sessions and state != "Z":
            found.append(stat.parent.name)
    return found


def all_gone(processes, within):
    deadline = time.monotonic() + within
    while left := left_behind(processes):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_ctrl_c_to_one_process_stops_all_with_the_same_status_and_one_saved_state(option_file, workplace):
    processes = long_run(option_file, workplace, 2)
    processes[1].send_signal(signal.SIGINT)
    results = ended(processes, within=60)
    assert [status for status, _, _ in results] == [128 + signal.SIGINT] * 2, results
    (first, first_err), (second, second_err) = ((out, err) for _, out, err in results)
    (saved,) = re.findall(r"state saved at iteration (\d+)", first)
    assert (second, second_err) == ("", ""), "one process speaks"
    assert first_err.endswith("stopped by SIGINT\n")
    assert state_of("long")["progress"]["iteration"] == int(saved)
    all_gone(processes, within=10)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_dies_ends_the_others_within_seconds_and_the_last_state_is_whole(option_file, workplace, rank):
    processes = long_run(option_file, workplace, 2)
    processes[rank].kill()
    killed = time.monotonic()
    status, out, err = ended(processes, within=60)[1 - rank]
    assert time.monotonic() - killed < 20, "torchrun alone would take 30 s"
    assert status == 1
    assert "Traceback" not in err
    assert f"error: process {1 - rank} of 2: another one has ended" in err
    assert ("the state of the last savepoint is kept" in out) == (rank == 1)
    assert state_of("long")["progress"]["iteration"] % 5 == 0
    all_gone(processes, within=20)


def test_sigterm_to_torchrun_and_its_processes_stops_all_with_one_saved_state(option_file, workplace):
    words = ["--standalone", "--nproc-per-node", 2, "-m", "restore.train", "--device", "cpu"]
    run = command("torch.distributed.run", *words, "-opt", option_file(**LONG), "--run-name", "long")
    (launched,) = begun([run], workplace / "model_zoo/long")
    children = [int(n) for n in Path(f"/proc/{launched.pid}/task/{launched.pid}/children").read_text().split()]
    for number in [launched.pid, *children]:  # a cluster sends it to each, and torchrun to its processes as well
        os.kill(number, signal.SIGTERM)
    _, out, _ = ended([launched], within=60)[0]
    (saved,) = re.findall(r"state saved at iteration (\d+)", out)
    assert state_of("long")["progress"]["iteration"] == int(saved)
    assert not [number for number in children if Path(f"/proc/{number}").exists()]


@pytest.mark.parametrize(("size", "processes", "parts"), [(8, 3, 2), (6, 2, 3), (12, 5, 2), (4, 1, 4)])
def test_shares_of_parts_are_the_parts_of_the_batch_whatever_the_number_of_processes(size, processes, parts):
    device = torch.device("cpu")
    for number in range(parts):
        torch.manual_seed(0)
        whole = Share(size // parts).uniform(3, device=device)
        seen = {}
        for rank in range(processes):
            own = range(rank, size, processes)
            here, share = Share(size, rank, processes).part(number, parts)
            torch.manual_seed(0)
            drawn = share.uniform(3, device=device)
            assert len(own[here]) == len(drawn)
            seen |= {index - number * share.size: row for index, row in zip(own[here], drawn, strict=True)}
        assert sorted(seen) == list(range(size // parts))
        assert all(torch.equal(seen[index], whole[index]) for index in seen)
