"""The report of a folder: one file that a browser shows without a network."""

import base64
import hashlib
import html
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from restore.files.atomic import open_atomically
from restore.files.paths import printable
from restore.report.pictures import png_uri
from restore.report.shown import Shown, as_json, name_in_line, page_line

SCRIPTS = ("comparison.js", "image.js", "page.js")
IMAGES = "<!-- images -->\n"
"""The line of page.html at whose place the images stand."""


class Table(NamedTuple):
    """Numbers for the top of the report, ready for reading."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Report:
    """The images of a folder, before and after, each with what is known of it.

    title    of the page
    about    lines on all the images: the model, what it was trained on, the command, by their titles
    columns  titles of the facts that the list of the images shows, beside its metrics
    """

    def __init__(self, title: str, about: Mapping[str, str], columns: Sequence[str] = ()):
        self.title, self.about, self.columns = title, dict(about), list(columns)
        self.tables: list[Table] = []
        """Such as the mean metrics, which stand above the images."""
        self._figures: list[dict[str, str]] = []
        self._lines: dict[str, str] = {}

    def __len__(self) -> int:
        """The number of images."""
        return len(self._lines)

    def __contains__(self, name: str) -> bool:
        """Whether it has an image of this name."""
        return printable(name) in self._lines

    def add(self, shown: Shown) -> None:
        """Takes an image; it replaces one of the same name. The pictures are held encoded, in 0.3 to 1.3 MB."""
        line = page_line(shown)
        self._lines[str(name_in_line(line))] = line

    def figure(self, title: str, png: bytes | Path, caption: str) -> None:
        """Takes a picture that stands above the images, such as a curve over a test chart."""
        self._figures.append({"title": title, "uri": png_uri(png), "caption": caption})

    def keep(self, path: Path, names: Collection[str] | None = None) -> None:
        """Takes from an earlier page the images that this report lacks: those of these names, or all.

        Lines that are no image of such a page are passed over, and a page that cannot be read holds none.
        """
        try:
            with path.open(encoding="ascii", errors="replace") as page:
                for line in map(str.rstrip, page):
                    name = name_in_line(line)
                    if name is not None and name not in self._lines and (names is None or name in names):
                        self._lines[name] = line
        except OSError:
            return

    def write(self, path: Path) -> None:
        """Writes the page in one step, its images sorted by name. Raises SaveError with the reason."""
        before, after = self._page().split(IMAGES)
        with open_atomically(path) as target:
            target.write(before.encode())
            for _, line in sorted(self._lines.items()):
                target.write(f"{line}\n".encode())
            target.write(after.encode())

    def _page(self) -> str:
        """All but the images."""
        style, script = _part("page.css"), "".join(map(_part, SCRIPTS))
        report: dict[str, Any] = {
            "title": self.title,
            "about": self.about,
            "columns": self.columns,
            "tables": [table._asdict() for table in self.tables],
            "figures": self._figures,
        }
        # By their hashes nothing but these two may run or style, whatever a file's name might bring in.
        return Template(_part("page.html")).substitute(
            title=html.escape(self.title).encode("ascii", "xmlcharrefreplace").decode(),
            report=as_json(report),
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
        )


def _part(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a Content-Security-Policy names an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
