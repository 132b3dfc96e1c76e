"""Reads JSON, whatever a file contains: every fault is reported as one line for the user."""

import json
from pathlib import Path
from typing import Any

from options.errors import UserError
from options.mistakes import shortened_key

LARGEST_FILE = 64 * 2**20
"""[bytes]; the files that are read here usually have a few thousand."""
DEEPEST = 64
"""Levels of nested sections and lists."""
TOO_DEEP = f"sections and lists are nested more than {DEEPEST} deep; give fewer levels"
LONGEST_NUMBER = 400
"""Digits; the largest number that fits a float has 309."""


def read_json(path: str | Path, remedy: str) -> Any:
    """The data of a JSON file.

    remedy  what the user can do if the file cannot be read or is not JSON; the end of such an error's line
    Raises UserError, whose line begins with the file's name.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UserError(f"larger than {LARGEST_FILE >> 20} MiB; {remedy}")
        return json_data(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}; {remedy}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8; {remedy}") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def json_data(text: str) -> Any:
    """The data of a JSON text.

    Raises JSONDecodeError where the text is not JSON, and UserError for repeated keys, very long numbers, very deep
    nesting and halves of characters.
    """
    try:
        data = json.loads(text, object_pairs_hook=_refuse_repeated_keys, parse_int=_whole_number)
    except RecursionError:
        raise UserError(TOO_DEEP) from None
    _refuse_unfit(data, "")
    return data


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A section of these pairs. By default Python silently keeps the last of two equal keys: one loss would be lost."""
    section: dict[str, Any] = {}
    for key, value in pairs:
        if key in section:
            raise UserError(f'the key "{shortened_key(key)}" appears twice in one section; keep one')
        section[key] = value
    return section


def _whole_number(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise UserError(f"a number of {len(digits)} digits given ({digits[:20]}...); give a smaller one")
    return int(digits)


def _refuse_unfit(data: Any, place: str, depth: int = 0) -> None:
    """UserError for data that is nested too deeply, and for text that contains half a character."""
    if depth > DEEPEST:
        raise UserError(TOO_DEEP)
    if isinstance(data, str):
        refuse_half_characters(data, place or "the text")
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        here = f"{place}.{shortened_key(str(key))}" if place else shortened_key(str(key))
        refuse_half_characters(str(key), here)
        _refuse_unfit(value, here, depth + 1)


def refuse_half_characters(text: str, place: str) -> None:
    """UserError for text with one half of a surrogate pair: it cannot be written to a file."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise UserError(f"{place}: {half} is half a character; write the whole character") from None
