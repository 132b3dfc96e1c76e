"""python -m restore.store: shows how large the store of decoded photographs is, and cleans it."""

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from options.errors import UserError
from restore.command.arguments import flags, run_command

DESCRIPTION = """Shows the store of decoded photographs of the runs that begin in this folder, and cleans it.

  python -m restore.store                 where it is, its size, and what no run uses
  python -m restore.store --limit 200GB   the least recently used images are removed, now and at the start of each run
  python -m restore.store --clear         all images that no run uses are removed

What a run uses is never removed, and what was removed is decoded again when a run needs it."""


def read_arguments(words: list[str] | None = None) -> Namespace:
    """The arguments of restore.store; ends the program at --help or a mistake, as argparse does."""
    parser = ArgumentParser(
        "python -m restore.store", description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--limit", metavar="SIZE", help="keep the store below this, as 200GB; none: no limit")
    what.add_argument("--clear", action="store_true", help="remove all images that no run uses")
    return parser.parse_args(words)


def main(arguments: Namespace) -> None:
    from restore.data.store_size import clean_store, clear_store, set_limit  # takes seconds, and --help must not wait

    if arguments.limit is not None:
        with flags(limit="--limit"):
            set_limit(arguments.limit)
        if line := clean_store():
            print(line)
    if arguments.clear and not clear_store():
        raise UserError(
            "--clear: nothing was removed: a run is opening its photographs, or the store's files cannot be locked or "
            "written; try again when the run trains, as a user who may write there"
        )
    show()


def show() -> None:
    """Prints what is in the store."""
    from restore.data.store import STORE
    from restore.data.store_size import DAY, contents, in_words, limit, total

    files, most = contents(), limit()
    print(f"{STORE.absolute()}: {len(files):,} decoded images, {in_words(total(files))}")
    print(f"limit: {'none' if most is None else in_words(most)}")
    groups = {"used by runs that go on": [file for file in files if file.in_use]}
    idle = [file for file in files if not file.in_use]
    for name, low, high in (("today", 0, 1), ("1 to 7 days ago", 1, 7), ("7 to 30 days ago", 7, 30)):
        groups[f"last used {name}"] = [file for file in idle if low * DAY <= max(file.unused, 0) < high * DAY]
    groups["not used for 30 days"] = [file for file in idle if file.unused >= 30 * DAY]
    for name, members in groups.items():
        print(f"  {name:26}{len(members):10,}{in_words(total(members)):>12}")
    print("What no run has used for 30 days is removed when the next one begins.")


if __name__ == "__main__":
    sys.exit(run_command(main, read_arguments()))
