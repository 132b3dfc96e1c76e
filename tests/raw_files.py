"""DNG files that tests write: small raw images with just the tags that a test is about."""

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import tifffile

from restore.camera.restored_raw import RestoredRaw

BYTE, ASCII, SHORT, LONG, RATIONAL, SRATIONAL, DOUBLE = 1, 2, 3, 4, 5, 10, 12
PHOTOMETRIC, EXIF, HELD_FOR_EXIF, ISO = 262, 34665, 34666, 34855
LINEAR_RAW = 34892
D65 = 21

MATRIX = ((0.7034, -0.0804, -0.1014), (-0.4420, 1.2564, 0.2058), (-0.0851, 0.1994, 0.5758))
"""XYZ to camera of a Canon EOS 6D, as its DNG files give it."""


def write_dng(
    path: Path,
    mosaic: np.ndarray,
    pattern: str = "RGGB",
    black=(0, 0, 0, 0),
    white: int = 65535,
    color_matrix=None,
    as_shot_neutral=None,
    noise_profile=None,
    plane_colours: str = "RGB",
    iso: int | None = None,
    active_area: tuple[int, int, int, int] | None = None,
    camera: tuple[str, str] = ("Acme", "Mosaica 1"),
    in_sub_ifd: bool = False,
    more_tags=(),
) -> Path:
    """Writes a DNG and returns its path.

    mosaic           (H, W) uint16 [DN]; (H, W, 3): a linear DNG
    pattern          colours of the active area's first cell in reading order, 4, 16 or 36 letters; "": monochrome
    black            levels of R, G1, G2, B [DN]; G1 is the green in the row of R
    white            level of all [DN]
    color_matrix     (3, 3) XYZ to camera under D65
    as_shot_neutral  (3,) how the camera saw a grey: 1 / white balance
    noise_profile    pairs (shot, read): one, three or four
    plane_colours    the order of the planes that three pairs, the matrix and the neutral are for
    active_area      top, left, bottom, right of the part that is picture; None: all
    in_sub_ifd       the raw image lies in a sub-IFD behind a preview, as Adobe's converter writes it
    more_tags        further tags of the first directory: (code, type, count, value)
    """
    about = [
        (50706, BYTE, 4, bytes((1, 4, 0, 0)), True),
        (50707, BYTE, 4, bytes((1, 2, 0, 0)), True),
        *((code, ASCII, 0, text, True) for code, text in zip((271, 272), camera, strict=True)),
        (50708, ASCII, 0, " ".join(camera), True),
    ]
    about += [(*tag, True) for tag in more_tags]
    if color_matrix is not None:
        about += [(50721, SRATIONAL, 9, _fractions(np.ravel(color_matrix)), True), (50778, SHORT, 1, D65, True)]
    if as_shot_neutral is not None:
        about += [(50728, RATIONAL, 3, _fractions(as_shot_neutral), True)]
    if iso is not None:
        about += [(HELD_FOR_EXIF, LONG, 1, 0, True)]
    raw = [(50717, LONG, 1, white, True)]
    if pattern:
        side = int(len(pattern) ** 0.5)
        colours = bytes("RGB".index(colour) for colour in pattern)
        raw += [(33421, SHORT, 2, (side, side), True), (33422, BYTE, side * side, colours, True)]
        raw += [(50710, BYTE, 3, bytes("RGB".index(colour) for colour in plane_colours), True)]
    if len(pattern) == 4:
        raw += [(50713, SHORT, 2, (2, 2), True), (50714, RATIONAL, 4, _fractions(by_site(black, pattern).flat), True)]
    if active_area:
        raw += [(50829, LONG, 4, active_area, True)]
    if noise_profile is not None:
        raw += [(51041, DOUBLE, np.size(noise_profile), tuple(np.ravel(noise_profile).tolist()), True)]
    kind = LINEAR_RAW if mosaic.ndim == 3 else "cfa" if pattern else "minisblack"
    with tifffile.TiffWriter(path, byteorder="<") as file:
        if in_sub_ifd:
            preview = np.zeros((16, 16, 3), np.uint8)
            file.write(preview, photometric="rgb", subfiletype=1, subifds=1, extratags=about, metadata=None)
            about = []
        samples = {"planarconfig": "contig"} if mosaic.ndim == 3 else {}
        file.write(mosaic, photometric=kind, subfiletype=0, extratags=about + raw, metadata=None, **samples)
    _mend(path, iso, monochrome=not pattern and mosaic.ndim == 2)
    return path


def restored_raw(source, mosaic=None, pattern=None, strength=1.0, noise_left=None) -> RestoredRaw:
    """A raw file as it was restored: to a mosaic, or to its own."""
    mosaic = source.linear() if mosaic is None else mosaic
    return RestoredRaw(
        source, mosaic, pattern or source.pattern, strength, source.metadata.noise, "the test", noise_left
    )


def by_site(values, pattern: str) -> np.ndarray:
    """Values of R, G1, G2, B as the cell (2, 2) of a pattern has them."""
    row, column = divmod(pattern.index("R"), 2)
    return np.roll(np.reshape(values, (2, 2)), (row, column), axis=(0, 1))


def _mend(path: Path, iso: int | None, monochrome: bool) -> None:
    """What tifffile does not write: an EXIF directory, linear raw of one sample."""
    with tifffile.TiffFile(path) as file:
        places = {tag.code: tag.offset for tag in file.pages[0].tags}
    with path.open("r+b") as file:
        if iso is not None:
            directory = file.seek(0, 2)
            file.write(struct.pack("<HHHIII", 1, ISO, SHORT, 1, iso, 0))
            file.seek(places[HELD_FOR_EXIF])
            file.write(struct.pack("<HHII", EXIF, LONG, 1, directory))
        if monochrome:
            file.seek(places[PHOTOMETRIC])
            file.write(struct.pack("<HHII", PHOTOMETRIC, SHORT, 1, LINEAR_RAW))


def _fractions(values) -> tuple[int, ...]:
    """Numerators and denominators in turn, as the RATIONAL types want them."""
    fractions = [Fraction(float(value)).limit_denominator(100_000) for value in values]
    return tuple(number for fraction in fractions for number in (fraction.numerator, fraction.denominator))
