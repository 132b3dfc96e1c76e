"""restore.calibrate: a camera's own frames give its noise, and its profile gives such frames again."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from raw_files import write_dng

from options.errors import UserError
from restore.calibrate import main
from restore.camera.calibration.frames import find_pairs, read_folders, read_frame
from restore.camera.calibration.photon_transfer import calibrate, measure_pair, shape_samples, stack
from restore.camera.calibration.tukey_lambda import tukey_shape
from restore.command.arguments import calibration_arguments

EMVA = Path(__file__).parents[2] / "shared/data/calib/emva1288_001/images"
PNG = b"\x89PNG\r\n\x1a\n"

GAIN = np.array([0.8, 1.1, 1.2, 0.7])  # [DN/e-] of R, G1, G2, B
READ_NOISE = np.array([3.0, 4.0, 3.5, 2.5])  # [DN rms]
ROW_NOISE = np.array([1.0, 1.3, 0.8, 1.1])  # [DN rms]
BLACK = np.array([510.0, 512.0, 514.0, 516.0])  # [DN]
WHITE = 4095  # [DN]
EXPOSURES = (0.02, 0.05, 0.12, 0.25, 0.4, 0.55, 0.7, 1.3)  # green's signal in units of white - black
SHAPE = (1024, 48)  # rows give the row noise's sd its precision


class CameraUnderTest:
    """Records frames (4, h, w) of whole DN with the noise above, a fixed pattern, falling light towards the edges."""

    def __init__(self, shape=SHAPE, seed=0, quantile=None):
        self.rng = np.random.default_rng(seed)
        self.shape = (4, *shape)
        self.offsets = 2 * self.rng.standard_normal(self.shape)
        edge = 0.3 * np.linspace(-1, 1, shape[1]) ** 2
        self.response = (1 + 0.01 * self.rng.standard_normal(self.shape)) * (1 - edge)
        self.colour = np.array([0.6, 1, 1, 0.8])[:, None, None]

    def dark(self):
        return self.frame(0)

    def flat(self, exposure):
        flicker = 1 + 0.01 * self.rng.standard_normal()
        return self.frame(exposure * flicker)

    def frame(self, exposure):
        gain, read, row, black = (values[:, None, None] for values in (GAIN, READ_NOISE, ROW_NOISE, BLACK))
        electrons = self.rng.poisson(exposure * self.colour * self.response * (WHITE - black) / gain)
        values = black + self.offsets + gain * electrons + read * self.rng.standard_normal(self.shape)
        values += row * self.rng.standard_normal((4, self.shape[1], 1))
        return values.round().clip(0, WHITE).astype(np.uint16)


def as_mosaic(planes, pattern):
    """(4, h, w) R, G1, G2, B, G1 being beside R, as a mosaic (2 h, 2 w)."""
    sites = {"RGGB": (0, 1, 2, 3), "GRBG": (1, 0, 3, 2), "GBRG": (2, 3, 0, 1), "BGGR": (3, 2, 1, 0)}[pattern]
    mosaic = np.empty((2 * planes.shape[1], 2 * planes.shape[2]), planes.dtype)
    for plane, site in zip(planes, sites, strict=True):
        mosaic[site // 2 :: 2, site % 2 :: 2] = plane
    return mosaic


def write_grey(folder, frames, name="{}.png"):
    folder.mkdir(exist_ok=True)
    for number, frame in enumerate(frames, 1):
        cv2.imwrite(str(folder / name.format(number)), frame[0])


def calibrated(*words):
    main(calibration_arguments(["--flats", "flats", "--darks", "darks", *map(str, words)]))


@pytest.fixture
def raw_frames(workplace):
    """Folders flats and darks with DNG files of the camera under test, and the pattern GRBG."""
    camera = CameraUnderTest()
    recordings = {
        "darks": [camera.dark() for _ in range(28)],
        "flats": [camera.flat(exposure) for exposure in EXPOSURES for _ in range(2)],
    }
    for folder, frames in recordings.items():
        (workplace / folder).mkdir()
        for number, planes in enumerate(frames, 1):  # 10 comes before 2 in the order of letters
            path, mosaic = workplace / folder / f"IMG_{number}.dng", as_mosaic(planes, "GRBG")
            write_dng(path, mosaic, "GRBG", tuple(BLACK), WHITE, iso=800, camera=("Makers", "Testcam"))
    return workplace


@pytest.fixture
def grey_frames(workplace):
    """Folders flats and darks with small 16-bit PNG files of one plane of the camera under test; white saturates."""
    camera = CameraUnderTest((64, 64))
    write_grey(workplace / "darks", [camera.dark() for _ in range(4)])
    write_grey(workplace / "flats", [camera.flat(exposure) for exposure in (*EXPOSURES, 3) for _ in range(2)])
    return workplace


def test_raw_frames_of_a_known_camera_give_its_profile_back_within_2_percent(raw_frames, capsys):
    calibrated("-o", "made/here/profile.json")
    profile = json.loads(Path("made/here/profile.json").read_text())
    np.testing.assert_allclose(profile["gain"], GAIN, rtol=0.02)
    np.testing.assert_allclose(profile["read_noise"], READ_NOISE, rtol=0.02)
    np.testing.assert_allclose(profile["row_noise"], ROW_NOISE, rtol=0.02)
    np.testing.assert_allclose(profile["black_level"], BLACK, atol=0.05)
    assert (profile["white_level"], profile["tukey_shape"], profile["iso"]) == (WHITE, None, 800)
    assert profile["camera"] == "Makers Testcam"
    assert Path("made/here/profile.png").read_bytes().startswith(PNG)
    printed = capsys.readouterr().out
    assert '"noise_model": {"class_name": "profile", "camera": "made/here/profile.json"}' in printed
    assert "warning: G1: 1 of 8 pairs of flats clip; they are left out" in printed
    assert "flats that clip: " in printed


def test_frames_synthesised_from_the_profile_are_as_noisy_as_the_cameras(raw_frames, capsys):
    calibrated("-o", "profile.json")
    capsys.readouterr()
    calibrated("--check", "profile.json")
    printed = capsys.readouterr().out
    ratios = [float(line.split()[-1]) for line in printed.splitlines() if line.startswith(("R ", "G", "B "))]
    assert len(ratios) > 4 * 7
    np.testing.assert_allclose(ratios, 1, atol=0.04)
    assert "warning" not in printed
    assert Path("profile_check.png").read_bytes().startswith(PNG)


def test_a_profile_of_another_camera_is_warned_of(grey_frames, capsys):
    calibrated("-o", "profile.json")
    profile = json.loads(Path("profile.json").read_text())
    Path("other.json").write_text(json.dumps(profile | {"gain": [2 * gain for gain in profile["gain"]]}))
    capsys.readouterr()
    calibrated("--check", "other.json")
    assert "variances are more than 5% off; calibrate anew" in capsys.readouterr().out


@pytest.mark.skipif(not EMVA.is_dir(), reason="the EMVA 1288 data set is not here")
def test_the_emva_data_set_gives_its_published_gain_and_dark_noise(workplace, capsys):
    for folder, beginning in (("flats", "b_0"), ("darks", "d_0")):
        (workplace / folder).mkdir()
        for file in EMVA.glob(f"{beginning}*"):
            (workplace / folder / file.name).symlink_to(file)
    calibrated("-o", "profile.json")
    profile = json.loads(Path("profile.json").read_text())
    np.testing.assert_allclose(profile["gain"], 0.2808, rtol=0.02)
    dark_noise = np.sqrt(np.square([profile["read_noise"], profile["row_noise"]]).sum(0) + 1 / 12)
    np.testing.assert_allclose(dark_noise, 3.0734, rtol=0.03)
    assert profile["white_level"] == 4095  # found where the flats saturate
    assert "4 of 17 pairs of flats clip" in capsys.readouterr().out


@pytest.mark.parametrize("pattern", ["RGGB", "GRBG", "GBRG", "BGGR"])
def test_every_pattern_gives_each_plane_its_own_colour(workplace, pattern):
    planes = np.arange(4 * 16 * 24, dtype=np.uint16).reshape(4, 16, 24)
    path = write_dng(workplace / "frame.dng", as_mosaic(planes, pattern), pattern, (1, 2, 3, 4), 4095)
    np.testing.assert_array_equal(read_frame(path).planes, planes)


@pytest.mark.parametrize("shape", [-0.25, -0.1, 0.05, 0.3])
def test_the_shape_of_tukey_lambda_noise_is_found_from_differences(shape):
    p = np.random.default_rng(0).random((2, 200_000))
    first, second = (p**shape - (1 - p) ** shape) / shape
    assert tukey_shape(first - second) == pytest.approx(shape, abs=0.02)


def test_gaussian_noise_has_no_tukey_shape():
    first, second = np.random.default_rng(0).standard_normal((2, 200_000))
    assert tukey_shape(first - second) is None


def test_heavy_tails_of_the_read_noise_reach_the_calibration():
    camera, rng = CameraUnderTest((256, 256)), np.random.default_rng(0)
    p = rng.random((2, 4, 256, 256))
    heavy = BLACK[:, None, None] + 4 * (p**-0.15 - (1 - p) ** -0.15) / -0.15
    darks = heavy.round() + ROW_NOISE[:, None, None] * rng.standard_normal((2, 4, 256, 1)).round()
    flats = [measure_pair(camera.flat(e) * 1.0, camera.flat(e) * 1.0, WHITE, BLACK) for e in EXPOSURES]
    result = calibrate(
        stack(flats), stack([measure_pair(*darks, WHITE)]), shape_samples(*darks), WHITE, ["R", "G1", "G2", "B"]
    )
    assert result.tukey_shape == pytest.approx(-0.15, abs=0.02)


def test_one_flat_that_flickers_does_not_bend_the_line():
    camera = CameraUnderTest((128, 128))
    darks = stack([measure_pair(*(camera.dark() * 1.0 for _ in range(2)), WHITE) for _ in range(4)])
    samples = shape_samples(camera.dark() * 1.0, camera.dark() * 1.0)
    flats = stack([measure_pair(*(camera.flat(e) * 1.0 for _ in range(2)), WHITE, BLACK) for e in EXPOSURES])
    flats.variance[3] *= 1.5
    result = calibrate(flats, darks, samples, WHITE, ["R", "G1", "G2", "B"])
    np.testing.assert_allclose(result.gain, GAIN, rtol=0.02)
    assert sum("the line misses 1 of" in warning for warning in result.warnings) == 4


def remove(name):
    Path(name).unlink()


def write_colours(name):
    cv2.imwrite(name, np.random.default_rng(0).integers(0, 4096, (64, 64, 3), dtype=np.uint16))


def keep_flats(*numbers):
    for file in Path("flats").iterdir():
        if int(file.stem) not in numbers:
            file.unlink()


def copy(source, target):
    Path(target).write_bytes(Path(source).read_bytes())


def make_flats_alike():
    for number in range(2, 17):
        copy("flats/1.png", f"flats/{number}.png")


def shrink(name):
    cv2.imwrite(name, cv2.imread(name, cv2.IMREAD_UNCHANGED)[:32])


@pytest.mark.parametrize(
    ("spoil", "words", "message"),
    [
        (lambda: remove("darks/3.png"), (), r"--darks: darks holds 3 frames, and they are taken two by two"),
        (lambda: [file.unlink() for file in Path("darks").iterdir()], (), "--darks: darks holds no frames; put raw"),
        (lambda: Path("darks").rename("dark"), (), "--darks: darks is no folder"),
        (lambda: [remove("flats/1.png"), remove("flats/18.png")], (), "flats/2.png and 3.png are no pair: their means"),
        (
            lambda: keep_flats(1, 2, 3, 4),
            ("--white", 4095),
            "flats: 2 of the 3 levels of light that a line needs lie between black and 80% of white in grey",
        ),
        (lambda: keep_flats(3, 4, 5, 6, 7, 8), (), "--white: no flat saturates.*give it, e.g. 4095 for 12 bits"),
        (lambda: None, ("--white", 255), "white level 255 is not above the dark frames' 51"),
        (make_flats_alike, (), "flats: 1 of the 3 levels"),
        (lambda: copy("darks/1.png", "darks/2.png"), (), "--darks: darks/1.png and 2.png do not differ; give two"),
        (lambda: write_colours("flats/5.png"), (), "flats/5.png: has colours; give raw files, or grey"),
        (lambda: shrink("flats/5.png"), (), "flats/5.png: is a grey image of 64 x 32, and the first dark frame is a"),
        (lambda: Path("flats/5.png").write_bytes(b""), (), "flats/5.png: is an empty file"),
        (lambda: None, ("-o", "flats/profile.json"), "--output: flats/profile.json lies in the --flats folder"),
        (lambda: None, ("-o", "profile"), "--output: profile does not end with .json"),
    ],
)
def test_a_mistake_is_one_clear_line_and_no_profile_is_written(grey_frames, spoil, words, message):
    spoil()
    with pytest.raises(UserError, match=message) as mistake:
        calibrated(*words, *(() if "-o" in words else ("-o", "profile.json")))
    assert len(str(mistake.value).splitlines()) == 1
    assert not list(Path().rglob("profile*"))


def test_a_white_level_for_a_check_is_a_mistake_as_the_profile_has_its_own(grey_frames):
    with pytest.raises(UserError, match="--white: a profile that is checked has its own; leave it out"):
        calibrated("--check", "profile.json", "--white", "4095")


def test_copies_of_one_frame_are_refused(workplace):
    camera = CameraUnderTest((64, 64))
    write_grey(workplace / "darks", [camera.dark() for _ in range(4)])
    write_grey(workplace / "flats", [frame for exposure in EXPOSURES for frame in [camera.flat(exposure)] * 2])
    with pytest.raises(UserError, match="flats: the variance does not rise with the level in grey"):
        calibrated("-o", "profile.json", "--white", "4095")


def test_dark_frames_that_clip_at_black_are_warned_of(workplace, capsys):
    camera = CameraUnderTest((64, 64))
    for folder, frames in (
        ("darks", [camera.dark() for _ in range(4)]),
        ("flats", [camera.flat(exposure) for exposure in EXPOSURES for _ in range(2)]),
    ):
        write_grey(workplace / folder, [frame.clip(510) - 510 for frame in frames])
    calibrated("-o", "profile.json", "--white", "3585")
    assert "of the dark frames' values are 0: this camera clips at black" in capsys.readouterr().out


def test_processed_frames_are_told_from_raw_ones_by_the_fit(workplace, capsys):
    camera = CameraUnderTest((64, 64))
    for folder, frames in (
        ("darks", [camera.dark() for _ in range(4)]),
        ("flats", [camera.flat(exposure) for exposure in EXPOSURES for _ in range(2)]),
    ):
        curved = [(65535 * (frame / 4095) ** (1 / 2.2)).round().astype(np.uint16) for frame in frames]
        write_grey(workplace / folder, curved)
    calibrated("-o", "profile.json", "--white", "65535")
    assert "a curve means processed data" in capsys.readouterr().out


def test_frames_without_light_give_no_gain(grey_frames):
    shutil.copytree("darks", "flats_in_the_dark")
    with pytest.raises(UserError, match=r"flats: 0 of the 3 levels"):
        main(
            calibration_arguments(
                ["--flats", "flats_in_the_dark", "--darks", "darks", "-o", "p.json", "--white", "4095"]
            )
        )


def test_folders_of_frames_must_lie_side_by_side_and_hold_no_plots(grey_frames):
    shutil.copytree("darks", "flats/darks")
    with pytest.raises(UserError, match=r"--flats, --darks: flats and flats/darks overlap"):
        main(calibration_arguments(["--flats", "flats", "--darks", "flats/darks", "-o", "p.json"]))
    shutil.rmtree("flats/darks")
    calibrated("-o", "p.json")
    shutil.copy("p.json", "flats/p.json")
    with pytest.raises(UserError, match=r"--check: flats/p_check.png lies in the --flats folder"):
        calibrated("--check", "flats/p.json")


@pytest.mark.parametrize("white", ["inf", "nan", "1e30", "0"])
def test_a_white_level_that_no_file_has_is_refused(grey_frames, white):
    with pytest.raises(UserError, match=r"--white: .* given; give the highest value"):
        calibrated("-o", "p.json", "--white", white)


def test_only_files_that_hold_frames_are_taken_for_frames(grey_frames):
    os.mkfifo("darks/0.png")
    Path("darks/1b.png").mkdir()
    Path("darks/.hidden").mkdir()
    Path("darks/.hidden/1.png").write_bytes(b"")
    Path("elsewhere").mkdir()
    for name in ("1.png", "2.png"):
        shutil.copy(f"darks/{name}", f"elsewhere/{name}")
    Path("darks/linked").symlink_to(Path("elsewhere").resolve())
    pairs = [tuple(map(str, pair)) for pair in find_pairs("darks", "darks")]
    assert pairs == [
        ("darks/1.png", "darks/2.png"),
        ("darks/3.png", "darks/4.png"),
        ("darks/linked/1.png", "darks/linked/2.png"),
    ]


def test_the_library_speaks_of_arguments_and_not_of_flags(grey_frames):
    with pytest.raises(UserError, match=r"^darks: nowhere is no folder"):
        read_folders("flats", "nowhere", None)
    with pytest.raises(UserError, match=r"^white: nan given"):
        read_folders("flats", "darks", float("nan"))
    with pytest.raises(UserError, match=r"^white: the white level 255 is not above"):
        read_folders("flats", "darks", 255)
