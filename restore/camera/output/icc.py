"""ICC profiles of sRGB and of linear values of its colours, which tell other programs what a picture's numbers mean.

Source: ICC.1:2022 (profile version 4.4); IEC 61966-2-1, the primaries adapted from D65 to D50 by Bradford's matrix.
"""

import struct

COLOURS = {
    "rXYZ": (0.43606567, 0.22248840, 0.01391602),
    "gXYZ": (0.38514709, 0.71687317, 0.09707642),
    "bXYZ": (0.14306641, 0.06060791, 0.71409607),
}
D50 = (0.96420288, 1.0, 0.82490540)
BRADFORD = (
    1.04788208,
    0.02291870,
    -0.05021667,
    0.02958679,
    0.99047852,
    -0.01707458,
    -0.00923157,
    0.01507568,
    0.75167847,
)
"""From D65 to D50."""
SRGB_CURVE = (3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""Function 3: (a x + b) ** g from d on, c x below it."""
LINEAR = (0, 1.0)
"""Function 0: x ** g."""


def srgb_profile() -> bytes:
    return _profile("sRGB", SRGB_CURVE)


def linear_srgb_profile() -> bytes:
    return _profile("Linear sRGB", LINEAR)


def _profile(name: str, curve: tuple[float, ...]) -> bytes:
    function, *parameters = curve
    shape = b"para" + struct.pack(">4xHxx", function) + _fixed(parameters)
    tags = {
        "desc": _text(name),
        "cprt": _text("No copyright, use freely"),
        "wtpt": b"XYZ \0\0\0\0" + _fixed(D50),
        "chad": b"sf32\0\0\0\0" + _fixed(BRADFORD),
        **{colour: b"XYZ \0\0\0\0" + _fixed(place) for colour, place in COLOURS.items()},
        **dict.fromkeys(("rTRC", "gTRC", "bTRC"), shape),
    }
    places, content = {}, b""
    start = 128 + 4 + 12 * len(tags)
    for data in tags.values():
        if data not in places:  # the three curves are one
            places[data] = start + len(content)
            content += data + bytes(-len(data) % 4)
    table = struct.pack(">I", len(tags))
    table += b"".join(tag.encode() + struct.pack(">II", places[data], len(data)) for tag, data in tags.items())
    head = struct.pack(">I4xI4s4s4s", start + len(content), 0x04400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s", 2022, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _fixed(D50)
    return head.ljust(128, b"\0") + table + content


def _fixed(values: tuple[float, ...] | list[float]) -> bytes:
    """Numbers as s15Fixed16."""
    return b"".join(struct.pack(">i", round(65536 * value)) for value in values)


def _text(value: str) -> bytes:
    letters = value.encode("utf-16-be")
    return struct.pack(">4s4xII2s2sII", b"mluc", 1, 12, b"en", b"US", len(letters), 28) + letters
