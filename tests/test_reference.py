"""The reference: options/schema.json and the READMEs' tables are what the code says, and every section is in one."""

import re
from typing import Literal

import pytest

from losses import LOSSES
from losses.term import TermOptions
from restore.training import reference


@pytest.fixture
def huber(monkeypatch):
    """A loss of one's own in the table, which no README knows."""

    class Huber(TermOptions):
        """Quadratic below delta, linear above."""

        class_name: Literal["Huber"] = "Huber"
        delta: float = 1.0
        """Where the one | becomes the other."""
        reduction: Literal["mean", "sum"] = "mean"
        """What becomes of the pixels."""

    monkeypatch.setitem(LOSSES.kinds, "Huber", Huber)


def test_schema_and_tables_are_those_of_the_code(capsys):
    status = reference.main(["--check"])
    assert (status, capsys.readouterr().out) == (0, "")


def test_every_section_is_in_a_readme():
    assert reference.undocumented() == []


def test_a_new_part_makes_the_check_fail_and_is_written_with_its_keys(huber, capsys):
    assert reference.main(["--check"]) == 1
    assert "losses/README.md: not as the code has it" in capsys.readouterr().out
    readme = next(readme for readme in reference.readmes() if "LOSSES" in readme.names)
    lines = reference.filled(readme).splitlines()
    assert "| `Huber` | Quadratic below delta, linear above. |" in lines
    assert "| `delta` | `1.0` | Where the one \\| becomes the other. |" in lines
    assert '| `reduction` | `"mean"` | What becomes of the pixels. One of `"mean"`, `"sum"`. |' in lines


def test_a_key_of_every_loss_is_documented_once():
    readme = next(readme for readme in reference.readmes() if "LOSSES" in readme.names)
    assert reference.filled(readme).count("| `weight` |") == 1


def test_a_marker_that_names_nothing_is_an_error():
    readme = reference.Readme(reference.Path("x/README.md"), "<!-- options: Crops -->\n<!-- end -->\n")
    with pytest.raises(ValueError, match=r"^x/README\.md: <!-- options: Crops -->: no section"):
        reference.filled(readme)


def texts_in_the_repository():
    paths = [reference.ROOT / ".github/CONTRIBUTING.md", *reference.ROOT.glob("[!.]*/README.md")]
    return [reference.ROOT / "README.md", *paths, *reference.ROOT.glob("restore/*/README.md")]


@pytest.mark.parametrize("path", texts_in_the_repository(), ids=lambda path: path.parent.name)
def test_links_between_the_texts_lead_to_files_and_headings(path):
    for file, heading in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", path.read_text(encoding="utf-8")):
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{path}: {file}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}
            assert heading in anchors, f"{path}: {file}#{heading}"
