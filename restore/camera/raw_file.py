"""Raw files in: the mosaic in linear units, and what the file says of the camera that took it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import rawpy

from restore.camera.raw_tags import read_tags
from restore.files.images import BadImage

RAW_SUFFIXES = {
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".kdc", ".mef", ".mos"),
    *(".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw"),
}
READER_VERSION = 1
"""Raise it by one when read_raw gives other values of any file: stored images are then decoded anew."""


class RawFile(NamedTuple):
    """What a raw file holds. G1 is the green in the rows of R, G2 the green in the rows of B."""

    mosaic: np.ndarray
    """(H, W) float32, linear, 0 = black level, 1 = white level at every site; not clipped. H and W may be odd. It lies
    as the sensor does: the orientation that the file asks for is not applied."""
    pattern: str
    """The colours of its first two rows: "RGGB", "GRBG", "GBRG" or "BGGR"."""
    black: np.ndarray
    """(4,) black levels of R, G1, G2, B [DN]."""
    white: float
    """White level [DN]."""
    rgb_to_camera: np.ndarray
    """(3, 3): camera = matrix @ linear sRGB; each row sums to 1, so that grey stays grey. The identity where neither
    the file nor LibRaw knows the camera's colours."""
    white_balance: np.ndarray
    """(3,) factors for R, G and B as shot, green 1; those of daylight where the file has none."""
    noise_profile: tuple[np.ndarray, np.ndarray] | None
    """(shot (4,), read (4,)) of R, G1, G2, B: variance = shot * signal + read [1]; None but for a DNG that has one."""
    camera: str
    """Make and model, or "unknown camera"."""
    iso: float | None
    """None where the file does not say."""


def read_raw(path: str | Path) -> RawFile:
    """Decodes a raw file with a Bayer mosaic: a DNG, or any other kind that LibRaw knows.

    Raises BadImage for everything else: no raw file, a damaged one, whole colours at each site (linear DNG, sRaw,
    Foveon), other mosaics (X-Trans, quad Bayer, other colours than RGB), monochrome sensors.
    """
    _refuse_unreadable(path)
    try:
        with rawpy.imread(str(path)) as raw:
            return _facts(path, raw)
    except rawpy.LibRawError:
        raise BadImage(
            path, "is no raw file, damaged, cut off or of a kind that LibRaw cannot read", "copy it again or remove it"
        ) from None


def _facts(path: str | Path, raw: rawpy.RawPy) -> RawFile:
    colours = _bayer_cell(path, raw)
    tags = read_tags(path)
    if tags.misread is not None:
        raise BadImage(path, f"{tags.misread}, which LibRaw misreads", "convert it to a plain DNG of 16 bits")
    # LibRaw drops a first row or column to make the margins even, and a DNG counts from its own.
    shift = (tags.origin[0] - raw.sizes.top_margin, tags.origin[1] - raw.sizes.left_margin)
    black = np.array(raw.black_level_per_channel)[colours] if tags.black is None else np.roll(tags.black, shift, (0, 1))
    white = float(raw.white_level)
    if white <= black.max():
        raise BadImage(
            path, f"has white ({white:g} DN) at or below black ({black.max():g} DN)", "mend its tags or remove it"
        )

    mosaic = raw.raw_image_visible.astype(np.float32)
    for row, column in np.ndindex(2, 2):
        site = mosaic[row::2, column::2]
        site -= black[row, column]
        site /= white - black[row, column]

    row, column = np.argwhere(colours == 0)[0]
    rggb = ([row, row, 1 - row, 1 - row], [column, 1 - column, column, 1 - column])
    noise = None if tags.noise is None else np.roll(tags.noise, shift, (0, 1))[rggb]
    return RawFile(
        mosaic=mosaic,
        pattern="".join("RGBG"[colour] for colour in colours.flat),
        black=black[rggb].astype(np.float64),
        white=white,
        rgb_to_camera=_rgb_to_camera(path, raw),
        white_balance=_white_balance(raw),
        noise_profile=None if noise is None else (noise[:, 0], noise[:, 1]),
        camera=tags.camera,
        iso=raw.other.iso_speed or None,
    )


def _bayer_cell(path: str | Path, raw: rawpy.RawPy) -> np.ndarray:
    """The colours (2, 2) of the mosaic's first cell as LibRaw numbers them: 0 R, 1 and 3 G, 2 B."""
    if raw.raw_type != rawpy.RawType.Flat:
        raise BadImage(
            path,
            "has whole colours at each site (linear DNG, sRaw, Foveon) and no mosaic",
            "take the original raw file",
        )
    if raw.num_colors == 1:
        raise BadImage(path, "comes from a monochrome sensor and has no mosaic", "take a colour camera's file")
    cell = raw.raw_colors_visible[:2, :2]  # not raw_pattern, which begins at the sensor's corner
    # Of larger mosaics LibRaw shows a cell too, but never both greens, R and B in it.
    if raw.color_desc != b"RGBG" or sorted(cell.flat) != [0, 1, 2, 3]:
        raise BadImage(path, "has no Bayer mosaic (X-Trans, quad Bayer or other colours)", "take a Bayer camera's file")
    return cell


def _rgb_to_camera(path: str | Path, raw: rawpy.RawPy) -> np.ndarray:
    """From LibRaw's matrix from camera to linear sRGB, since rgb_xyz_matrix is empty for cameras not in its table."""
    camera_to_rgb = raw.color_matrix[:, :3].astype(np.float64)
    if not camera_to_rgb.any():
        return np.eye(3)
    try:
        matrix = np.linalg.inv(camera_to_rgb)
    except np.linalg.LinAlgError:
        raise BadImage(
            path, "has a ColorMatrix that does not tell colours apart", "mend its tags or remove it"
        ) from None
    return matrix / matrix.sum(axis=1, keepdims=True)


def _white_balance(raw: rawpy.RawPy) -> np.ndarray:
    as_shot, daylight = np.array(raw.camera_whitebalance[:3]), np.array(raw.daylight_whitebalance[:3])
    factors = as_shot if (as_shot > 0).all() else daylight
    return factors / factors[1]


def _refuse_unreadable(path: str | Path) -> None:
    """LibRaw does not say why it cannot open a file."""
    try:
        with Path(path).open("rb") as file:
            beginning = file.read(1)
    except OSError as error:
        raise BadImage(path, f"cannot be read ({error.strerror})", "check the path and who may read it") from None
    if not beginning:
        raise BadImage(path, "is an empty file", "copy it again or remove it")
