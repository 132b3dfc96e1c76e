"""python -m restore.submit: trains on a cluster, in jobs that queue themselves again until the run is complete."""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from datetime import datetime

from restore.command.arguments import flags, run_command

DESCRIPTION = """Writes a job script that trains on a cluster, and submits it. Run it where the training's paths begin.

  python -m restore.submit -opt options/scunet_raw.json --scheduler slurm --gpus 4 --time 24:00:00
  python -m restore.submit -opt options/scunet_raw.json --scheduler pbs --gpus 1 --time 8:00:00 --write-only

Before a job's time is over, the run's state is saved and the script queues itself again, until the run is complete. It
does not where the training fails, nor where a job got no further than the one before.

Exit status: 0 submitted or written, 2 a mistake in the options, 1 anything else."""


def read_arguments(words: list[str] | None = None) -> Namespace:
    """The arguments of restore.submit; ends the program at --help or a mistake, as argparse does."""
    parser = ArgumentParser(
        "python -m restore.submit", description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("-opt", "--opt", required=True, metavar="FILE", help="the option file")
    parser.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE", help="override keys of the option file"
    )
    parser.add_argument("--run-name", metavar="NAME", help="name of the run's folder (default: date and time)")
    parser.add_argument("--scheduler", required=True, choices=["slurm", "pbs"], help="slurm, or pbs for OpenPBS")
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="machines (default: %(default)s)")
    parser.add_argument(
        "--gpus", type=int, default=1, metavar="N", help="GPUs of each, one process on each GPU (default: %(default)s)"
    )
    parser.add_argument(
        "--cpus", type=int, default=8, metavar="N", help="cores for each process (default: %(default)s)"
    )
    parser.add_argument("--time", required=True, metavar="H:MM:SS", help="of each job")
    parser.add_argument(
        "--reserve",
        type=int,
        default=300,
        metavar="SECONDS",
        help="how long before the end of its time a job begins to save; more than a validation takes (default: "
        "%(default)s)",
    )
    parser.add_argument("--account", metavar="NAME", help="that pays")
    parser.add_argument("--queue", "--partition", metavar="NAME", help="PBS's queue or Slurm's partition")
    parser.add_argument(
        "--module", action="append", default=[], metavar="NAME", help="to load first; may be given more than once"
    )
    parser.add_argument(
        "--container",
        metavar="IMAGE",
        help="to run in, by apptainer, with its own python; of folders outside this one write --bind into the script",
    )
    parser.add_argument("--write-only", action="store_true", help="write the script, and do not submit it")
    return parser.parse_args(words)


def main(arguments: Namespace) -> None:
    from restore.runs.checkpoints import named_run, refuse_existing
    from restore.submit.job import Job, submit, write_job
    from restore.training.option_file import read_option_file

    with flags(
        run_name="--run-name", time="--time", nodes="--nodes", gpus="--gpus", cpus="--cpus", reserve="--reserve"
    ):
        options = read_option_file(arguments.opt, arguments.set)
        name = arguments.run_name if arguments.run_name is not None else f"{datetime.now():%Y_%m_%d_%H_%M_%S}"
        refuse_existing(named_run(name))
        given = {key: getattr(arguments, key) for key in Job._fields if key != "name"}
        script = write_job(Job(name=name, **given), options)
    print(f"job script: {script}")
    if arguments.write_only:
        print(f"submit it: {'sbatch' if arguments.scheduler == 'slurm' else 'qsub'} {script}")
    else:
        print(submit(arguments.scheduler, script))


if __name__ == "__main__":
    sys.exit(run_command(main, read_arguments()))
