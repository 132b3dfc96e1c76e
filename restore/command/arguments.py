"""The arguments of the commands and their exit status. Imports nothing slow, so that --help answers at once."""

import re
import sys
import traceback
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from options.errors import Failure, Interrupted, InterruptedAtOnce, UserError

TRAINING = """Trains a network as an option file describes.

  python -m restore.train -opt options/quickstart.json           the sample photographs, minutes on a CPU
  python -m restore.train -opt options/scunet_raw.json --check   try it first, without training
  python -m restore.train --resume model_zoo/<run>               continue a run
  torchrun --nproc-per-node 4 -m restore.train -opt FILE         train on four GPUs; torchrun itself ends with 1

Exit status: 0 done, 2 a mistake in the options or the data, 1 anything else; 130 stopped by Ctrl+C, 143 by SIGTERM,
129 by a closed terminal, each with the state saved."""

TESTING = """Restores a folder of pictures or raw files with a trained model, and measures the results if clean pictures
are known.

  python -m restore.test --input raws/ --output results/
  python -m restore.test --model model_zoo/<run> --input photos/ --output results/

A raw model restores raw files and writes them as DNG. Of photographs it makes degraded raw data, as in its validation,
and restores that.
A 3-channel model restores the pictures themselves. With --target the results are compared with the clean pictures of
the same names; with --degrade the pictures are first degraded, as in the model's validation.

Exit status: 0 all restored, 3 some left out, each with its reason, 2 a mistake or none restored, 1 anything else."""

CALIBRATION = """Measures a camera's noise from its own frames, for "noise_model": {"class_name": "profile", ...}.

  python -m restore.calibrate --flats flats/ --darks darks/ -o profile.json
  python -m restore.calibrate --flats flats/ --darks darks/ --check profile.json
  python -m restore.calibrate --burst burst/ -o profile.json

Flats: an evenly lit surface out of focus, two frames at each of 6 exposures or more, from dark to nearly white.
Darks: 8 frames or more with the lens capped. All at one ISO speed, as raw files or as grey 16-bit PNG or TIFF files;
two frames that follow one another by name are a pair.
Burst: 4 raw files or more, better 16, of one scene without motion, from a tripod, all at one ISO speed and exposure;
with dark and bright parts, out of focus if you can. --darks may be given with it."""

SPLITTING = """Divides a folder of photographs into lists for training, validation and a last test, without copying.

  python -m restore.split photos --validation 0.05 --held-out 0.05

Photographs that show the same stay in one list: bursts, near duplicates, a raw file and the picture made of it. The
same photographs and seed give the same lists, and a photograph more changes little of them. Look through the lists
where a series was taken slowly: the same scene from another side is not known as such."""


RAW_FORMATS = ("dng", "linear-dng", "linear-tiff", "tiff", "png", "jpeg")
BASELINES = ("bm3d", "nlm")
EXPORT_SUFFIXES = {
    "onnx": ".onnx",
    "darktable": ".dtmodel",
    "ansel": ".anselnn",
    "safetensors": ".safetensors",
    "pth": ".pth",
}

EXPORT = """Writes a trained model as a file of another program, and keeps it only if it gives the model's output.

  python -m restore.export --model model_zoo/<run> --to onnx
  python -m restore.export --model model_zoo/<run> --to darktable --licence MIT --author "A. Name" \\
      --training-data "my photographs" --training-data-licence CC0-1.0

onnx         one .onnx file, the noise's shot and read as inputs where the model has to know it
darktable    a .dtmodel for darktable 5.6: raw denoising, or denoising and enlarging of pictures with 3 channels
ansel        an .anselnn for Ansel, of the network CfaUNet alone
safetensors, pth
             the weights under their authors' names, as spandrel and the programs with it read them, the information
             file, and a card in the fields of OpenModelDB

Exit status: 0 written, 2 a mistake, or what the format cannot hold, 1 anything else."""

CHARTS = """Measures what a raw model does to test charts: a slanted edge, a Siemens star, a zone plate, a frequency
sweep, a grey ramp and colour patches. They are made as clean raw images, get noise, and are restored.

  python -m restore.chart --iso 6400
  python -m restore.chart --model model_zoo/<run> --output charts/
  python -m restore.chart --noise-model '{"class_name": "profile", "camera": "profile.json"}'

Written are chart.json, a plot of each chart, and its pictures degraded | restored | clean.

Exit status: 0 measured, 2 a mistake, 1 anything else."""


def training_arguments(words: list[str] | None = None) -> Namespace:
    """The arguments of restore.train; ends the program at --help or a mistake, as argparse does."""
    parser = _parser("restore.train", TRAINING)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-opt", "--opt", metavar="FILE", help="the option file")
    source.add_argument("--resume", metavar="RUN", help="run to continue: its folder under model_zoo/")
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="override keys of the option file, e.g. --set batch_size=4 optimizer.initial_learning_rate=2e-4",
    )
    parser.add_argument("--run-name", metavar="NAME", help="name of the run's folder (default: date and time)")
    _add_device(parser)
    purpose = parser.add_mutually_exclusive_group()
    purpose.add_argument(
        "--check",
        action="store_true",
        help="validate, run one batch, draw a contact sheet and estimates; keep none of the updates",
    )
    purpose.add_argument(
        "--find-lr",
        action="store_true",
        help="raise the learning rate until training diverges, draw the curve and suggest one; do not train",
    )
    parser.add_argument(
        "--anomaly",
        action="store_true",
        help="name the layer in which a loss or gradient that is not finite arose (slower then)",
    )
    return parser.parse_args(words)


def testing_arguments(words: list[str] | None = None) -> Namespace:
    """The arguments of restore.test; ends the program at --help or a mistake, as argparse does."""
    parser = _parser("restore.test", TESTING)
    _add_model(parser)
    parser.add_argument(
        "--input",
        required=True,
        metavar="PATH",
        help="folder of raw files and pictures (PNG, TIFF, JPEG, WebP), or one",
    )
    parser.add_argument(
        "--target", metavar="FOLDER", help="clean pictures or raw files of the same names to measure against"
    )
    parser.add_argument(
        "--degrade",
        action="store_true",
        help="degrade the pictures first, as in the validation of a 3-channel model",
    )
    parser.add_argument(
        "--iso",
        type=int,
        metavar="N",
        help="ISO speed of a raw model's noise, if its noise model uses it (default: as in its validation)",
    )
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="X",
        help="0 to 1: the input is mixed in again, 0 is the input alone (default: %(default)s)",
    )
    parser.add_argument(
        "--profile",
        metavar="JSON",
        help="noise of the camera as restore.calibrate measured it, for raw files that do not tell their own, if the "
        "model has to know it",
    )
    parser.add_argument(
        "--noise-profiles",
        metavar="JSON",
        help="darktable's noiseprofiles.json, for raw files of cameras without a --profile (default: that of darktable "
        "where it is installed; else the noise is estimated from each file)",
    )
    parser.add_argument(
        "--format",
        type=_some_of(RAW_FORMATS),
        default=[],
        metavar="A,B",
        help=f"what restored files are written as, one or several of {', '.join(RAW_FORMATS)}; pictures have the last "
        "three alone (default: dng for raw files, png for pictures)",
    )
    parser.add_argument(
        "--baseline",
        type=_some_of(BASELINES),
        default=[],
        metavar="A,B",
        help=f"classical denoisers to measure beside a raw model, one or both of {', '.join(BASELINES)}",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="restore anew what was restored before, and replace it"
    )
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="restore each file mirrored and turned in eight ways (two, of raw at an even scale) and take the mean: a "
        "little better, in so many times the time",
    )
    parser.add_argument("--output", default="results", metavar="FOLDER", help="where to write (default: %(default)s)")
    parser.add_argument("--tile", type=int, default=512, metavar="N", help="side of a tile (default: %(default)s)")
    parser.add_argument(
        "--overlap", type=int, default=32, metavar="N", help="pixels that two tiles share (default: %(default)s)"
    )
    _add_device(parser)
    return parser.parse_args(words)


def calibration_arguments(words: list[str] | None = None) -> Namespace:
    """The arguments of restore.calibrate; ends the program at --help or a mistake, as argparse does."""
    parser = _parser("restore.calibrate", CALIBRATION)
    light = parser.add_mutually_exclusive_group(required=True)
    light.add_argument("--flats", metavar="FOLDER", help="pairs of evenly lit frames; needs --darks")
    light.add_argument("--burst", metavar="FOLDER", help="raw files of one static scene, at one exposure")
    parser.add_argument("--darks", metavar="FOLDER", help="pairs of frames without light")
    purpose = parser.add_mutually_exclusive_group(required=True)
    purpose.add_argument("-o", "--output", metavar="JSON", help="profile to write; its plot goes beside it, as .png")
    purpose.add_argument(
        "--check", metavar="JSON", help="profile to compare with the frames, by frames that are synthesised from it"
    )
    parser.add_argument(
        "--white",
        type=float,
        metavar="DN",
        help="white level (default: the raw file's; of 16-bit PNG and TIFF files where flats saturate)",
    )
    return parser.parse_args(words)


def splitting_arguments(words: list[str] | None = None) -> Namespace:
    """The arguments of restore.split; ends the program at --help or a mistake, as argparse does."""
    parser = _parser("restore.split", SPLITTING)
    parser.add_argument("folder", metavar="FOLDER", help="image and raw files, searched with its subfolders")
    parser.add_argument(
        "--validation", type=float, default=0.05, metavar="SHARE", help="for testing_path (default: %(default)s)"
    )
    parser.add_argument(
        "--held-out", type=float, default=0.0, metavar="SHARE", help="for held_out_path (default: %(default)s, none)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another one draws other lists")
    parser.add_argument("-o", "--output", default="lists", metavar="DIR", help="where to write (default: %(default)s)")
    return parser.parse_args(words)


def export_arguments(words: list[str] | None = None) -> Namespace:
    """The arguments of restore.export; ends the program at --help or a mistake, as argparse does."""
    parser = _parser("restore.export", EXPORT)
    _add_model(parser)
    parser.add_argument("--to", required=True, choices=list(EXPORT_SUFFIXES), help="the format")
    parser.add_argument("--output", metavar="PATH", help="file to write (default: here, by the name of the run)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    only = parser.add_argument_group("for darktable")
    only.add_argument("--tile", type=int, metavar="N", help="side of its tiles (default: 512; 256 to enlarge 4 times)")
    only.add_argument(
        "--noise",
        type=float,
        nargs=2,
        metavar=("SHOT", "READ"),
        help="of every image, for one camera at one ISO speed, if the model has to know it (default: estimated in each "
        "tile)",
    )
    only = parser.add_argument_group("for safetensors and pth")
    only.add_argument("--half", action="store_const", const=True, help="16-bit floating-point weights")
    card = parser.add_argument_group(
        "for the card, of darktable, safetensors and pth (default: what the README.md beside the model begins with)"
    )
    card.add_argument("--licence", metavar="SPDX", help='of the weights, as "MIT"')
    card.add_argument("--author", metavar="NAME", help="of the weights")
    card.add_argument("--training-data", metavar="TEXT", help="what the model was trained on")
    card.add_argument("--training-data-licence", metavar="SPDX", help='of that, as "CC0-1.0"')
    card.add_argument("--description", metavar="TEXT", help="of the model (default: its network)")
    card.add_argument("--source", metavar="URL", help="where the model is published")
    return parser.parse_args(words)


def chart_arguments(words: list[str] | None = None) -> Namespace:
    """The arguments of restore.chart; ends the program at --help or a mistake, as argparse does."""
    parser = _parser("restore.chart", CHARTS)
    _add_model(parser)
    parser.add_argument("--output", default="charts", metavar="FOLDER", help="where to write (default: %(default)s)")
    parser.add_argument(
        "--contrast",
        type=float,
        default=0.6,
        metavar="X",
        help="(brightest - darkest) / (brightest + darkest) light of the charts, above 0 to 1 (default: %(default)s, "
        "as in ISO 12233)",
    )
    parser.add_argument(
        "--noise-model",
        default="dng",
        metavar="NAME_OR_JSON",
        help="as RgbToRawTransform has it: a class name, or a section in braces (default: %(default)s)",
    )
    parser.add_argument(
        "--iso", type=int, metavar="N", help="ISO speed of the noise, if its model goes by it (default: 1600)"
    )
    parser.add_argument("--size", type=int, default=512, metavar="N", help="side of a chart (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another one draws other noise")
    parser.add_argument("--tile", type=int, default=512, metavar="N", help="side of a tile (default: %(default)s)")
    _add_device(parser)
    return parser.parse_args(words)


def run_command(command: Callable[[Namespace], int | None], arguments: Namespace) -> int:
    """Runs a command and returns its exit status: what the command returns, or 0.

    Prints one line for a mistake or failure, a traceback for a bug.
    """
    try:
        return command(arguments) or 0
    except UserError as error:
        _complain(*str(error).splitlines())
        return error.exit_status
    except Interrupted as stop:
        print(stop, file=sys.stderr)  # as the user asked: no error
        return stop.exit_status
    except Failure as failure:
        _complain(str(failure))
        return failure.exit_status
    except KeyboardInterrupt as stop:
        _complain("stopped at once; the files saved before are complete")
        return stop.exit_status if isinstance(stop, InterruptedAtOnce) else 130
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":
            _complain(
                "the device's memory is full; with --set, raise accumulation, or lower batch_size or the crop "
                "(RandomCrop h, w); when restoring, lower --tile"
            )
        else:
            traceback.print_exc()
        return 1


@contextmanager
def flags(**names: str) -> Iterator[None]:
    """Renames arguments in the messages of a UserError to the flags they come from: flags(run_name="--run-name").

    Its subclasses pass: they name files, and no arguments.
    """
    try:
        yield
    except UserError as error:
        if type(error) is not UserError:
            raise
        lines = str(error).splitlines()
        for argument, flag in names.items():
            spellings = {argument, argument.replace("_", " ")}
            lines = [re.sub(f"^({'|'.join(spellings)}): ", f"{flag}: ", line) for line in lines]
        error.args = ("\n".join(lines),)
        raise


def _add_model(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="RUN_OR_PTH",
        help="a run's folder (its best model), a .pth or .safetensors (default: the raw denoiser that comes with the "
        "suite)",
    )


def _some_of(choices: Sequence[str]) -> Callable[[str], list[str]]:
    """Reads names that are separated by commas, each one of the choices."""

    def names(text: str) -> list[str]:
        given = [name.strip() for name in text.split(",")]
        unknown = [name for name in given if name not in choices]
        if unknown:
            raise ArgumentTypeError(f"{', '.join(map(repr, unknown))} given; choose from {', '.join(choices)}")
        return list(dict.fromkeys(given))

    return names


def _parser(name: str, description: str) -> ArgumentParser:
    return ArgumentParser(f"python -m {name}", description=description, formatter_class=RawDescriptionHelpFormatter)


def _add_device(parser: ArgumentParser) -> None:
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 or mps (default: the best there is)")


def _complain(*lines: str) -> None:
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
