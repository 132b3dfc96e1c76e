"""restore.submit: the job script, run by stand-ins for schedulers, saves before its limit and queues itself again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from options.errors import Failure, UserError
from restore.submit.__main__ import main, read_arguments

SRUN = """#!/bin/bash
while [[ $1 == -* ]]; do shift; done
exec "$@"
"""
QUEUE = """#!/bin/bash
echo "$1" >>queue
echo "Submitted batch job 7"
"""
TIMEOUT_AT_A_SAVEPOINT = """#!/bin/bash
while [[ $1 == -* ]]; do shift; done
shift
"$@" &
while kill -0 $! 2>/dev/null; do
    if [ -e model_zoo/long/best.json ] && [ ! -e limit_reached ]; then
        touch limit_reached
        kill -TERM $!
        wait $!
        exit 124
    fi
    sleep 0.05
done
wait $!
"""
TRAINING = """#!/bin/bash
# Stands for torchrun and a training that takes three jobs: at SIGTERM it has got further, and says what it was asked.
words="$*"
echo "asked: restore.train${words#*restore.train}"
mkdir -p model_zoo/long
jobs=$(cat model_zoo/long/curves.csv 2>/dev/null | wc -l)
[ $jobs -eq 2 ] && exit 0
trap 'echo $jobs >>model_zoo/long/curves.csv; touch model_zoo/long/state.pth; kill $!; exit 143' TERM
sleep 60 & wait
"""
FAILING = "#!/bin/bash\nexit 1\n"
STANDING_STILL = "#!/bin/bash\ntrap 'kill $!; exit 143' TERM\nsleep 60 & wait\n"
DEAF = """#!/bin/bash
mkdir -p model_zoo/long
[ -e model_zoo/long/curves.csv ] && exit 0
echo 10 >>model_zoo/long/curves.csv
trap '' TERM
exec sleep 60
"""


def program(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def cluster(option_file, workplace, monkeypatch):
    """Stand-ins: sbatch and qsub put a script into a queue, srun starts its command. Returns an option file."""
    for name, text in {"srun": SRUN, "sbatch": QUEUE, "qsub": QUEUE}.items():
        program(workplace / "bin" / name, text)
    monkeypatch.setenv("PATH", f"{workplace / 'bin'}:{os.environ['PATH']}")
    return option_file(total_iterations=200, validate_every=100, workers=0)


@pytest.fixture
def python(workplace, monkeypatch):
    """Puts a program in the place of Python, and so of torchrun and the training."""

    def stand_in(text):
        program(workplace / "bin/python", text)
        monkeypatch.setattr(sys, "executable", str(workplace / "bin/python"))

    return stand_in


def submit(*words):
    main(read_arguments([*map(str, words), "--run-name", "long"]))


def run_jobs(limit):
    """Runs the scripts of the queue one after another, each killed at its limit [s]; the status and log of each."""
    ended = []
    while Path("queue").exists():
        (script,) = Path("queue").read_text().split()
        Path("queue").unlink()
        number = str(7 + len(ended))
        environment = os.environ | {"PYTHONPATH": str(ROOT), "SLURM_JOB_ID": number, "PBS_JOBID": number}
        killed_at_limit = ["/usr/bin/timeout", "-s", "KILL", str(limit), "bash", script]
        done = subprocess.run(killed_at_limit, env=environment, capture_output=True, text=True, check=False)
        log = Path(script).with_name(f"{number}.log")  # PBS's script writes it itself
        ended.append((done.returncode, done.stdout + done.stderr + (log.read_text() if log.exists() else "")))
        assert len(ended) < 6, ended
    return ended


def test_a_training_is_stopped_before_the_limit_and_goes_on_in_another_job_to_its_end(cluster, workplace):
    """torchrun and the training are real. The limit is where the first savepoint is, however slow the machine."""
    program(workplace / "bin/timeout", TIMEOUT_AT_A_SAVEPOINT)
    submit("-opt", cluster, "--scheduler", "slurm", "--time", "0:02:00", "--reserve", "119")
    (workplace / "options.json").unlink()  # the job has its own, as it was when it was submitted
    first, second = run_jobs(limit=120)
    assert first[0] == 0, first
    assert "the state is saved, and model_zoo/long goes on in another job" in first[1]
    assert second[0] == 0, second
    assert "continues from iteration" in second[1]
    assert "model_zoo/long is complete" in second[1]
    assert torch.load("model_zoo/long/state.pth", weights_only=True)["progress"]["iteration"] == 200


@pytest.mark.parametrize("scheduler", ["slurm", "pbs"])
def test_jobs_follow_one_another_until_the_run_is_complete(cluster, python, scheduler, capsys):
    python(TRAINING)
    submit("-opt", cluster, "--scheduler", scheduler, "--time", "0:00:03", "--reserve", "2")
    assert "Submitted batch job 7" in capsys.readouterr().out
    ended = run_jobs(limit=3)
    assert [status for status, _ in ended] == [0, 0, 0], ended
    asked = ["-opt model_zoo/submit_long/options.json --run-name long", *["--resume model_zoo/long"] * 2]
    for words, (_, log) in zip(asked, ended, strict=True):
        assert f"asked: restore.train {words}\n" in log


@pytest.mark.parametrize("scheduler", ["slurm", "pbs"])
def test_a_training_that_fails_or_stands_still_is_not_queued_again(cluster, python, scheduler):
    python(FAILING)
    submit("-opt", cluster, "--scheduler", scheduler, "--time", "0:00:30", "--reserve", "2")
    ((status, log),) = run_jobs(limit=30)
    assert (status, "failed with exit status 1, and is not queued again" in log) == (1, True), log
    python(STANDING_STILL)
    submit("-opt", cluster, "--scheduler", scheduler, "--time", "0:00:03", "--reserve", "2")
    ((status, log),) = run_jobs(limit=3)
    assert (status, "no further than iteration 0, and is not queued again" in log) == (1, True), log


def test_a_training_that_does_not_end_when_asked_is_killed_in_time_to_go_on_from_its_last_savepoint(cluster, python):
    python(DEAF)
    submit("-opt", cluster, "--scheduler", "slurm", "--time", "0:00:04", "--reserve", "3")
    ended = run_jobs(limit=4)
    assert [status for status, _ in ended] == [0, 0], ended


def test_a_script_can_be_read_and_asks_for_what_was_asked(cluster, capsys):
    words = ["-opt", cluster, "--time", "24:00:00", "--account", "lab", "--write-only", "--gpus", 4]
    submit(
        *words, "--scheduler", "slurm", "--nodes", 2, "--partition", "gpu", "--module", "cuda/12.4", "--module", "gcc"
    )
    assert "submit it: sbatch model_zoo/submit_long/job.sh" in capsys.readouterr().out
    slurm = Path("model_zoo/submit_long/job.sh").read_text()
    submit(*words, "--scheduler", "pbs", "--queue", "gpu", "--container", "my image.sif")
    pbs = Path("model_zoo/submit_long/job.sh").read_text()
    for line in (
        "#SBATCH --nodes=2", "#SBATCH --gpus-per-node=4", "#SBATCH --cpus-per-task=32", "#SBATCH --time=24:00:00",
        "#SBATCH --account=lab", "#SBATCH --partition=gpu", "module load cuda/12.4", "module load gcc",
        "limit=86100  # seconds from the job's beginning to SIGTERM",
    ):  # fmt: skip
        assert line in slurm.splitlines(), line
    assert "--nnodes=2 --nproc-per-node=4" in slurm
    for line in (
        "#PBS -l select=1:ncpus=32:ngpus=4", "#PBS -l walltime=24:00:00", "#PBS -A lab", "#PBS -q gpu",
    ):  # fmt: skip
        assert line in pbs.splitlines(), line
    assert "apptainer exec --nv --bind \"$PWD\" 'my image.sif' timeout" in pbs
    assert "python -m torch.distributed.run --standalone --nproc-per-node=4" in pbs
    for script in (slurm, pbs):
        assert "@@" not in script
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert not Path("queue").exists()


def test_mistakes_are_reported_together_before_anything_is_queued(cluster):
    with pytest.raises(UserError) as caught:
        submit("-opt", cluster, "--scheduler", "pbs", "--time", "24h", "--nodes", 2, "--gpus", -1, "--account", "a b")
    assert str(caught.value).splitlines() == [
        '--time: "24h" given; give hours, minutes and seconds, as 24:00:00',
        "--gpus: -1 given; give 0 or more",
        "--nodes: 2 given, but how a job of PBS starts a program on each node differs from site to site; give 1, or "
        "have job.sh written for 1 and change it",
        '--account: "a b" given; give letters, digits, dots, hyphens and underscores',
    ]
    cluster.write_text(json.dumps(json.loads(cluster.read_text()) | {"batch_sise": 3}))
    with pytest.raises(UserError, match="batch_sise: unknown key"):
        submit("-opt", cluster, "--scheduler", "slurm", "--time", "1:00:00")
    assert not Path("queue").exists()
    assert not Path("model_zoo").exists()


def test_the_options_of_a_job_that_may_wait_are_not_exchanged(cluster, workplace):
    submit("-opt", cluster, "--scheduler", "slurm", "--time", "1:00:00", "--write-only")
    before = Path("model_zoo/submit_long/options.json").read_bytes()
    with pytest.raises(UserError, match=r"^--run-name: model_zoo/submit_long holds a job .* with other options"):
        submit("-opt", cluster, "--scheduler", "slurm", "--time", "1:00:00", "--set", "seed=7", "--write-only")
    assert Path("model_zoo/submit_long/options.json").read_bytes() == before


def test_a_scheduler_that_is_missing_or_refuses_is_told_in_a_line(cluster, workplace, monkeypatch):
    program(workplace / "bin/sbatch", "#!/bin/bash\necho 'invalid account' >&2\nexit 1\n")
    with pytest.raises(Failure, match=r"sbatch model_zoo/submit_long/job\.sh: refused \(invalid account\)"):
        submit("-opt", cluster, "--scheduler", "slurm", "--time", "1:00:00")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        UserError, match=r"sbatch cannot be started \(No such file or directory\); the script is written"
    ):
        submit("-opt", cluster, "--scheduler", "slurm", "--time", "1:00:00")
