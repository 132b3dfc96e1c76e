"""python -m restore.test: restores a folder of pictures and raw files with a trained model, and measures them."""

import sys

from restore.command.arguments import flags, run_command, testing_arguments

if __name__ == "__main__":
    ARGUMENTS = testing_arguments()  # answers --help before the imports below, which take seconds

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from options.errors import UserError
from restore import GENERAL_MODEL, load_model
from restore.compute.device import describe_device
from restore.evaluation.metrics import baseline, baseline_name, measure
from restore.evaluation.perceptual import Lpips
from restore.evaluation.strips import strip
from restore.files.atomic import make_folder
from restore.files.images import IMAGE_SUFFIXES, to_uint, write_image
from restore.files.paths import files_below
from restore.inference.inputs import Inputs, LeftOut, Opened, Photographs, Pictures
from restore.inference.outputs import RESULTS, Outputs, check_outputs, output_names
from restore.inference.raw_files import RawFiles, shown
from restore.inference.restorer import Noise, Restorer, blended
from restore.inference.results import Metrics, Results, Row
from transforms.noise.profile import read_profile

LARGEST = 1024
"""Pixels of a picture's side in a strip."""
MARGIN = 8
"""Pixels rendered around those, since demosaicing looks at neighbours."""
FLAGS = {"run_or_pth": "--model"} | {
    name: f"--{name}"
    for name in ("input", "target", "output", "iso", "tile", "overlap", "device", "strength", "profile")
}
"""The command's flag for each argument of the library."""
SOME_LEFT_OUT = 3
"""Exit status."""


def main(arguments: Namespace) -> int:
    output = Path(arguments.output)
    with flags(**FLAGS):
        _check_folders(arguments)
        restorer = load_model(arguments.model, arguments.device)
        restorer.check_strength(arguments.strength)
        raw_files = _raw_files(arguments, restorer)
        inputs = _inputs(arguments, restorer, raw_files)
        files = sorted([*raw_files.files, *(inputs.files if inputs else ())])
        names = output_names(files, lambda file: raw_files.suffix if file in raw_files.files else Inputs.suffix)
        _check_outputs(arguments, names)
    chosen = "" if arguments.model else " (no --model given: the raw denoiser that comes with the suite)"
    _say(describe_device(restorer.device), f"model: {restorer.path}, {restorer.weights_report}{chosen}")
    size_note = inputs.size_note if inputs else None
    _say(*(note for note in (restorer.information.note, size_note) if note))
    if (output / RESULTS).exists():
        _say(f"{output / RESULTS}: there already; replaced when a file has been restored")

    told = {name: getattr(arguments, name) for name in ("input", "target", "degrade", "iso", "strength", "ensemble")}
    about = {"model": str(restorer.path), **told, "size_note": size_note}
    results = Results(about, baseline_name(restorer.scale), raw_files.left_out)
    restore = partial(_blended, restorer, arguments)
    lpips = Lpips(restorer.device)
    try:
        for file in tqdm(files, unit="picture", disable=not sys.stderr.isatty()):
            try:
                if inputs is None or file in raw_files.files:
                    row = _restored_raw(file, raw_files, output, names[file])
                else:
                    row = _restored(file, inputs, restore, lpips, output, names[file])
                results.add(file.as_posix(), row)
            except LeftOut as reason:
                results.left_out.append(str(reason))
        results.complete = True
    finally:  # also when the disk is full, at Ctrl+C, or when a picture does not fit into memory
        if results.rows:
            results.write(output)
    if not results.rows:
        raise UserError(f"--input: none of the {len(files)} files was restored:", *results.left_out)
    _say(*results.lines())
    if inputs and not results.measured:
        _say("not measured: give --target or --degrade")
    elif results.measured and lpips.note:
        _say(lpips.note)
    for file, row in results.rows.items():
        _say(*(f"{file}: {line}" for line in row.facts.get("warnings", ())))
    if results.left_out:
        _say(f"left out {len(results.left_out)}:", *(f"  {line}" for line in results.left_out))
    _say(f"pictures, strips, results.json and results.csv: {output}")
    return SOME_LEFT_OUT if results.left_out else 0


def _raw_files(arguments: Namespace, restorer: Restorer) -> RawFiles:
    profile = read_profile(arguments.profile) if arguments.profile else None
    ways = {name: getattr(arguments, name) for name in ("strength", "overwrite", "tile", "overlap", "ensemble")}
    return RawFiles(Path(arguments.input), restorer, arguments.format, profile=profile, **ways)


def _inputs(arguments: Namespace, restorer: Restorer, raw_files: RawFiles) -> Inputs | None:
    """Photographs to be degraded by the model's chain, or pictures that are restored as they are; None: there are none,
    but raw files."""
    folder = Path(arguments.input)
    if raw_files.files and not any(file.suffix.lower() in IMAGE_SUFFIXES for file in files_below(folder)):
        for flag in ("target", "degrade", "iso"):
            if getattr(arguments, flag):
                raise UserError(f"--{flag}: raw files alone in {folder}, which are restored as they are; leave it out")
        return None
    try:
        return _pictures(arguments, folder, restorer)
    except UserError as mistake:
        raise UserError(*raw_files.left_out, str(mistake)) from None


def _pictures(arguments: Namespace, folder: Path, restorer: Restorer) -> Inputs:
    if restorer.layout.raw or arguments.degrade:
        if arguments.target:
            raise UserError("target: the model is measured against the photographs that it degrades; leave it out")
        return Photographs(folder, restorer, arguments.iso)
    if arguments.iso is not None:
        raise UserError("iso: a 3-channel model restores pictures as they are, without adding noise; leave it out")
    return Pictures(folder, restorer.scale, Path(arguments.target) if arguments.target else None)


def _blended(restorer: Restorer, arguments: Namespace, degraded: Tensor, noise: Noise | None) -> Tensor:
    restored = restorer(degraded, noise, arguments.tile, arguments.overlap, arguments.ensemble)
    return blended(degraded, restored, arguments.strength)


def _restored_raw(file: Path, raw_files: RawFiles, output: Path, names: Outputs) -> Row:
    """Restores and writes a raw file, and its strip recorded | restored. Raises LeftOut."""
    with flags(**FLAGS):
        restored, facts = raw_files.restore(file, output / names.restored)
    opened, middle = shown(restored, LARGEST + 2 * MARGIN)
    make_folder((output / names.strip).parent)
    write_image(output / names.strip, _strip(opened, middle))
    height, width = restored.mosaic.shape
    return Row(names, opened.size, (width, height), {}, {}, facts)


def _restored(
    file: Path, inputs: Inputs, restore: Callable[..., Tensor], lpips: Lpips, output: Path, names: Outputs
) -> Row:
    """Restores, measures and writes a file, and its strip degraded | restored | clean. Raises LeftOut."""
    opened = inputs.open(file)
    with flags(**FLAGS):
        restored = restore(opened.degraded, opened.metadata and opened.metadata.noise)
    if not restored.isfinite().all():
        raise LeftOut(
            f"{inputs.folder / file}: the restored picture has numbers that are not finite, and is not written; "
            f"take another model, or train this one again"
        )
    try:
        metrics = _measured(opened, restored, lpips)
    except UserError as mistake:
        raise LeftOut(f"{inputs.folder / file}: {mistake}") from None
    for path in names:
        make_folder((output / path).parent)
    size = inputs.write(output / names.restored, opened, restored)
    write_image(output / names.strip, _strip(opened, restored))
    return Row(names, opened.size, size, *metrics)


def _measured(opened: Opened, restored: Tensor, lpips: Lpips) -> tuple[Metrics, Metrics]:
    """Of the baseline and of the restored image; empty without a clean one."""
    degraded, clean, metadata, layout = opened[:4]
    if clean is None:
        return {}, {}
    scale = restored.shape[-1] // degraded.shape[-1]

    def metrics(image: Tensor) -> Metrics:
        measured = measure(image, clean, metadata, layout, scale)
        return {**{name: float(value) for name, value in measured.items()}, **lpips(image, clean, metadata, layout)}

    return metrics(baseline(degraded, layout, scale)), metrics(restored)


def _strip(opened: Opened, restored: Tensor) -> np.ndarray:
    """degraded | restored | clean: the middle of each, as only the part that the strip shows is rendered."""
    images = [image for image in (opened.degraded, restored, opened.clean) if image is not None]
    height, width = opened.degraded.shape[-2:]
    side = LARGEST // opened.layout.cell + MARGIN
    rows, columns = _middle(height, side), _middle(width, side)
    shown = []
    for image in images:
        scale = image.shape[-1] // width
        part = image[:, scale * rows.start : scale * rows.stop, scale * columns.start : scale * columns.stop]
        shown.append(opened.layout.render(part, opened.metadata))
    return to_uint(strip(shown, LARGEST), np.uint8)


def _middle(length: int, part: int) -> slice:
    """The middle `part` pixels of a side, or one more so that both have the same centre; the whole side if shorter."""
    edge = max(0, length - part) // 2
    return slice(edge, length - edge)


def _check_folders(arguments: Namespace) -> None:
    for flag in ("model", "input", "target", "output"):
        if getattr(arguments, flag) is not None and not getattr(arguments, flag).strip():
            raise UserError(f"--{flag}: empty; give a folder, or check the shell variable that it comes from")
    output, model = Path(arguments.output).resolve(), Path(arguments.model or GENERAL_MODEL).resolve()
    if output.is_relative_to(model) or (model.is_file() and output == model.parent):
        raise UserError(f"--output: {arguments.output} is the model's own folder, or lies in it; name another")
    for flag in ("input", "target"):
        folder = getattr(arguments, flag)
        if folder and output.is_relative_to(Path(folder).resolve()):
            raise UserError(
                f"--output: {arguments.output} lies in the --{flag} folder, whose pictures it could replace; "
                f"name another"
            )


def _check_outputs(arguments: Namespace, names: dict[Path, Outputs]) -> None:
    folders = [Path(folder) for folder in (arguments.input, arguments.target) if folder]
    files = [file for folder in folders for file in files_below(folder)]
    check_outputs(Path(arguments.output), names.values(), folders, files)


def _say(*lines: str) -> None:
    """Prints lines; characters that the console's encoding lacks are written as \\x.., so that none raises an error."""
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        print(line.encode(encoding, "backslashreplace").decode(encoding))


def command(words: list[str] | None = None) -> int:
    """The command as a function, for scripts that add their own parts; returns the exit status."""
    return run_command(main, testing_arguments(words))


if __name__ == "__main__":
    sys.exit(run_command(main, ARGUMENTS))
