"""Files that are left out, told to a person."""

from collections.abc import Iterable

SHOWN = 3
"""Files that are named of those with one reason."""


def by_reason(files: Iterable[tuple[str, str]]) -> list[str]:
    """Lines "file: reason" of (file, reason). Those of one reason are one line: their number and the first names."""
    alike: dict[str, list[str]] = {}
    for file, reason in files:
        alike.setdefault(reason, []).append(file)
    lines = []
    for reason, names in alike.items():
        named = ", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN)
        lines.append(f"{named}: {reason}" if len(names) == 1 else f"{len(names)} files ({named}): {reason}")
    return lines
