"""A job script for a cluster, and its submission.

submitit, the known library, is not used: it sends a pickled function, by a script that nobody can read, and to Slurm
alone.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from string import Template
from typing import Literal, NamedTuple

from options.errors import Failure, UserError
from options.mistakes import shortened
from restore.files.atomic import make_folder, write_atomically
from restore.runs.checkpoints import OPTIONS, ROOT
from restore.training.option_file import TrainingOptions

SCRIPT = "job.sh"
COMMANDS = {"slurm": "sbatch", "pbs": "qsub"}
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""Names that stand in a directive of a scheduler as they are."""


class Job(NamedTuple):
    """A job on a cluster."""

    name: str
    """The run's."""
    scheduler: Literal["slurm", "pbs"]
    nodes: int
    gpus: int
    """Of each node; 0: one process on the CPU."""
    cpus: int
    """Cores for each process."""
    time: str
    """Its limit, "H:MM:SS"."""
    reserve: int
    """How long before the limit it begins to save [s]."""
    account: str | None
    queue: str | None
    module: list[str]
    """To load first."""
    container: str | None
    """An image of apptainer's to run in."""

    @property
    def seconds(self) -> int:
        """The limit [s]."""
        hours, minutes, seconds = map(int, self.time.split(":"))
        return 3600 * hours + 60 * minutes + seconds

    @property
    def processes(self) -> int:
        """On each node."""
        return max(self.gpus, 1)


class ScriptTemplate(Template):
    """A shell script, whose own variables begin with $, with @@name where something is put in."""

    delimiter = "@@"


def write_job(job: Job, options: TrainingOptions) -> Path:
    """Writes model_zoo/submit_<run>/job.sh, and beside it the options as they are now, for the job may wait for days.

    Returns the script's path. Raises UserError for what no job can have.
    """
    _check(job)
    folder, content = ROOT / f"submit_{job.name}", options.model_dump_json(by_alias=True, indent=2).encode()
    before = folder / OPTIONS
    if before.exists() and before.read_bytes() != content:
        raise UserError(
            f"run name: {folder} holds a job of this name with other options, which may still wait; remove it, or give "
            f"another name"
        )
    make_folder(folder)
    write_atomically(folder / OPTIONS, content)
    write_atomically(folder / SCRIPT, script_of(job, folder).encode())
    return folder / SCRIPT


def submit(scheduler: Literal["slurm", "pbs"], script: Path) -> str:
    """Hands a script to the scheduler, and returns its answer."""
    command = COMMANDS[scheduler]
    try:
        done = subprocess.run([command, str(script)], capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(
            f"--scheduler: {command} cannot be started ({error.strerror}); the script is written, submit it where "
            f"{command} is: {command} {script}"
        ) from None
    if done.returncode:
        raise Failure(f"{command} {script}: refused ({' '.join(done.stderr.split()) or f'status {done.returncode}'})")
    return done.stdout.strip()


def script_of(job: Job, folder: Path) -> str:
    """The text of the script, which lies in this folder."""
    whole, part = (
        (Path(__file__).parent / name).read_text(encoding="utf-8") for name in (SCRIPT, f"{job.scheduler}.sh")
    )
    cpus = job.cpus * job.processes
    return ScriptTemplate(whole.replace("@@scheduler\n", part)).substitute(
        command=COMMANDS[job.scheduler],
        name=job.name,
        folder=folder,
        nodes=job.nodes,
        processes=job.processes,
        cpus=cpus,
        devices=f":ngpus={job.gpus}" if job.gpus else "",
        time=job.time,
        reserve=job.reserve,
        limit=job.seconds - job.reserve,
        grace=max(job.reserve * 3 // 4, 1),
        requests="\n".join(_requests(job)),
        workplace=shlex.quote(str(Path.cwd())),
        modules="\n".join(f"module load {shlex.quote(module)}" for module in job.module),
        container=f'apptainer exec --nv --bind "$PWD" {shlex.quote(job.container)} ' if job.container else "",
        python="python" if job.container else shlex.quote(sys.executable),
    )


def _requests(job: Job) -> list[str]:
    """The directives that not every job has."""
    if job.scheduler == "pbs":
        return [f"#PBS {flag} {value}" for flag, value in (("-A", job.account), ("-q", job.queue)) if value]
    given = {"gpus-per-node": job.gpus or None, "account": job.account, "partition": job.queue}
    return [f"#SBATCH --{name}={value}" for name, value in given.items() if value]


def _check(job: Job) -> None:
    mistakes = []
    if not re.fullmatch(r"\d+:[0-5]\d:[0-5]\d", job.time):
        mistakes.append(f"time: {shortened(job.time)} given; give hours, minutes and seconds, as 24:00:00")
    elif not 0 < job.reserve < job.seconds:
        mistakes.append(f"reserve: {job.reserve} s given; give more than 0 and less than the {job.seconds} s of --time")
    for name, least in (("nodes", 1), ("gpus", 0), ("cpus", 1)):
        if getattr(job, name) < least:
            mistakes.append(f"{name}: {getattr(job, name)} given; give {least} or more")
    if job.scheduler == "pbs" and job.nodes > 1:
        mistakes.append(
            f"nodes: {job.nodes} given, but how a job of PBS starts a program on each node differs from site to site; "
            f"give 1, or have {SCRIPT} written for 1 and change it"
        )
    for name, value in (("run name", job.name), ("--account", job.account), ("--queue", job.queue)):
        if value is not None and not PLAIN.fullmatch(value):
            mistakes.append(f"{name}: {shortened(value)} given; give letters, digits, dots, hyphens and underscores")
    if mistakes:
        raise UserError(*mistakes)
