"""An image of the report, and the line of the page that holds it."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from restore.files.paths import printable
from restore.report.pictures import crop_uri, histogram, removed_uri, thumbnail_uri, whole_uri

THUMBNAIL = 96  # px
HEAD, PICTURES = {"name", "names", "facts", "metrics", "warnings", "thumbnail"}, {"crop", "whole", "removed"}
"""The keys of an image's two parts."""
LINE = re.compile(
    r'<script type="application/json" class="image">([^<]*)</script>'
    r'<script type="application/json" class="pictures">([^<]*)</script>'
)


class Shown(NamedTuple):
    """An image of the report, before and after."""

    name: str
    """The file's path in the input folder."""
    crop: Mapping[str, np.ndarray]
    """A part at full size, by the names of the pictures in the order shown, such as recorded, restored, clean: each
    (h, w, 3) uint8 sRGB, all of one size; 480 x 480 pixels go into most windows."""
    whole: Mapping[str, np.ndarray]
    """The whole frame, reduced, likewise; about 800 pixels wide."""
    removed: Mapping[str, np.ndarray] = {}
    """What was removed from the crop, by the names of its planes (R, G1, G2, B): (h, w) float, before - after; empty
    where before and after cannot be subtracted."""
    unit: str = "standard deviations of the noise"
    """Of what was removed, so that noise has a standard deviation of 1."""
    facts: Mapping[str, str] = {}
    """What is known of the image, by title: ISO speed, noise and where it is from, strength, size, outputs."""
    metrics: Mapping[str, Mapping[str, float | None]] = {}
    """By the names of the pictures, the one that the others are compared with first; empty without a clean image."""
    warnings: tuple[str, ...] = ()


def page_line(shown: Shown) -> str:
    """The line of the page for an image: what the list needs of it at once, then its pictures, read when they are
    looked at."""
    head = {
        "name": printable(shown.name),
        "names": list(shown.crop),
        "facts": dict(shown.facts),
        "metrics": {name: _finite(metrics) for name, metrics in shown.metrics.items()},
        "warnings": list(shown.warnings),
        "thumbnail": thumbnail_uri(list(shown.whole.values())[-1], THUMBNAIL),
    }
    pictures = {
        "crop": _same_size(shown.crop) | {"uris": {name: crop_uri(crop) for name, crop in shown.crop.items()}},
        "whole": _same_size(shown.whole) | {"uris": {name: whole_uri(whole) for name, whole in shown.whole.items()}},
        "removed": None,
    }
    if shown.removed:
        pictures["removed"] = {
            "uri": removed_uri(shown.removed),
            "unit": shown.unit,
            "planes": {name: histogram(plane) for name, plane in shown.removed.items()},
        }
    return (
        f'<script type="application/json" class="image">{as_json(head)}</script>'
        f'<script type="application/json" class="pictures">{as_json(pictures)}</script>'
    )


def name_in_line(line: str) -> str | None:
    """The name of the image that a line of a page holds; None where the line is no whole one."""
    found = LINE.fullmatch(line)
    try:
        head, pictures = (json.loads(part) for part in found.groups()) if found else ({}, {})
        whole = set(head) == HEAD and set(pictures) == PICTURES and isinstance(head["name"], str)
    except (ValueError, TypeError):
        return None
    return head["name"] if whole else None


def as_json(data: Any) -> str:
    """JSON in ASCII that a <script> can hold whatever is in it, in one line."""
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def _same_size(pictures: Mapping[str, np.ndarray]) -> dict[str, Any]:
    sizes = {picture.shape for picture in pictures.values()}
    assert len(sizes) == 1, f"pictures of the sizes {sizes} lie over one another"
    height, width = sizes.pop()[:2]
    return {"width": width, "height": height}


def _finite(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: value if value is not None and math.isfinite(value) else None for name, value in metrics.items()}
