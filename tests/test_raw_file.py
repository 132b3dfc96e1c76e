"""Raw files come in as linear mosaics, black 0 and white 1 in every colour, with what the file says of the camera.

The mosaics that tests write have one value per colour, so that a wrong phase or a wrong black level shows.
"""

import ast
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from raw_files import ASCII, ISO, MATRIX, RATIONAL, SHORT, by_site, write_dng

from restore.camera.__main__ import main, read_arguments
from restore.camera.raw_file import RAW_SUFFIXES, read_raw
from restore.command.arguments import run_command
from restore.files import checks
from restore.files.images import IMAGE_SUFFIXES, BadImage
from transforms.sensor.cameras import RGB_TO_XYZ
from transforms.sensor.metadata import NoiseProfile

RAW = Path(__file__).parents[2] / "shared" / "data" / "raw"
needs_real_files = pytest.mark.skipif(not RAW.exists(), reason="the real raw files are not there (shared/data/raw)")

PATTERNS = ("RGGB", "GRBG", "GBRG", "BGGR")
BLACK = np.array([100.25, 130.5, 160.75, 190])
WHITE = 4095
SIGNAL = np.array([1000, 2000, 2400, 3000])  # of R, G1, G2, B [DN]
MARGINS = [None, (2, 4, 31, 47), (1, 0, 31, 46), (0, 1, 32, 45), (1, 1, 30, 48), (3, 5, 30, 44)]
XTRANS = "GBGGRG" + "RGRBGB" + "GBGGRG" + "GRGGBG" + "BGBRGR" + "GRGGBG"
NOISE = [(1e-3, 1e-6), (2e-3, 2e-6), (3e-3, 3e-6), (4e-3, 4e-6)]


def mosaic_of(values, pattern="RGGB", size=(32, 48), area=None) -> np.ndarray:
    """A mosaic uint16 with one value for each of R, G1, G2, B inside the area, and 65535 around it."""
    top, left, bottom, right = area or (0, 0, *size)
    mosaic = np.full(size, 65535, np.uint16)
    inside = mosaic[top:bottom, left:right]
    inside[:] = np.tile(by_site(values, pattern), (size[0] // 2 + 1, size[1] // 2 + 1))[
        : inside.shape[0], : inside.shape[1]
    ]
    return mosaic


def sites(mosaic: np.ndarray, pattern: str) -> list[np.ndarray]:
    """All values of R, G1, G2, B."""
    return [mosaic[place // 2 :: 2, place % 2 :: 2] for place in places(pattern)]


def places(pattern: str) -> list[int]:
    """Where R, G1, G2, B stand in a cell, in reading order."""
    return np.argsort(by_site(range(4), pattern), axis=None).tolist()


@pytest.fixture
def dng(tmp_path):
    """Writes a small DNG and returns its path."""
    return lambda mosaic=None, **facts: write_dng(
        tmp_path / "a.dng", mosaic_of(SIGNAL) if mosaic is None else mosaic, **facts
    )


@pytest.mark.parametrize("in_sub_ifd", [False, True])
@pytest.mark.parametrize("area", MARGINS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_colour_keeps_its_place_and_its_black_level(dng, pattern, area, in_sub_ifd):
    mosaic = mosaic_of(SIGNAL, pattern, area=area)
    path = dng(mosaic, pattern=pattern, black=BLACK, white=WHITE, active_area=area, in_sub_ifd=in_sub_ifd)
    raw = read_raw(path)
    assert raw.linear().dtype == np.float32
    assert raw.black.tolist() == BLACK.tolist()
    assert raw.white == WHITE
    for values, expected in zip(sites(raw.linear(), raw.pattern), (SIGNAL - BLACK) / (WHITE - BLACK), strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.parametrize("area", MARGINS)
def test_the_margin_is_cut_off_and_nothing_else(dng, area):
    raw = read_raw(dng(mosaic_of(SIGNAL, area=area), active_area=area))
    top, left, bottom, right = area or (0, 0, 32, 48)
    assert raw.data.shape == (bottom - top, right - left)
    assert raw.linear().max() < 0.1  # the margin is white


@pytest.mark.parametrize("pattern", PATTERNS)
def test_an_odd_size_stays_whole(dng, pattern):
    raw = read_raw(dng(mosaic_of(SIGNAL, pattern, size=(31, 47)), pattern=pattern))
    assert (raw.data.shape, raw.pattern) == ((31, 47), pattern)


def test_black_is_0_white_is_1_and_nothing_is_clipped(dng):
    levels = np.tile(np.array([[0, 100], [4095, 5000]], np.uint16), (16, 24))
    raw = read_raw(dng(levels, black=[100] * 4, white=4095))
    np.testing.assert_allclose(raw.linear()[:2, :2], [[-100 / 3995, 0], [1, 4900 / 3995]], rtol=1e-6)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("area", [None, (1, 0, 31, 46), (1, 1, 31, 47)])
@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (NOISE[:1], [0, 0, 0, 0]),
        (NOISE[:3], [0, 1, 1, 2]),
        (NOISE, None),  # by site, in reading order
    ],
)
def test_the_noise_profile_is_that_of_each_colour(dng, pattern, area, pairs, expected):
    path = dng(mosaic_of(SIGNAL, pattern, area=area), pattern=pattern, active_area=area, noise_profile=pairs)
    shot, read = read_raw(path).metadata.noise
    wanted = np.array(pairs, np.float32)[places(pattern) if expected is None else expected]
    assert (shot.tolist(), read.tolist()) == (wanted[:, 0].tolist(), wanted[:, 1].tolist())


def test_the_noise_profile_is_found_beside_a_preview(dng):
    noise = read_raw(dng(noise_profile=NOISE[:3], in_sub_ifd=True)).metadata.noise
    assert np.array_equal(noise, np.float32([[1e-3, 2e-3, 2e-3, 3e-3], [1e-6, 2e-6, 2e-6, 3e-6]]))
    assert noise.known


@pytest.mark.parametrize(
    "pairs", [None, NOISE[:2], [(1e-3, -1e-6)], [(float("nan"), 1e-6)], [1e-3], [1e-3, 1e-6, 1e-3], [(1e-3, 2.0)]]
)
def test_a_missing_or_impossible_noise_profile_is_not_known(dng, pairs):
    noise = read_raw(dng(noise_profile=pairs, black=BLACK)).metadata.noise
    assert not noise.known
    assert noise.shot.shape == noise.read.shape == (4,)
    assert read_raw(dng(noise_profile=pairs, black=BLACK)).black.tolist() == BLACK.tolist()


def test_the_colour_matrix_is_the_files_own_with_rows_that_sum_to_1(dng):
    matrix = np.array(MATRIX) @ RGB_TO_XYZ
    expected = matrix / matrix.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(read_raw(dng(color_matrix=MATRIX)).metadata.camera.rgb_to_camera, expected, atol=1e-5)


def test_without_a_colour_matrix_colours_stay_as_the_camera_saw_them(dng):
    assert read_raw(dng()).metadata.camera.rgb_to_camera.tolist() == np.eye(3).tolist()


def test_the_white_balance_is_as_shot_with_green_1(dng):
    neutral = np.array([0.5, 0.8, 0.625])
    raw = read_raw(dng(as_shot_neutral=neutral, color_matrix=MATRIX))
    np.testing.assert_allclose(raw.metadata.camera.white_balance, neutral[1] / neutral, rtol=1e-6)


def test_without_a_white_balance_daylight_is_taken(dng):
    daylight = 1 / (np.array(MATRIX) @ RGB_TO_XYZ).sum(axis=1)  # what the camera sees of sRGB's white, which is D65
    raw = read_raw(dng(color_matrix=MATRIX))
    np.testing.assert_allclose(raw.metadata.camera.white_balance, daylight / daylight[1], rtol=1e-3)
    assert read_raw(dng()).metadata.camera.white_balance.tolist() == [1, 1, 1]


def test_camera_and_iso_are_those_of_the_file(dng):
    raw = read_raw(dng(camera=("Acme", "Mosaica 1"), iso=3200))
    assert (raw.make, raw.model, raw.camera, raw.iso) == ("Acme", "Mosaica 1", "Acme Mosaica 1", 3200)
    raw = read_raw(dng(camera=("ACME INC.", "Acme Mosaica 2")))
    assert (raw.make, raw.model, raw.camera, raw.iso) == ("ACME INC.", "Acme Mosaica 2", "Acme Mosaica 2", None)
    raw = read_raw(dng(camera=("", "")))
    assert (raw.make, raw.model, raw.camera) == ("", "", "unknown camera")


@pytest.mark.parametrize(
    ("mosaic", "facts", "words"),
    [
        (np.zeros((32, 48, 3), np.uint16), {"pattern": ""}, "has whole colours at each site"),
        (mosaic_of(SIGNAL), {"pattern": ""}, "comes from a monochrome sensor"),
        (mosaic_of(SIGNAL), {"pattern": XTRANS}, "has no Bayer mosaic"),
        (mosaic_of(SIGNAL), {"pattern": "RRGGRRGGGGBBGGBB"}, "has no Bayer mosaic"),
        (mosaic_of(SIGNAL), {"pattern": "RGGRGBBGGBBGRGGR"}, "has no Bayer mosaic"),
        (mosaic_of(SIGNAL).astype(np.float32), {}, "has floating-point values"),
        (mosaic_of(SIGNAL), {"plane_colours": "BGR"}, "has its colour planes in another order"),
        (mosaic_of(SIGNAL), {"black": [512] * 4, "white": 500}, "has white (500 DN) at or below black (512 DN)"),
    ],
)
def test_what_is_no_bayer_mosaic_is_refused_in_one_line(dng, mosaic, facts, words):
    refused(dng(mosaic, **facts), words)


def refused(path: Path, words: str) -> None:
    with pytest.raises(BadImage) as mistake:
        read_raw(path)
    assert str(mistake.value).startswith(f"{path}: {words}")
    assert ";" in str(mistake.value)  # the remedy
    assert len(str(mistake.value).splitlines()) == 1


def test_missing_empty_damaged_and_foreign_files_are_refused_in_one_line(dng, tmp_path):
    refused(tmp_path / "nowhere.dng", "cannot be read (No such file")
    refused(tmp_path, "cannot be read (Is a directory)")
    content = dng().read_bytes()
    for data, words in (
        (b"", "is an empty file"),
        (content[:-500], "is no raw file"),
        (b"text" * 999, "is no raw file"),
    ):
        (tmp_path / "bad.dng").write_bytes(data)
        refused(tmp_path / "bad.dng", words)


@needs_real_files
def test_a_real_dng_is_read():
    raw = read_raw(RAW / "good" / "canon_550d_colorchart.dng")
    assert (raw.data.shape, raw.pattern, raw.camera) == ((1156, 1734), "RGGB", "Canon EOS Kiss X4")
    assert (raw.black.tolist(), raw.white, raw.iso, raw.metadata.noise.known) == ([2056] * 4, 15000, None, False)
    np.testing.assert_allclose(raw.metadata.camera.white_balance, [2.477, 1, 2.477 / 1.462], rtol=1e-4)
    np.testing.assert_allclose(raw.metadata.camera.rgb_to_camera.sum(axis=1), 1)
    assert (np.diag(raw.metadata.camera.rgb_to_camera) > 0.5).all()
    mosaic = raw.linear()
    assert -0.01 < mosaic.min() < 0 < mosaic.mean() < mosaic.max() < 1


@needs_real_files
def test_the_greens_of_a_real_dng_agree():
    """Which a wrong phase would not let them do: red and blue are much darker."""
    raw = read_raw(RAW / "good" / "canon_550d_colorchart.dng")
    red, green, other_green, blue = (plane.mean() for plane in sites(raw.linear(), raw.pattern))
    assert abs(green / other_green - 1) < 0.01
    assert green > 1.3 * max(red, blue)


@needs_real_files
def test_a_real_raw_file_that_is_no_dng_is_read():
    raw = read_raw(RAW / "good" / "kodak_dc50.kdc")
    assert (raw.data.shape, raw.pattern, raw.white, raw.metadata.noise.known) == ((512, 768), "GRBG", 16383, False)
    assert "DC50" in raw.camera
    assert 0 <= raw.linear().min() < raw.linear().max() == 1


@needs_real_files
def test_real_files_without_a_mosaic_are_refused():
    files = sorted((RAW / "refuse").iterdir())
    assert len(files) == 4
    for path in files:
        refused(path, "is no raw file" if path.name in ("empty.dng", "truncated.nef") else "has whole colours")


def test_raw_suffixes_are_none_of_the_picture_suffixes():
    assert not RAW_SUFFIXES & IMAGE_SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in RAW_SUFFIXES)


def test_the_command_prints_a_camera_matrix_that_can_be_pasted(dng, capsys):
    path = dng(color_matrix=MATRIX, noise_profile=NOISE[:3], iso=800, black=BLACK, white=WHITE)
    assert run_command(main, read_arguments([str(path)])) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == f"{path}: Acme Mosaica 1, ISO 800"
    printed = {line[2:16].strip(): line[17:] for line in lines}
    assert printed["size"] == "48 x 32, RGGB"
    assert printed["black"].startswith("100.25, 130.5, 160.75, 190 DN")
    assert printed["shot"].startswith("0.001, 0.002, 0.002, 0.003")
    matrix = np.array(ast.literal_eval(printed["camera_matrix"])) @ RGB_TO_XYZ
    rows = matrix.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(matrix / rows, read_raw(path).metadata.camera.rgb_to_camera, atol=1e-4)


def test_the_command_names_every_bad_file_and_prints_the_good_ones(dng, tmp_path, capsys):
    words = [tmp_path / "nowhere.dng", dng(), tmp_path / "neither.dng"]
    assert run_command(main, read_arguments([str(word) for word in words])) == 2
    output, errors = capsys.readouterr()
    assert "Acme Mosaica 1, ISO not known" in output
    assert "camera_matrix  not known" in output
    assert [line.split(":")[1].strip() for line in errors.splitlines()] == [str(words[0]), str(words[2])]


def test_help_waits_for_no_heavy_import():
    code = "import sys, restore.camera.__main__; print({'numpy', 'rawpy', 'torch', 'tifffile'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=Path(__file__).parents[1], text=True) == "set()\n"


def test_a_colour_matrix_that_tells_no_colours_apart_is_refused(dng):
    with pytest.raises(BadImage, match=r"has a ColorMatrix that does not tell colours apart; mend its tags"):
        read_raw(dng(color_matrix=np.ones((3, 3))))


@pytest.mark.parametrize("area", MARGINS)
def test_a_raw_file_keeps_the_numbers_that_were_recorded_and_where_they_lie(dng, area):
    recorded = np.random.default_rng(0).integers(0, 65536, (32, 48), dtype=np.uint16)
    path = dng(recorded, active_area=area, black=BLACK, white=WHITE)
    raw = read_raw(path)
    top, left, bottom, right = raw.margins
    assert raw.data.dtype == np.uint16
    assert np.array_equal(raw.data, recorded[top : 32 - bottom, left : 48 - right])
    assert (top, left, 32 - bottom, 48 - right) == (area or (0, 0, 32, 48))
    assert np.array_equal(raw.frame, recorded)
    assert raw.path == path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_told_and_not_applied(dng, orientation):
    raw = read_raw(dng(more_tags=[(274, SHORT, 1, orientation)]))
    assert (raw.orientation, raw.data.shape) == (orientation, (32, 48))


def test_iso_and_exposure_time_are_found_in_the_first_directory(dng):
    raw = read_raw(dng(more_tags=[(ISO, SHORT, 1, 100), (33434, RATIONAL, 1, (1, 60))]))
    assert (raw.iso, raw.exposure_time) == (100, pytest.approx(1 / 60))
    assert (read_raw(dng()).iso, read_raw(dng()).exposure_time) == (None, None)


def test_the_time_of_a_photograph_is_known_where_the_file_tells_it(dng):
    earlier, later = (read_raw(dng(more_tags=[(306, 2, 20, f"2024:05:01 12:00:{s}")])).taken for s in (30, 31))
    assert later - earlier == 1
    assert read_raw(dng()).taken is None
    assert read_raw(dng(more_tags=[(ISO, ASCII, 0, "fast")])).iso is None


def test_a_noise_profile_times_a_gain_is_that_of_the_brighter_image():
    noise = NoiseProfile(torch.full((4,), 1e-3), torch.full((4,), 1e-6)).scaled(3)
    np.testing.assert_allclose(noise.shot, 3e-3)
    np.testing.assert_allclose(noise.read, 9e-6)
    assert noise.known
    assert not NoiseProfile.unknown().scaled(3).known


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"pattern": "RGBG"}, "has no Bayer mosaic"),  # both greens in one column
        ({"as_shot_neutral": (0.01, 1, 1)}, "has an impossible white balance (red 100, blue 1)"),
        ({"color_matrix": np.ones((3, 3)) + np.eye(3) * 1e-2}, "has a ColorMatrix that"),
        ({"white": 10}, "has white (10 DN) less than 15 DN above black (0 DN)"),
    ],
)
def test_what_no_camera_has_is_refused_in_one_line(dng, facts, words):
    refused(dng(**facts), words)


def test_a_raw_file_of_too_many_pixels_is_refused(dng, monkeypatch):
    monkeypatch.setattr(checks, "LARGEST", 32 * 48 - 1)
    refused(dng(), "has 48 x 32 pixels")


@pytest.fixture
def whole(tmp_path) -> bytearray:
    """A DNG whose tags the tests below damage."""
    mosaic = np.full((64, 64), 1000, np.uint16)
    return bytearray(write_dng(tmp_path / "whole.dng", mosaic, white=65535, active_area=(2, 2, 60, 60)).read_bytes())


def test_one_wrong_byte_in_the_tags_names_the_file(whole, tmp_path):
    for place, words in ((38, "has damaged tags"), (414, "has impossible black levels (0, 0, 0, nan DN)")):
        assert whole[place] == 1
        (tmp_path / "bad.dng").write_bytes(whole[:place] + b"\0" + whole[place + 1 :])
        refused(tmp_path / "bad.dng", words)


def test_a_raw_file_whose_pixels_are_cut_off_is_refused_in_silence(whole, tmp_path, capfd):
    for length in range(len(whole) - 8000, len(whole), 700):
        (tmp_path / "bad.dng").write_bytes(whole[:length])
        refused(tmp_path / "bad.dng", "is no raw file, damaged, cut off")
    assert capfd.readouterr().err == ""


def test_any_damage_to_the_tags_gives_finite_numbers_or_a_line_that_names_the_file(whole, tmp_path):
    draw, path = random.Random(0), tmp_path / "bad.dng"
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(draw.choice((1, 2, 4))):
            content[draw.randrange(800)] = draw.choice((0, 1, 255, draw.randrange(256)))
        path.write_bytes(content)
        try:
            raw = read_raw(path)
        except BadImage as mistake:
            lines = str(mistake).splitlines()
        else:
            lines = []
            assert np.isfinite(raw.linear()).all()
            assert all(torch.isfinite(numbers).all() for numbers in raw.metadata.camera)
        assert all(line.startswith(f"{path}: ") for line in lines)
        assert len(lines) <= 1


def test_a_raw_file_whose_name_is_no_utf8_is_read(dng):
    path = dng(mosaic_of(SIGNAL))
    other = path.rename(path.with_name(os.fsdecode(b"bad\xff.dng")))
    assert np.array_equal(read_raw(other).data, mosaic_of(SIGNAL))
