"""JSON files as users may leave them: every fault is one line with the file's name."""

import json

import pytest

from options.errors import UserError
from options.json_data import read_json
from options.overrides import apply_overrides
from restore.runs.information import Information
from restore.training.option_file import read_option_file
from transforms.noise import read_profile

FAULTS = [
    ("[" * 500 + "]" * 500, "nested more than 64 deep"),
    ("[" * 100_000 + "]" * 100_000, "nested more than 64 deep"),
    ('{"a": ' * 80 + "1" + "}" * 80, "nested more than 64 deep"),
    ('{"seed": ' + "9" * 5000 + "}", "a number of 5000 digits given"),
    ('{"name": ["ok", "half \\ud83d"]}', r"name\.1: .ud83d is half a character"),
    ('{"\\ud83d": 1}', "ud83d is half a character"),
    ('{"a": 1, "a": 2}', 'the key "a" appears twice'),
    ('{"a": 1,,}', "line 1, column 9: not JSON: "),
    ("", "line 1, column 1: not JSON: "),
]


@pytest.mark.parametrize("read", [read_option_file, read_profile, Information], ids=lambda read: read.__name__)
@pytest.mark.parametrize(("text", "line"), FAULTS, ids=range(len(FAULTS)))
def test_a_fault_of_a_file_is_one_line_that_names_it(tmp_path, read, text, line):
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(UserError, match=line) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    assert message.isascii()


def test_a_file_that_begins_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "file.json").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(tmp_path / "file.json", "give another") == {}


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_what_cannot_be_read_is_told_with_the_remedy(tmp_path, content):
    path = tmp_path / "file.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"; give another$"):
        read_json(path, "give another")


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("a=" + "[" * 3000 + "]" * 3000, "nested more than 64 deep"),
        (".".join("a" * 2000) + "=1", "nested more than 64 deep"),
        ("a=" + "9" * 5000, "a number of 5000 digits given"),
        ("a=\udcff", "half a character"),
        ('a="\\ud83d"', "half a character"),
        ("\udcff=1", "half a character"),
    ],
    ids=range(6),
)
def test_a_fault_of_an_override_is_one_short_line(override, line):
    with pytest.raises(UserError, match=f"^--set .*: .*{line}") as caught:
        apply_overrides({}, [override])
    assert len(str(caught.value)) < 200
    assert str(caught.value).isascii()


def test_a_text_that_is_no_json_is_a_text(tmp_path):
    assert apply_overrides({}, ["name=other words", "b=[1, 2]"]) == {"name": "other words", "b": [1, 2]}
    assert json.dumps(apply_overrides({}, ["a=1e3"])) == '{"a": 1000.0}'
