"""python -m restore.chart: measures what a raw model does to test charts."""

import sys

from restore.command.arguments import chart_arguments, flags, run_command

if __name__ == "__main__":
    ARGUMENTS = chart_arguments()  # answers --help before the imports below, which take seconds

import json
from argparse import Namespace
from pathlib import Path

from options.base import parse
from options.errors import UserError
from options.json_data import json_data
from restore import describe_model, load_model
from restore.chart.report import NUMBERS, PAGE, measure_charts
from restore.compute.device import describe_device
from transforms.noise import NoiseModel, NoiseModelOptions

FLAGS = dict.fromkeys(("run_or_pth", "restorer"), "--model") | {
    name: f"--{name}" for name in ("iso", "contrast", "size", "tile", "device", "output")
}
"""The command's flag for each argument of the library."""


def main(arguments: Namespace) -> None:
    folder = Path(arguments.output)
    if not arguments.output.strip():
        raise UserError("--output: empty; give a folder, or check the shell variable that it comes from")
    noise_model = _noise_model(arguments.noise_model)
    with flags(**FLAGS):
        restorer = load_model(arguments.model, arguments.device)
        print(describe_device(restorer.device), describe_model(restorer), sep="\n", flush=True)
        told = {name: getattr(arguments, name) for name in ("iso", "contrast", "size", "seed", "tile")}
        report = measure_charts(restorer, noise_model, **told)
        report.write(folder)
    print(*report.lines(), f"report: {folder / PAGE}; plots, strips and {NUMBERS} beside it", sep="\n")


def _noise_model(text: str) -> NoiseModel:
    """The noise model of a class name, or of a JSON section. Raises UserError with a line for each mistake."""
    flag = "--noise-model"
    try:
        section = json_data(text) if text.lstrip().startswith("{") else text
    except json.JSONDecodeError as fault:
        raise UserError(f'{flag}: not JSON: {fault}; give a section such as {{"class_name": "dng"}}') from None
    noise_model = parse(NoiseModelOptions, section, flag)
    if mistakes := noise_model.file_mistakes():
        raise UserError(*(f"{flag}: {line}" for line in mistakes))
    return noise_model


if __name__ == "__main__":
    sys.exit(run_command(main, ARGUMENTS))
