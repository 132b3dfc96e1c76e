"""What a restored raw file is written as: linear DNG for editors, and pictures as editors and LibRaw develop them."""

import io
import shutil
import struct
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import rawpy
import tifffile
from PIL import Image, ImageCms
from raw_files import LONG, MATRIX, RATIONAL, SHORT, SRATIONAL, restored_raw, write_dng

from options.errors import SaveError, UserError
from restore.camera.output.developing import developed
from restore.camera.output.formats import FORMATS, write_all
from restore.camera.output.icc import linear_srgb_profile
from restore.camera.output.opcodes import Operation, enlarged, opcode_list, operations, with_gain_maps
from restore.camera.raw_file import RawFile, read_raw
from restore.files.images import BadImage, read_image

REAL = Path(__file__).parents[2] / "shared" / "data" / "raw" / "good"
needs_real_files = pytest.mark.skipif(not REAL.exists(), reason="the real raw files are not there (shared/data/raw)")
PATTERNS = ["RGGB", "GRBG", "GBRG", "BGGR"]
UNDEFINED = 7
WHITE_BALANCE = np.array([2.0, 1.0, 1.5])


def mosaic_of(colours: np.ndarray, pattern: str) -> np.ndarray:
    """The mosaic (H, W) that a camera of this pattern records of colours (H, W, 3)."""
    rows, columns = np.indices(colours.shape[:2])
    sites = np.array(["RGB".index(colour) for colour in pattern])[rows % 2 * 2 + columns % 2]
    return np.take_along_axis(colours, sites[..., None], axis=2)[..., 0]


def photographed(path: Path, colours: np.ndarray, pattern="RGGB", margins=(0, 0), **facts) -> RawFile:
    """A DNG of a scene, camera colours (H, W, 3) from 0 to 1 before white balance, inside these margins."""
    top, left = margins
    height, width = colours.shape[:2]
    mosaic = np.zeros((height + top, width + left), np.uint16)
    mosaic[top:, left:] = (mosaic_of(colours, pattern) * 60000 + 2000).round()
    area = (top, left, top + height, left + width)
    facts = {"black": (2000,) * 4, "white": 62000, "as_shot_neutral": 1 / WHITE_BALANCE} | facts
    return read_raw(write_dng(path, mosaic, pattern, active_area=area, color_matrix=MATRIX, **facts))


def gradient(height: int, width: int) -> np.ndarray:
    """Camera colours that differ from corner to corner, and are grey once balanced."""
    rows, columns = np.mgrid[:height, :width]
    return (0.1 + 0.3 * rows / height + 0.1 * columns / width)[..., None] / WHITE_BALANCE


def srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@needs_real_files
@pytest.mark.parametrize("name", ["canon_550d_colorchart.dng", "kodak_dc50.kdc"])
def test_a_real_file_is_written_in_every_format_and_all_pictures_are_the_one_that_libraw_develops(name, tmp_path):
    restored = restored_raw(read_raw(REAL / name))
    paths = {format_: tmp_path / f"a{FORMATS[format_].suffix}" for format_ in FORMATS}
    unknown = ["the camera's colours are not known; sRGB's are taken in their place"]
    assert write_all(restored, paths) == (unknown if "kodak" in name else [])
    assert sorted(tmp_path.iterdir()) == sorted(paths.values())
    pictures = {format_: read_image(paths[format_]) for format_ in ("tiff", "png", "jpeg", "linear-tiff")}
    assert [picture.dtype for picture in pictures.values()] == [np.uint16, np.uint8, np.uint8, np.uint16]
    tiff = pictures["tiff"] / 65535
    assert abs(tiff - pictures["png"] / 255).max() <= 0.51 / 255
    assert abs(tiff - pictures["jpeg"] / 255).mean() < 0.01
    assert abs(tiff - srgb(pictures["linear-tiff"] / 65535)).max() < 1e-4
    for raw in ("dng", "linear-dng"):
        with rawpy.imread(str(paths[raw])) as file:
            theirs = file.postprocess(
                use_camera_wb=True, no_auto_bright=True, gamma=(2.4, 12.92), adjust_maximum_thr=0, output_bps=16
            )
        assert abs(tiff - theirs / 65535).mean() < 0.012
        assert abs(tiff - theirs / 65535).mean((0, 1)).max() < 0.02
        assert abs((tiff - theirs / 65535).mean((0, 1))).max() < 0.003


@pytest.mark.parametrize("pattern", PATTERNS)
def test_libraw_reads_from_a_linear_dng_the_values_of_every_site_that_the_mosaic_has(pattern, tmp_path):
    colours = np.random.default_rng(0).random((45, 67, 3))
    raw = photographed(tmp_path / "a.dng", colours, pattern, margins=(1, 3), more_tags=[(274, SHORT, 1, 6)])
    path = tmp_path / "linear.dng"
    assert write_all(restored_raw(raw), {"linear-dng": path}) == []
    with rawpy.imread(str(path)) as file:
        read = file.raw_image[..., :3].astype(float)
        assert (file.white_level, file.black_level_per_channel, file.sizes.flip) == (65535, [0] * 4, 6)
        np.testing.assert_allclose(np.array(file.camera_whitebalance[:3]) / file.camera_whitebalance[1], WHITE_BALANCE)
    assert read.shape == (45, 67, 3)
    np.testing.assert_allclose(mosaic_of(read, pattern), 65535 * raw.linear(), atol=0.6)


def test_a_linear_dng_keeps_what_holds_for_full_colour_only(tmp_path):
    lens = opcode_list([Operation(1, bytes(8), b"lens"), Operation(9, bytes(8), b"")])
    tags = [(51022, UNDEFINED, len(lens), lens), (51008, UNDEFINED, len(lens), lens), (50730, SRATIONAL, 1, (1, 2))]
    crop = [(50719, LONG, 2, (4, 2)), (50720, LONG, 2, (40, 30))]
    raw = photographed(
        tmp_path / "a.dng", gradient(48, 64), noise_profile=[(1e-3, 1e-6)], more_tags=[*tags, *crop], iso=400
    )
    notes = write_all(restored_raw(raw, strength=0.5, noise_left=0.5), {"linear-dng": tmp_path / "linear.dng"})
    assert notes == ["OpcodeList1: left out operations [1, 9], which only a raw editor applies"]
    with tifffile.TiffFile(tmp_path / "linear.dng") as file:
        first = {tag.code: tag.value for tag in file.pages.first.tags}
        pixels = {tag.code: tag.value for tag in file.pages.first.pages[0].tags}
    assert (pixels[262], pixels[258], pixels[277]) == (34892, (16, 16, 16), 3)
    assert (pixels[51022], pixels[50935]) == (lens, (1, 2))
    assert (pixels[50719], pixels[50720]) == ((4, 1, 2, 1), (40, 1, 30, 1))
    assert not {33421, 33422, 50710, 50711, 51008, 51009, 51041} & (first | pixels).keys()
    assert (first[50730], first[34665]["ISOSpeedRatings"]) == ((1, 2), 400)


TURNED = {
    1: lambda scene: scene,
    2: np.fliplr,
    3: lambda scene: np.rot90(scene, 2),
    5: lambda scene: scene.swapaxes(0, 1),
    6: lambda scene: np.rot90(scene, 1),  # is to be turned clockwise
    8: lambda scene: np.rot90(scene, -1),
}
"""A scene as a camera held so records it, by EXIF's orientation."""


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("orientation", TURNED)
def test_a_picture_is_upright_and_the_same_of_every_phase_odd_margin_and_orientation(orientation, pattern, tmp_path):
    scene = gradient(43, 61)
    recorded = TURNED[orientation](scene)
    for margins in ((0, 0), (1, 3)):
        raw = photographed(tmp_path / "a.dng", recorded, pattern, margins, more_tags=[(274, SHORT, 1, orientation)])
        write_all(restored_raw(raw), {"tiff": tmp_path / "a.tif"})
        picture = read_image(tmp_path / "a.tif") / 65535
        assert picture.shape == scene.shape
        expected = srgb(scene * WHITE_BALANCE)
        np.testing.assert_allclose(picture[3:-3, 3:-3], expected[3:-3, 3:-3], atol=2e-4)
        np.testing.assert_allclose(picture, expected, atol=0.01)  # the edges are demosaiced from a mirrored mosaic


def test_a_picture_of_a_model_that_enlarges_is_the_scene_enlarged(tmp_path):
    raw = photographed(
        tmp_path / "a.dng", gradient(40, 60), "GBRG", more_tags=[(50719, LONG, 2, (4, 2)), (50720, LONG, 2, (50, 30))]
    )
    large = gradient(80, 120)
    restored = restored_raw(raw, mosaic_of(large, "RGGB").astype(np.float32), "RGGB")
    picture = developed(restored).linear / 65535
    np.testing.assert_allclose(picture, (large * WHITE_BALANCE)[4:64, 8:108], atol=0.002)


def test_burnt_out_areas_are_white_and_what_is_below_black_is_black(tmp_path):
    raw = photographed(tmp_path / "a.dng", np.full((32, 32, 3), 0.5))
    mosaic = np.full((32, 32), 1.02, np.float32)
    mosaic[:16] = -0.01
    picture = developed(restored_raw(raw, mosaic)).linear
    assert (picture[20:] == 65535).all()
    assert (picture[:12] == 0).all()


@pytest.mark.parametrize(("stops", "factor"), [((1, 1), 2), ((-1, 1), 1), ((0, 0), 1), ((900, 1), 1)])
def test_a_picture_is_brightened_as_the_file_says(stops, factor, tmp_path):
    colours = np.full((32, 32, 3), 0.1) / WHITE_BALANCE
    raw = photographed(tmp_path / "a.dng", colours, more_tags=[(50730, SRATIONAL, 1, stops)])
    np.testing.assert_allclose(developed(restored_raw(raw)).linear / 65535, 0.1 * factor, rtol=1e-3)


def test_pictures_carry_the_profile_that_their_numbers_are_of(tmp_path):
    raw = photographed(tmp_path / "a.dng", gradient(32, 32))
    paths = {name: tmp_path / f"a{FORMATS[name].suffix}" for name in ("tiff", "linear-tiff", "png", "jpeg")}
    write_all(restored_raw(raw), paths)
    srgb_of_lcms = ImageCms.createProfile("sRGB")
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name, path in paths.items():
        with Image.open(path) if name in ("png", "jpeg") else tifffile.TiffFile(path) as file:
            data = file.info["icc_profile"] if name in ("png", "jpeg") else file.pages.first.tags[34675].value
        profile = ImageCms.getOpenProfile(io.BytesIO(data))
        shown = ImageCms.profileToProfile(Image.fromarray(values), profile, srgb_of_lcms)
        meant = 255 * srgb(values / 255) if name == "linear-tiff" else values
        assert abs(np.asarray(shown) - meant).max() <= 1, name
    assert "Linear sRGB" in ImageCms.getProfileDescription(ImageCms.getOpenProfile(io.BytesIO(linear_srgb_profile())))


def test_pictures_say_how_they_were_taken_and_that_they_are_upright(tmp_path):
    raw = photographed(tmp_path / "a.dng", gradient(24, 32), iso=800, more_tags=[(274, SHORT, 1, 6)])
    paths = {name: tmp_path / f"a{FORMATS[name].suffix}" for name in ("tiff", "png", "jpeg")}
    write_all(restored_raw(raw), paths)
    for path in paths.values():
        with Image.open(path) as file:
            exif = file.getexif()
            assert (exif[272], exif[274], file.size) == ("Mosaica 1", 1, (24, 32))
            assert {34855: 800, 40961: 1, 40962: 24, 40963: 32}.items() <= dict(exif.get_ifd(34665)).items()


def gain_map(pattern: str, colour: int, gains: np.ndarray, size: tuple[int, int]) -> Operation:
    """A gain map of R, G1, G2 or B alone, its outer points in the corners of the image."""
    red = divmod(pattern.index("R"), 2)
    top, left = ((start + number) % 2 for start, number in zip(red, divmod(colour, 2), strict=True))
    rows, columns = gains.shape
    area = struct.pack(">8I", top, left, *size, 0, 1, 2, 2)
    grid = struct.pack(">2I4dI", rows, columns, 1 / (rows - 1), 1 / (columns - 1), 0, 0, 1)
    return Operation(9, bytes((1, 3, 0, 0)) + bytes(4), area + grid + gains.astype(">f4").tobytes())


def expected_gain(gains: np.ndarray, row: float, column: float) -> float:
    """Between four points, as chapter 7 of the specification says; row and column from 0 to 1."""
    down, across = row * (len(gains) - 1), column * (gains.shape[1] - 1)
    above, before = min(int(down), len(gains) - 2), min(int(across), gains.shape[1] - 2)
    down, across = down - above, across - before
    first, second = (gains[above, before + i] * (1 - down) + gains[above + 1, before + i] * down for i in (0, 1))
    return first * (1 - across) + second * across


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_gain_maps_of_single_colours_shade_the_same_colours_at_the_same_places_when_enlarged(scale, pattern):
    height, width = 12, 17
    maps = [1 + np.random.default_rng(colour).random((4, 5)) for colour in range(4)]
    found = operations(opcode_list([gain_map(pattern, i, gains, (height, width)) for i, gains in enumerate(maps)]))
    after = pattern if scale % 2 else "RGGB"
    shift = [abs(a - b) for a, b in zip(divmod(after.index("R"), 2), divmod(pattern.index("R"), 2), strict=True)]
    if scale > 1:
        found, left_out = enlarged(found, scale, tuple(shift))
        assert left_out == []
    mosaic, left_out = with_gain_maps(np.ones((scale * height, scale * width), np.float32), found)
    assert left_out == []
    red = divmod(after.index("R"), 2)
    for (row, column), value in np.ndenumerate(mosaic):
        colour = (row + red[0]) % 2 * 2 + (column + red[1]) % 2
        place = (row + 0.5) / (scale * height), (column + 0.5) / (scale * width)
        assert value == pytest.approx(expected_gain(maps[colour], *place), abs=1e-5)


def test_an_enlarged_dng_keeps_its_gain_maps_and_a_picture_has_them_applied(tmp_path):
    gains = [np.full((2, 2), factor) for factor in (1.5, 1.25, 1.25, 2.0)]
    maps = opcode_list([gain_map("GRBG", colour, factor, (32, 48)) for colour, factor in enumerate(gains)])
    colours = np.array([0.2 / 1.5, 0.2 / 1.25, 0.2 / 2]) / WHITE_BALANCE * np.ones((32, 48, 1))
    raw = photographed(tmp_path / "a.dng", colours, "GRBG", more_tags=[(51009, UNDEFINED, len(maps), maps)])
    larger = np.repeat(np.repeat(colours, 2, 0), 2, 1)
    restored = restored_raw(raw, mosaic_of(larger, "RGGB").astype(np.float32), "RGGB")
    assert write_all(restored, {"dng": tmp_path / "large.dng"}) == []
    again = restored_raw(read_raw(tmp_path / "large.dng"))
    for each in (restored_raw(raw), restored, again):
        np.testing.assert_allclose(developed(each).linear / 65535, 0.2, rtol=2e-3)


@pytest.mark.parametrize("damage", [slice(0, 60), slice(0, 80), slice(4, None)])
def test_damaged_operations_are_named_and_do_not_keep_a_picture_from_being_developed(damage, tmp_path):
    whole = gain_map("RGGB", 0, np.full((2, 2), 2), (32, 32))
    maps = opcode_list([Operation(9, whole.head, whole.parameters[damage])])
    raw = photographed(tmp_path / "a.dng", gradient(32, 32), more_tags=[(51009, UNDEFINED, len(maps), maps)])
    assert developed(restored_raw(raw)).notes == [
        "OpcodeList2: left out operations [9], which only a raw editor applies"
    ]


def test_damaged_tags_that_libraw_reads_past_do_not_keep_a_file_from_being_written(tmp_path):
    maps = opcode_list([gain_map("RGGB", 0, np.full((2, 2), 2), (48, 64))])
    crop = [(50719, RATIONAL, 2, (4, 1, 2, 1)), (50720, RATIONAL, 2, (40, 1, 30, 1)), (50730, SRATIONAL, 1, (1, 2))]
    tags = [*crop, (51009, UNDEFINED, len(maps), maps), (274, SHORT, 1, 6)]
    raw = photographed(tmp_path / "a.dng", gradient(48, 64), more_tags=tags, iso=100, in_sub_ifd=True)
    whole, rng = raw.path.read_bytes(), np.random.default_rng(0)
    written = 0
    for _ in range(30):
        content = bytearray(whole)
        for place in rng.integers(8, 1500, rng.integers(1, 4)):
            content[place] = rng.choice([0, 1, 255, rng.integers(256)])
        raw.path.write_bytes(content)
        try:
            damaged = restored_raw(read_raw(raw.path))
        except BadImage:
            continue
        paths = {name: tmp_path / f"out{FORMATS[name].suffix}" for name in ("linear-dng", "tiff", "jpeg")}
        write_all(damaged, paths)
        assert read_image(paths["tiff"]).shape == read_image(paths["jpeg"]).shape
        written += 1
    assert written > 15


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path):
    picture = developed(restored_raw(photographed(tmp_path / "a.dng", gradient(32, 32))))
    (tmp_path / "a.jpg").mkdir()
    with pytest.raises(SaveError, match=r"a\.jpg: could not be written"):
        FORMATS["jpeg"].write(tmp_path / "a.jpg", picture)
    wide = picture._replace(linear=np.zeros((1, 65501, 3), np.uint16))
    with pytest.raises(UserError, match="JPEG cannot hold 65501 x 1 pixels; write a TIFF"):
        FORMATS["jpeg"].write(tmp_path / "b.jpg", wide)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dng", "a.jpg"]


def develop_in_darktable(source, picture):
    # Its workflows give a tone curve to mosaics alone.
    configuration = ["--conf", "plugins/darkroom/workflow=none", "--library", ":memory:", "--configdir", "darktable"]
    return ["darktable-cli", source, picture, "--width", "600", "--core", *configuration]


def develop_in_rawtherapee(source, picture):
    return ["rawtherapee-cli", "-o", picture, "-n", "-b8", "-Y", "-c", source]


@needs_real_files
@pytest.mark.parametrize("develop", [develop_in_darktable, develop_in_rawtherapee])
def test_editors_develop_the_source_and_a_linear_dng_of_it_to_the_same_colours(develop, workplace):
    if not shutil.which(develop("", "")[0]):
        pytest.skip(f"{develop('', '')[0]} is not installed")
    source = REAL / "canon_550d_colorchart.dng"
    write_all(restored_raw(read_raw(source)), {"linear-dng": Path("linear.dng")})
    for name, file in (("before.png", str(source)), ("after.png", "linear.dng")):
        subprocess.run(develop(file, name), check=True, capture_output=True, timeout=200)
    before, after = (cv2.imread(name).astype(np.float64) / 255 for name in ("before.png", "after.png"))
    difference = np.abs(before.mean((0, 1)) - after.mean((0, 1)))
    assert before.std() > 0.1
    assert difference.max() < 0.005, f"{100 * difference.round(5)} % of B, G, R"
