"""python -m restore.search: tries values of an option file's keys, each in a run, and writes the best file."""

import json
import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from typing import TYPE_CHECKING

from options.errors import Interrupted, UserError
from restore.command.arguments import flags, run_command

if TYPE_CHECKING:
    from restore.search.space import Values
    from restore.search.trials import Search

DESCRIPTION = """Searches for the best values of an option file's keys with Optuna, each trial a run of its own.

  python -m restore.search -opt options/quickstart.json --space space.json --trials 30
  python -m restore.search --report model_zoo/search_quickstart

space.json: {"optimizer.initial_learning_rate": {"low": 0.0001, "high": 0.01, "log": true},
             "generator.widths": {"choices": [[16, 32, 64, 128], [32, 64, 96, 128]]}}

The same command goes on with a search that was stopped or killed, and, started more than once, shares the trials
between processes. Needs pip install -e '.[search]'.

Exit status: 0 done, 2 a mistake in the options, the space or the data, 1 anything else; 130 stopped by Ctrl+C, 143 by
SIGTERM, 129 by a closed terminal, each with the state saved."""


def read_arguments(words: list[str] | None = None) -> Namespace:
    """The arguments of restore.search; ends the program at --help or a mistake, as argparse does."""
    parser = ArgumentParser(
        "python -m restore.search", description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-opt", "--opt", metavar="FILE", help="the option file to begin with")
    source.add_argument(
        "--report", metavar="SEARCH", help="write table, picture and best option file of a search so far: its folder"
    )
    parser.add_argument("--space", metavar="FILE", help="which keys to try, with what values")
    parser.add_argument("--trials", type=int, metavar="N", help="how many in all, of all processes")
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="of the search's folder in model_zoo (default: search_ and the option file's name)",
    )
    parser.add_argument(
        "--sampler", choices=["tpe", "random", "grid"], default="tpe", help="what chooses the values (default: tpe)"
    )
    parser.add_argument(
        "--metric",
        choices=["loss", "psnr_raw", "ssim_raw", "psnr_srgb", "ssim_srgb"],
        default="loss",
        help="of validation, to search by (default: %(default)s)",
    )
    parser.add_argument(
        "--no-pruning",
        action="store_true",
        help="run every trial to its end, also where at a savepoint it is worse than half of those before",
    )
    parser.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE", help="override keys of the option file"
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 or mps (default: the best there is)")
    arguments = parser.parse_args(words)
    defaults = {name: parser.get_default(name) for name in vars(arguments) if name not in ("report", "opt")}
    if arguments.report and any(getattr(arguments, name) != default for name, default in defaults.items()):
        parser.error("--report stands alone; to go on with a search repeat its command")
    if arguments.opt and (arguments.space is None or arguments.trials is None):
        parser.error("-opt needs --space and --trials")
    if arguments.opt and arguments.trials < 1:
        parser.error(f"--trials: {arguments.trials} given; give 1 or more")
    return arguments


def main(arguments: Namespace) -> None:
    if os.environ.get("WORLD_SIZE", "1") not in ("", "1"):
        raise UserError("a trial has one process; start restore.search without torchrun, once for each GPU")
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UserError("the package optuna is missing, which searches; pip install -e '.[search]'") from None
    from restore.search.report import write_report
    from restore.search.trials import open_search

    with flags(run_name="--name", search_name="--name", device="--device"):
        search = open_search(Path(arguments.report), None) if arguments.report else _searched(arguments)
    print(*write_report(search), sep="\n")


def _searched(arguments: Namespace) -> "Search":
    """The search after its last trial."""
    from options.overrides import apply_overrides
    from restore.compute.device import choose_device
    from restore.runs.checkpoints import named_run
    from restore.search.space import read_space
    from restore.search.trials import Plan, open_search
    from restore.training.consistency import unmeasured
    from restore.training.option_file import options_of, read_option_data
    from transforms import build

    choose_device(arguments.device)
    data = apply_overrides(read_option_data(arguments.opt), arguments.set)
    options = options_of(data, arguments.opt)
    if found := unmeasured(build(options.transforms_test, "transforms_test"), arguments.metric):
        raise UserError(f"--metric: {found}")
    space = read_space(arguments.space)
    space.check(data)
    if arguments.sampler == "grid":
        space.grid()
    folder = named_run(arguments.name if arguments.name is not None else f"search_{options.name}")
    search = open_search(folder, Plan(data, space.data, arguments.metric), not arguments.no_pruning)
    if search.begun == 0 and space.own_values(data) is None:
        print("the option file's own values are not all in the space, so no trial has them", flush=True)
    while True:
        with search.next_trial(arguments.trials, arguments.sampler, options.seed) as trial:
            if trial is None:
                return search
            values = search.space.suggested(trial)
            print(f"trial {trial.number} of {arguments.trials}: {_listed(values)}", flush=True)
            try:
                line = search.train(trial, arguments.device)
            except Interrupted:
                print(f"trial {trial.number} is saved; the same command goes on with it", flush=True)
                raise
            print(f"trial {trial.number}: {line}", flush=True)


def _listed(values: "Values") -> str:
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in values.items())


if __name__ == "__main__":
    sys.exit(run_command(main, read_arguments()))
