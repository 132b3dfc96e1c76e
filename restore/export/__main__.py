"""python -m restore.export: writes a trained model as a file of another program, and proves the file by running it."""

import sys

from restore.command.arguments import EXPORT_SUFFIXES, export_arguments, flags, run_command

if __name__ == "__main__":
    ARGUMENTS = export_arguments()  # answers --help before the imports below, which take seconds

from argparse import Namespace
from pathlib import Path

from options.errors import UserError
from restore import GENERAL_MODEL, describe_model, load_model
from restore.export.ansel import TOLERANCE, write_ansel
from restore.export.card import Card, card_of
from restore.export.darktable import write_darktable
from restore.export.onnx_model import write_onnx
from restore.export.weights import weights_files, write_weights
from restore.files.atomic import make_folder
from restore.inference.restorer import Restorer

WEIGHTS = ("safetensors", "pth")
FORMATS_OF = {"tile": ("darktable",), "noise": ("darktable",), "half": WEIGHTS}
FORMATS_OF |= dict.fromkeys(Card._fields, ("darktable", *WEIGHTS))
"""The formats that each argument is for, of those that are not for all."""
FLAGS = dict.fromkeys(("run_or_pth", "network", "chain"), "--model") | {
    name: f"--{name.replace('_', '-')}" for name in FORMATS_OF
}
"""The command's flag for each argument of the library."""


def main(arguments: Namespace) -> None:
    with flags(**FLAGS):
        _check(arguments)
        model = Path(arguments.model or GENERAL_MODEL)
        output = _output(model, arguments)
        restorer = load_model(model, "cpu")
        _say(describe_model(restorer))
        lines = _written(restorer, output, arguments)
    _say(*lines, f"written: {', '.join(map(str, _files(arguments.to, output)))}")


def _written(restorer: Restorer, output: Path, arguments: Namespace) -> list[str]:
    """Writes the file, and returns lines about it."""
    make_folder(output.parent)
    match arguments.to:
        case "onnx":
            return write_onnx(restorer, output)
        case "darktable":
            return write_darktable(restorer, output, _card(restorer, arguments), arguments.tile, arguments.noise)
        case "ansel":
            found = write_ansel(restorer.network, restorer.chain, output)
            return [
                f"verified as Ansel runs it: largest difference from torch {found:.1e}, and {TOLERANCE:.0e} at most"
            ]
    return write_weights(restorer, output, _card(restorer, arguments), bool(arguments.half))


def _card(restorer: Restorer, arguments: Namespace) -> Card:
    return card_of(restorer, **{name: getattr(arguments, name) for name in Card._fields})


def _check(arguments: Namespace) -> None:
    """Raises UserError for an argument that would have no effect."""
    for name, formats in FORMATS_OF.items():
        if getattr(arguments, name) is not None and arguments.to not in formats:
            flag = FLAGS[name]
            raise UserError(f"{flag}: given with --to {arguments.to}, and it is for {', '.join(formats)}; leave it out")


def _output(model: Path, arguments: Namespace) -> Path:
    """Where to write. Raises UserError where a file is there already."""
    suffix = EXPORT_SUFFIXES[arguments.to]
    run = model.resolve() if model.is_dir() else model.resolve().parent
    name = run.name if model.is_dir() or model.stem == "best" else model.stem
    output = Path(arguments.output or f"{name}{suffix}")
    if output.suffix != suffix or output.stem in (".", ".."):
        raise UserError(f"--output: {output} given; give a name that ends in {suffix}")
    for file in _files(arguments.to, output):
        if file.resolve() in _parts(model):
            raise UserError(f"--output: {file} is the model itself; give another name")
        if file.exists() and not arguments.overwrite:
            raise UserError(f"--output: {file} is there already; give another name, or --overwrite")
    return output


def _parts(model: Path) -> list[Path]:
    weights = model / "best.pth" if model.is_dir() else model
    return [weights.resolve(), weights.with_suffix(".json").resolve()]


def _files(format_name: str, output: Path) -> list[Path]:
    return weights_files(output) if format_name in WEIGHTS else [output]


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(run_command(main, ARGUMENTS))
