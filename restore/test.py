"""python -m restore.test: restores pictures and raw files with a trained model, measures them, and writes a report."""

import sys

from restore.command.arguments import flags, run_command, testing_arguments

if __name__ == "__main__":
    ARGUMENTS = testing_arguments()  # answers --help before the imports below, which take seconds

from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import Any

from options.errors import SaveError, UserError
from restore import GENERAL_MODEL, describe_model, load_model
from restore.camera.raw_file import RAW_SUFFIXES
from restore.command.interruption import interrupted_at_once
from restore.command.progress import FilesBar
from restore.compute.device import describe_device
from restore.files.atomic import make_folder
from restore.files.images import IMAGE_SUFFIXES, write_image
from restore.files.paths import files_below
from restore.inference.inputs import Inputs, LeftOut, Way, found_files
from restore.inference.measuring import Measuring
from restore.inference.outputs import REPORT, Outputs, check_outputs, output_names
from restore.inference.pictures import Photographs, Pictures
from restore.inference.raw_files import RawFiles
from restore.inference.record import Record
from restore.inference.restorer import Restorer
from restore.inference.showing import strip_of
from restore.runs.information import hash_of
from transforms.noise.profile import read_profile

SETTINGS = ("target", "degrade", "iso", "strength", "ensemble", "baseline", "profile", "noise_profiles")
"""Arguments that results.json repeats: all files of an output folder are restored in one way."""
FLAGS = {"run_or_pth": "--model"} | {
    name: f"--{name.replace('_', '-')}"
    for name in (*SETTINGS, "input", "output", "tile", "overlap", "device", "format")
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
        restorer.check_tiles(arguments.tile, arguments.overlap)
        measuring = Measuring(restorer, arguments.baseline)
        folder, files = found_files(arguments.input)
        kinds, left_out = _kinds(arguments, folder, files, restorer)
        kind_of = {file: kind for kind in kinds for file in kind.files}
        names = output_names(sorted(kind_of), lambda file: kind_of[file].suffixes(arguments.format))
        _check_outputs(arguments, folder, files, names)
        about = _about(arguments, folder, restorer)
        record = Record(output, about, measuring.images, restorer.information, arguments.overwrite)
    record.left_out += left_out
    record.results.notes += [note for kind in kinds for note in kind.notes]
    _say(describe_device(restorer.device), describe_model(restorer))
    _say(*filter(None, [restorer.information.note]), *record.results.notes)

    wanted = {file: record.missing(file, names[file]) for file in names}
    todo = [file for file, paths in wanted.items() if paths]
    for file in names.keys() - set(todo):
        if record.changed(file, folder / file):
            record.left_out.append(LeftOut(folder / file, "has changed since it was restored; give --overwrite"))
    done: list[str] = []
    try:
        with interrupted_at_once(), FilesBar(len(todo)) as bar:
            runs = len(restorer.orientations) if arguments.ensemble else 1
            restorer.on_tile = lambda share: bar.advance(share / runs)
            for file in todo:
                bar.begin(file.name)
                try:
                    _restore(file, kind_of[file], wanted[file], names[file], measuring, record)
                    done.append(file.as_posix())
                except LeftOut as reason:
                    record.left_out.append(reason)
                bar.end()
    except BaseException:  # the disk is full, Ctrl+C, a picture that does not fit into memory
        with suppress(SaveError):
            record.write(complete=False)
        raise
    record.write(complete=True)
    if not done and len(todo) == len(names):
        raise UserError(f"--input: none of the {len(names)} files was restored:", *record.reasons())
    measured = any(kind.measures or isinstance(kind, RawFiles) for kind in kinds)
    _tell(record, done, len(names) - len(todo), measuring, measured)
    return SOME_LEFT_OUT if record.left_out else 0


def _restore(
    file: Path, kind: Inputs, paths: dict[str, Path], outputs: Outputs, measuring: Measuring, record: Record
) -> None:
    """Restores, measures and writes a file and its strip, and takes it into the record. Raises LeftOut."""
    source, strip = kind.folder / file, record.folder / outputs.strip
    if taken := record.taken(file, paths, outputs):
        raise LeftOut(source, taken)
    with flags(**FLAGS):
        restored = kind.restore(file)
    images = restored.images()
    new = [path for path in (*paths.values(), strip) if not path.exists()]
    try:
        metrics = measuring(images)
        for path in (*paths.values(), strip):
            make_folder(path.parent)
        restored.write(paths)
        write_image(strip, strip_of(images))
        record.add(file, source, outputs, restored, images, metrics)
    except BaseException as error:
        for path in new:  # the record would not know them
            path.unlink(missing_ok=True)
        if isinstance(error, UserError):  # too small to be measured, too large for a format, gone by now
            raise kind.refused(file, error) from None
        raise


def _tell(record: Record, done: list[str], kept: int, measuring: Measuring, measured: bool) -> None:
    """Prints what was done, and what was not and why."""
    results = record.results
    _say(*results.lines(done))
    if not measured:
        _say("not measured: give --target or --degrade")
    elif results.measured and measuring.lpips.note:
        _say(measuring.lpips.note)
    for file in done:
        _say(*(f"{file}: {line}" for line in results.rows[file].warnings))
    if record.left_out:
        _say(f"left out {len(record.left_out)}:", *(f"  {line}" for line in record.reasons()))
    before = f", kept as restored before (--overwrite restores anew): {kept}" if kept else ""
    _say(f"restored: {len(done)}{before}, left out: {len(record.left_out)}")
    _say(f"report: {record.folder / REPORT}; the restored files, strips, results.json and results.csv beside it")


def _kinds(
    arguments: Namespace, folder: Path, files: list[Path], restorer: Restorer
) -> tuple[list[Inputs], list[LeftOut]]:
    """The files by their kinds, and those that this model cannot restore."""
    raw = [file for file in files if file.suffix.lower() in RAW_SUFFIXES]
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if others := len(files) - len(raw) - len(images):
        _say(f"passed over, neither pictures nor raw files by their suffix: {others}")
    way = Way(arguments.strength, arguments.tile, arguments.overlap, arguments.ensemble)
    target = Path(arguments.target) if arguments.target else None
    kinds: list[Inputs] = []
    left_out = []
    if raw and restorer.layout.raw:
        profile = read_profile(arguments.profile) if arguments.profile else None
        kinds.append(RawFiles(folder, raw, restorer, way, profile, arguments.noise_profiles, target))
    else:
        reason = f"a raw file, and {restorer.path} restores {restorer.layout.name} pictures; take a model of raw images"
        left_out = [LeftOut(folder / file, reason) for file in raw]
    if images and (restorer.layout.raw or arguments.degrade):
        try:
            kinds.append(Photographs(folder, images, restorer, way, arguments.iso))
        except UserError as mistake:
            if not kinds or arguments.degrade or arguments.iso is not None:
                raise
            left_out += [LeftOut(folder / file, str(mistake)) for file in images]  # the JPEGs beside raw files
    elif images:
        kinds.append(Pictures(folder, images, restorer, way, target))
    if not kinds:
        suffixes = ", ".join([*sorted(IMAGE_SUFFIXES), "raw files"])
        what = "holds no image file; put some there" if Path(arguments.input).is_dir() else "is no image file; give one"
        missing = f"input: {arguments.input}: {what} ({suffixes}), or name another"
        raise UserError(*map(str, left_out), missing)
    _check_arguments(arguments, kinds)
    return kinds, left_out


def _check_arguments(arguments: Namespace, kinds: list[Inputs]) -> None:
    """Raises UserError for one that is of no use to any of the files."""
    for name in ("target", "degrade", "iso", "profile", "noise_profiles"):
        value = getattr(arguments, name)
        if value is not None and value is not False and not any(name in kind.takes for kind in kinds):
            raise UserError(f"{name}: given, and {' and '.join(kind.way_of_restoring for kind in kinds)}; leave it out")
    if arguments.baseline and not any(kind.measures for kind in kinds):
        raise UserError(
            "baseline: given, and raw files are measured against clean ones alone; give --target, or leave it out"
        )
    for name in arguments.format:
        if not any(name in kind.formats for kind in kinds):
            known = {format_: None for kind in kinds for format_ in kind.formats}
            raise UserError(
                f"format: {name} given, for raw files alone, of which there are none; give {', '.join(known)}"
            )


def _about(arguments: Namespace, folder: Path, restorer: Restorer) -> dict[str, Any]:
    """How the files are restored, by the keys of results.json. A file that is read is known by its content too."""
    files = {"weights": restorer.path, "profile": arguments.profile, "noise_profiles": arguments.noise_profiles}
    return {
        "model": str(restorer.path),
        "input": str(folder),
        **{name: getattr(arguments, name) for name in SETTINGS},
        **{f"{name}_hash": hash_of(Path(file).read_bytes()) if file else None for name, file in files.items()},
    }


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


def _check_outputs(arguments: Namespace, folder: Path, files: list[Path], names: dict[Path, Outputs]) -> None:
    """Raises UserError where an output would lie among the files that are read, or replace one. files: of the input."""
    folders = [Path(path) for path in (arguments.input, arguments.target) if path and Path(path).is_dir()]
    read = [folder / file for file in files]
    read += files_below(arguments.target) if arguments.target else []
    check_outputs(Path(arguments.output), names.values(), folders, read)


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
