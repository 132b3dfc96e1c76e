"""python -m restore.split: divides a folder of photographs into lists for training, validation and a last test."""

import sys

from restore.command.arguments import run_command, splitting_arguments

if __name__ == "__main__":
    ARGUMENTS = splitting_arguments()  # answers --help before the imports below, which take seconds

import hashlib
import json
import os
from argparse import Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from options.errors import UserError
from restore.command.progress import photographs_bar
from restore.data.content_groups import Content, content, content_groups
from restore.data.sources import FileList
from restore.data.sources.file_list import write_list
from restore.data.sources.reading import pictures_and_raw_files
from restore.files.atomic import make_folder
from restore.files.images import BadImage
from restore.files.paths import printable

PATHS = {"train": "training_path", "validation": "testing_path", "held_out": "held_out_path"}
"""The key of the option file that each list is for."""
MOST_THREADS = 4

Group = list[Path]


class Division(NamedTuple):
    """The groups of each list, in the order of their files' names."""

    train: list[Group]
    validation: list[Group]
    held_out: list[Group]


def main(arguments: Namespace) -> None:
    folder = Path(arguments.folder)
    split(folder, arguments.validation, arguments.held_out, arguments.seed, Path(arguments.output))


def split(
    folder: Path, validation: float, held_out: float, seed: int, output: Path, say: Callable[[str], None] = print
) -> Division:
    """Writes the lists, whose files stay where they are; says what is in them, and the lines for the option file.

    folder      photographs and raw files, searched with its subfolders
    validation  the share of the photographs to validate on, and
    held_out    the share to measure the best model on in the end, each from 0 to 1; 0: no such list
    seed        another one draws other groups
    output      the folder of the lists
    Raises UserError for shares that leave nothing to train on, and for a folder with too few groups.
    """
    _check_shares(validation, held_out)
    files = pictures_and_raw_files(folder)
    if not files:
        raise UserError(f"folder: {printable(folder)} holds no image file; name another")
    contents, left_out = _contents(files)
    groups = [[one.file for one in group] for group in content_groups(contents)]
    division = divide(groups, folder, validation, held_out, seed)
    make_folder(output)
    say(f"{len(contents)} photographs in {len(groups)} groups of like content")
    lines = []
    for name, taken in division._asdict().items():
        path = output / f"{name}.txt"
        members = sorted(file for group in taken for file in group)
        if not members:
            path.unlink(missing_ok=True)  # of an earlier division, whose photographs are in other lists now
            continue
        write_list(path, members, f"{name}, seed {seed}; paths are relative to this file's folder")
        say(f"{printable(path)}: {len(members)} photographs in {len(taken)} groups")
        section = json.dumps([json.loads(FileList(path=str(path)).model_dump_json())])
        lines.append(f'  "{PATHS[name]}": {section},')
    if left_out:
        say(f"left out {len(left_out)} files:")
        for line in left_out:
            say(f"  {line}")
    say("for the option file:")
    for line in lines:
        say(line)
    return division


def divide(groups: Sequence[Group], folder: Path, validation: float, held_out: float, seed: int) -> Division:
    """Whole groups for each list, as near to the shares as they allow.

    The groups are put in an order by a hash of the seed and the name of their first file in the folder. Validation
    takes from its beginning and the held-out list from its end: where a file is added or removed, the order of all
    other groups stays, and only those at the edge of a list may change over.
    """
    wanted = 1 + (validation > 0) + (held_out > 0)
    if len(groups) < wanted:
        raise UserError(
            f"folder: {printable(folder)} holds {len(groups)} groups of like content, and {wanted} lists need one "
            f"each; add other photographs, or ask for fewer lists"
        )

    def order(group: Group) -> bytes:
        name = os.fsencode(min(group).relative_to(folder).as_posix())
        return hashlib.blake2b(b"%d " % seed + name, digest_size=8).digest()

    ordered = sorted(groups, key=order)
    photographs = sum(map(len, groups))
    validating = _chosen(ordered, validation * photographs)
    rest = _without(ordered, validating)
    measured = _chosen(rest[::-1], held_out * photographs)
    trained = _without(rest, measured)
    if not trained:
        raise UserError(
            f"folder: {printable(folder)} leaves nothing to train on, as its groups of like content are large; "
            f"lower the shares or add photographs"
        )
    return Division(sorted(trained), sorted(validating), sorted(measured))


def _chosen(groups: Sequence[Group], size: float) -> list[Group]:
    """The first groups, which make up about so many photographs; those that alone are larger are passed over. At least
    one, unless none are wanted."""
    chosen: list[Group] = []
    count = 0
    for group in groups:
        if len(group) > max(size, 1):
            continue
        if count + len(group) / 2 > size:
            break
        chosen.append(group)
        count += len(group)
    return chosen or ([min(groups, key=len)] if size and groups else [])


def _without(groups: Sequence[Group], taken: Sequence[Group]) -> list[Group]:
    firsts = {group[0] for group in taken}
    return [group for group in groups if group[0] not in firsts]


def _contents(files: Sequence[Path]) -> tuple[list[Content], list[str]]:
    """What is known of the files' contents, and a line for each that cannot be read."""

    def read(file: Path) -> Content | str:
        try:
            return content(file)
        except BadImage as error:
            return printable(str(error))

    with ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_THREADS)) as pool:
        outcomes = list(photographs_bar(pool.map(read, files), len(files)))
    contents = [outcome for outcome in outcomes if isinstance(outcome, Content)]
    left_out = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if not contents:
        raise UserError(f"folder: none of the {len(left_out)} files can be used:", *left_out)
    return contents, left_out


def _check_shares(validation: float, held_out: float) -> None:
    for name, share in (("--validation", validation), ("--held-out", held_out)):
        if not 0 <= share < 1:
            raise UserError(f"{name}: {share} given; give a share of the photographs, from 0 to less than 1")
    if validation + held_out >= 1:
        raise UserError(
            f"--validation, --held-out: {validation} and {held_out} given, which leaves nothing to train on; lower them"
        )


if __name__ == "__main__":
    sys.exit(run_command(main, ARGUMENTS))
