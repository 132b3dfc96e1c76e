"""Reads raw files: the mosaic as recorded, and the metadata of the camera."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import rawpy
import torch

from restore.camera.raw_tags import RawTags, read_tags
from restore.files.checks import refuse_too_large
from restore.files.images import BadImage
from restore.files.paths import printable
from transforms.sensor.bayer import PATTERNS, Pattern
from transforms.sensor.cameras import Camera
from transforms.sensor.metadata import NoiseProfile, RawMetadata

RAW_SUFFIXES = {
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".kdc", ".mef", ".mos"),
    *(".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw"),
}
UNKNOWN_CAMERA = "unknown camera"
READER_VERSION = 2
"""Raise it by one when read_raw gives other values of any file: stored images are then decoded anew."""

# A file whose values are beyond these limits is taken for damaged: real cameras stay far within them.
LEAST_RANGE = 15
"""White level - black level [DN]: four bits."""
LARGEST_FACTOR = 16
"""Of the white balance; 1 / LARGEST_FACTOR is the smallest. Real factors lie between 0.3 and 5."""
LARGEST_CONDITION = 100
"""Condition number of the colour matrix, its rows summing to 1. Real ones are below 10."""

ORIENTATIONS = {0: 1, 1: 2, 3: 3, 2: 4, 4: 5, 6: 6, 7: 7, 5: 8}
"""EXIF's orientation by LibRaw's flip."""


class Margins(NamedTuple):
    """Rows and columns of the sensor outside the visible area [px]."""

    top: int
    left: int
    bottom: int
    right: int


class RawFile(NamedTuple):
    """What a raw file holds. G1 is the green in the rows of R, G2 the green in the rows of B."""

    path: Path
    frame: np.ndarray
    """(H + margins, W + margins) uint16: the whole sensor [DN]."""
    data: np.ndarray
    """(H, W) uint16: the visible area as recorded, black level included [DN], a view of the frame. H and W may be odd.
    It is not turned by the orientation."""
    pattern: Pattern
    """The colours of its first two rows."""
    black: np.ndarray
    """(4,) float64 black levels of R, G1, G2, B [DN]."""
    white: float
    """White level [DN]. Single pixels may lie above it."""
    margins: Margins
    orientation: int
    """EXIF's orientation, 1 to 8: how data has to be turned to be upright. 1: not at all, 3: by 180 degrees, 6: by 90
    clockwise, 8: by 90 counterclockwise."""
    metadata: RawMetadata
    """float32. rgb_to_camera is the identity where neither the file nor LibRaw knows the camera's colours. The white
    balance is as shot, with green = 1, or that of daylight where the file has none. The noise is known only for a DNG
    with a noise profile."""
    xyz_to_camera: np.ndarray | None
    """(3, 3) float64: LibRaw's matrix of the camera under D65, as a DNG's ColorMatrix; None where it has none."""
    make: str
    """The camera's maker as the file has it, "NIKON CORPORATION"; empty where it does not say."""
    model: str
    """As the file has it, "NIKON D750" or "ILCE-7M3"; empty where it does not say."""
    iso: float | None
    """None where the file does not say."""
    exposure_time: float | None
    """[s]; None where the file does not say."""
    noise_reduction: float | None
    """How much noise reduction a DNG has been given, above 0 to 1; None for none, or where the file does not say."""
    taken: float | None
    """When it was taken [s since 1970], if the camera's clock ran by the local time; None where the file does not
    say."""

    @property
    def camera(self) -> str:
        """Make and model, the make only once: "NIKON D750", "SONY ILCE-7M3"; or "unknown camera"."""
        if self.make and self.model.lower().startswith(self.make.split()[0].lower()):
            return self.model
        return f"{self.make} {self.model}".strip() or UNKNOWN_CAMERA

    def linear(self) -> np.ndarray:
        """(H, W) float32: 0 = black level, 1 = white level at every site; not clipped."""
        return linear(self.data, self.pattern, self.black, self.white)


def linear(values: np.ndarray, pattern: Pattern, black: np.ndarray, white: float) -> np.ndarray:
    """A mosaic (H, W) [DN] as float32: 0 = black level, 1 = white level at every site; not clipped.

    black  (4,) levels of R, G1, G2, B [DN]
    """
    mosaic = values.astype(np.float32)
    for (row, column), level in zip(sites(pattern), black, strict=True):
        site = mosaic[row::2, column::2]
        site -= level
        site /= white - level
    return mosaic


def sites(pattern: Pattern) -> list[tuple[int, int]]:
    """Row and column of R, G1, G2 and B in the first cell of 2 x 2."""
    row, column = divmod(pattern.index("R"), 2)
    return [(row, column), (row, 1 - column), (1 - row, column), (1 - row, 1 - column)]


def read_raw(path: str | Path) -> RawFile:
    """Decodes a raw file with a Bayer mosaic: a DNG, or any other kind that LibRaw knows.

    Raises BadImage for everything else: files that are not raw or are damaged, full colour at each site (linear DNG,
    sRaw, Foveon), other mosaics (X-Trans, quad Bayer, other colours than RGB), monochrome sensors.
    """
    _refuse_unreadable(path)
    tags = read_tags(path)
    if tags.cut_off:
        raise _unusable(path)
    try:
        with _opened(Path(path)) as raw:
            return _raw_file(Path(path), raw, tags)
    except BadImage:
        raise
    except Exception as error:  # a damaged file makes rawpy raise nearly anything, NotImplementedError too
        raise _unusable(path) from error


def _opened(path: Path) -> rawpy.RawPy:
    if printable(path) == str(path):
        return rawpy.imread(str(path))
    with path.open("rb") as file:  # rawpy wants names in UTF-8
        return rawpy.imread(file)


def _unusable(path: str | Path) -> BadImage:
    return BadImage(
        path, "is no raw file, damaged, cut off or of a kind that LibRaw cannot read", "copy it again or remove it"
    )


def _raw_file(path: Path, raw: rawpy.RawPy, tags: RawTags) -> RawFile:
    refuse_too_large(path, raw.sizes.raw_width, raw.sizes.raw_height)
    # LibRaw drops a first row or column of a DNG to make the margins even.
    size, first = raw.sizes, (raw.sizes.top_margin, raw.sizes.left_margin)
    origin = tags.origin or first
    dropped = [int(kept - visible == 1) for kept, visible in zip(first, origin, strict=True)]
    top, left = first[0] - dropped[0], first[1] - dropped[1]
    pattern, cell = _bayer_cell(path, raw, dropped)
    rggb = tuple(zip(*sites(pattern), strict=True))
    if tags.misread is not None:
        raise BadImage(path, f"{tags.misread}, which LibRaw misreads", "convert it to a plain DNG of 16 bits")
    shift = (origin[0] - top, origin[1] - left)
    black = np.array(raw.black_level_per_channel)[cell] if tags.black is None else np.roll(tags.black, shift, (0, 1))
    _refuse_impossible_levels(path, black, raw.white_level)
    frame, (bottom, right) = raw.raw_image.copy(), raw.raw_image_visible.shape
    bottom, right = bottom + size.top_margin, right + size.left_margin
    xyz_to_camera = raw.rgb_xyz_matrix[:3].astype(np.float64)
    return RawFile(
        path=path,
        frame=frame,
        data=frame[top:bottom, left:right],
        pattern=pattern,
        black=black[rggb].astype(np.float64),
        white=float(raw.white_level),
        margins=Margins(top, left, frame.shape[0] - bottom, frame.shape[1] - right),
        orientation=ORIENTATIONS.get(size.flip, 1),
        metadata=RawMetadata(
            Camera(_float32(_rgb_to_camera(path, raw)), _float32(_white_balance(path, raw))),
            _noise(tags, shift, rggb),
        ),
        xyz_to_camera=xyz_to_camera if xyz_to_camera.any() else None,
        make=tags.make,
        model=tags.model,
        iso=_positive(raw.other.iso_speed) or tags.iso,
        exposure_time=_positive(raw.other.shutter_speed) or tags.exposure_time,
        noise_reduction=tags.noise_reduction,
        taken=_positive(raw.other.timestamp.timestamp()),
    )


def _bayer_cell(path: Path, raw: rawpy.RawPy, dropped: list[int]) -> tuple[Pattern, np.ndarray]:
    """The pattern, and the colours (2, 2) of the first cell as LibRaw numbers them: 0 R, 1 and 3 G, 2 B.

    dropped  rows and columns before LibRaw's first
    """
    if raw.raw_type != rawpy.RawType.Flat:
        raise BadImage(
            path,
            "has whole colours at each site (linear DNG, sRaw, Foveon) and no mosaic",
            "take the original raw file",
        )
    if raw.num_colors == 1:
        raise BadImage(path, "comes from a monochrome sensor and has no mosaic", "take a colour camera's file")
    # Not raw_pattern, which begins at the sensor's corner.
    cell = np.roll(raw.raw_colors_visible[:2, :2], dropped, (0, 1))
    pattern = "".join("RGBG"[colour] for colour in cell.flat)
    # LibRaw shows a cell of larger mosaics too, but never with R, B and both greens in it.
    if raw.color_desc != b"RGBG" or sorted(cell.flat) != [0, 1, 2, 3] or pattern not in PATTERNS:
        raise BadImage(path, "has no Bayer mosaic (X-Trans, quad Bayer or other colours)", "take a Bayer camera's file")
    return pattern, cell


def _refuse_impossible_levels(path: Path, black: np.ndarray, white: float) -> None:
    if not (np.isfinite(black) & (black >= 0)).all():
        levels = ", ".join(f"{level:g}" for level in np.ravel(black))
        raise BadImage(path, f"has impossible black levels ({levels} DN)", "mend its tags or remove it")
    if white <= black.max():
        raise BadImage(
            path, f"has white ({white:g} DN) at or below black ({black.max():g} DN)", "mend its tags or remove it"
        )
    if white - black.max() < LEAST_RANGE:
        raise BadImage(
            path,
            f"has white ({white:g} DN) less than {LEAST_RANGE} DN above black ({black.max():g} DN)",
            "mend its tags or remove it",
        )


def _rgb_to_camera(path: Path, raw: rawpy.RawPy) -> np.ndarray:
    """(3, 3). LibRaw's rgb_xyz_matrix is empty for cameras not in its table, so color_matrix is inverted."""
    camera_to_rgb = raw.color_matrix[:, :3].astype(np.float64)
    if not camera_to_rgb.any():
        return np.eye(3)
    try:
        matrix = np.linalg.inv(camera_to_rgb)
        with np.errstate(divide="ignore", invalid="ignore"):
            matrix /= matrix.sum(axis=1, keepdims=True)
        possible = np.linalg.cond(matrix) <= LARGEST_CONDITION
    except np.linalg.LinAlgError:
        possible = False
    if not possible:
        raise BadImage(path, "has a ColorMatrix that does not tell colours apart", "mend its tags or remove it")
    return matrix


def _white_balance(path: Path, raw: rawpy.RawPy) -> np.ndarray:
    as_shot, daylight = np.array(raw.camera_whitebalance[:3]), np.array(raw.daylight_whitebalance[:3])
    factors = as_shot if (as_shot > 0).all() else daylight
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = factors / factors[1]
    if not ((factors >= 1 / LARGEST_FACTOR) & (factors <= LARGEST_FACTOR)).all():
        red, _, blue = factors
        raise BadImage(
            path, f"has an impossible white balance (red {red:g}, blue {blue:g})", "mend its tags or remove it"
        )
    return factors


def _noise(tags: RawTags, shift: tuple[int, int], rggb: tuple) -> NoiseProfile:
    if tags.noise is None:
        return NoiseProfile.unknown()
    return NoiseProfile(*_float32(np.roll(tags.noise, shift, (0, 1))[rggb].T))


def _float32(values: np.ndarray) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


def _positive(value: float) -> float | None:
    return value if 0 < value < np.inf else None


def _refuse_unreadable(path: str | Path) -> None:
    """Raises BadImage with the reason, which LibRaw does not tell."""
    try:
        with Path(path).open("rb") as file:
            beginning = file.read(1)
    except OSError as error:
        raise BadImage(path, f"cannot be read ({error.strerror})", "check the path and who may read it") from None
    if not beginning:
        raise BadImage(path, "is an empty file", "copy it again or remove it")
