"""restore.calibrate --burst: frames of one static scene give the camera's noise, without flats."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from raw_files import write_dng
from test_calibration import BLACK, GAIN, PNG, READ_NOISE, WHITE, as_mosaic

from options.errors import UserError
from restore.calibrate import main
from restore.command.arguments import calibration_arguments

FRAMES, SHAPE = 8, (256, 384)
COLOUR = np.array([0.6, 1, 1, 0.8])[:, None, None]


def scene(shape=SHAPE, darkest=0.0):
    """(h, w) 0..1: shades from black to bright, with edges and fine texture."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    shade = darkest + (0.75 - darkest) * columns / shape[1]
    return shade * (1 + 0.2 * np.sign(np.sin(rows / 3) * np.sin(columns / 5)))


class Recorder:
    """Records frames of a scene with the gain and read noise of the other tests, and light that flickers by 0.5 %."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)

    def frame(self, light):
        """(4, h, w) of whole DN, of light (h, w) with 1 at white."""
        gain, read, black = (values[:, None, None] for values in (GAIN, READ_NOISE, BLACK))
        flicker = 1 + 0.005 * self.rng.standard_normal((4, 1, 1))
        electrons = self.rng.poisson(flicker * COLOUR * light * (WHITE - black) / gain)
        values = black + gain * electrons + read * self.rng.standard_normal(electrons.shape)
        return values.round().clip(0, WHITE).astype(np.uint16)


def write(path, planes, **facts):
    path.parent.mkdir(exist_ok=True)
    about = {"iso": 800, "camera": ("Makers", "Testcam")} | facts
    write_dng(path, as_mosaic(planes, "GRBG"), "GRBG", tuple(BLACK), WHITE, **about)


def burst(lights, folder="burst", **facts):
    recorder = Recorder()
    for number, light in enumerate(lights):
        write(Path(folder, f"{number}.dng"), recorder.frame(light), **facts)


def calibrated(*words):
    main(calibration_arguments(["--burst", "burst", "-o", "profile.json", *map(str, words)]))
    return json.loads(Path("profile.json").read_text())


def test_a_burst_with_flicker_and_a_moving_object_gives_gain_and_read_noise(workplace, capsys):
    lights = []
    for number in range(FRAMES):
        light = scene()
        light[40:120, 30 * number : 30 * number + 60] = 0.6 - 0.05 * number
        lights.append(light)
    burst(lights)
    profile = calibrated()
    # 1200 blocks of 64 pixels with 7 degrees of freedom: the variance is known to 0.2 % in all, and to 1 % in the
    # darkest level, of which the read noise is a quarter: it is known to 3 %.
    np.testing.assert_allclose(profile["gain"], GAIN, rtol=0.01)
    np.testing.assert_allclose(profile["read_noise"], READ_NOISE, rtol=0.05)
    assert (profile["row_noise"], profile["tukey_shape"], profile["iso"]) == ([0] * 4, None, 800)
    assert (profile["black_level"], profile["white_level"]) == (BLACK.tolist(), WHITE)
    printed = capsys.readouterr().out
    assert "8 frames of one scene, no dark frames" in printed
    shares = [float(share) for share in re.findall(r"(?:R|G1|G2|B) (\d+\.\d) %", printed.replace("%", " %"))]
    assert all(10 < share < 35 for share in shares[:4]), "of the picture, the moving object crosses 23 %"
    assert "flicker of the light, scaled out: 0." in printed
    assert "without dark frames a burst does not tell row noise" in printed
    assert "warning" not in printed
    assert Path("profile.png").read_bytes().startswith(PNG)


def test_dark_frames_tell_row_noise_and_black_level_beside_a_burst(workplace, capsys):
    burst([scene()] * FRAMES)
    recorder = Recorder(1)
    row_noise = 2 * recorder.rng.standard_normal((8, 4, SHAPE[0], 1))
    for number, rows in enumerate(row_noise):
        dark = recorder.frame(np.zeros(SHAPE)) + rows + 5
        write(Path("darks", f"{number}.dng"), dark.round().astype(np.uint16))
    profile = calibrated("--darks", "darks")
    np.testing.assert_allclose(profile["row_noise"], 2, rtol=0.1)
    np.testing.assert_allclose(profile["read_noise"], READ_NOISE, rtol=0.02)
    np.testing.assert_allclose(profile["black_level"], BLACK + 5, atol=0.2)
    assert "does not tell row noise" not in capsys.readouterr().out


def test_a_profile_is_checked_against_a_burst(workplace, capsys):
    burst([scene()] * FRAMES)
    calibrated()
    capsys.readouterr()
    main(calibration_arguments(["--burst", "burst", "--check", "profile.json"]))
    printed = capsys.readouterr().out
    ratios = [float(line.split()[-1]) for line in printed.splitlines() if line.startswith(("R ", "G", "B "))]
    assert len(ratios) > 40
    np.testing.assert_allclose(ratios, 1, atol=0.06)
    assert Path("profile_check.png").read_bytes().startswith(PNG)


def test_saturated_parts_are_left_out(workplace):
    light = scene()
    light[:80, 100:300] = 3
    burst([light] * FRAMES)
    np.testing.assert_allclose(calibrated()["gain"], GAIN, rtol=0.015)


def test_too_narrow_a_range_of_brightness_is_warned_of(workplace, capsys):
    burst([scene(darkest=0.5)] * FRAMES)
    calibrated()
    printed = capsys.readouterr().out
    assert "warning: G1: all is between " in printed
    assert "too narrow a range for a line; photograph a scene with deep shadows and bright parts" in printed
    assert "warning: R: the read noise is hidden by the photon noise: all that is known is that it is below" in printed


def other_iso():
    write(Path("burst/2.dng"), Recorder().frame(scene((64, 96))), iso=400)


def other_exposure():
    write(Path("burst/2.dng"), Recorder().frame(scene((64, 96))), more_tags=[(33434, 5, 1, (1, 50))])


def other_size():
    write(Path("burst/2.dng"), Recorder().frame(scene((64, 64))))


def other_light():
    write(Path("burst/2.dng"), Recorder().frame(1.2 * scene((64, 96))))


def other_scenes():
    rng = np.random.default_rng(0)
    for number in range(4):
        blobs = np.kron(rng.random((8, 12)), np.ones((8, 8)))
        write(Path(f"burst/{number}.dng"), Recorder(number).frame(0.7 * blobs / blobs.mean() / 2))


def one_frame_four_times():
    for number in range(1, 4):
        Path(f"burst/{number}.dng").write_bytes(Path("burst/0.dng").read_bytes())


@pytest.mark.parametrize(
    ("spoil", "words", "message"),
    [
        (lambda: Path("burst/3.dng").unlink(), (), "--burst: burst holds 3 raw files; give 4 or more of one static"),
        (other_iso, (), r"burst/2.dng: is by .* at ISO 400.*, and the first frame of the burst by .* at 800"),
        (other_exposure, (), "burst/2.dng: was exposed for 0.02 s, and the first frame of the burst for an unknown"),
        (other_size, (), "burst/2.dng: is a mosaic of 128 x 128, and the first frame of the burst is a mosaic of 192"),
        (other_light, (), "burst/2.dng: is 2[01]% brighter or darker than 0.dng in one of its colours; give frames"),
        (other_scenes, (), r"brighter or darker than|the frames do not match: \d+% of the picture changes"),
        (one_frame_four_times, (), "--burst: the frames do not differ; give different ones"),
        (lambda: None, ("-o", "burst/p.json"), "--output: burst/p.json lies in the --burst folder"),
        (lambda: None, ("--darks", "burst"), "--burst, --darks: burst and burst overlap; give folders side by side"),
        (lambda: None, ("--white", "400"), "--white: 400 given, not above the black level 516"),
    ],
)
def test_a_mistake_in_a_burst_is_one_clear_line_and_no_profile_is_written(workplace, spoil, words, message):
    burst([scene((64, 96))] * 4)
    spoil()
    with pytest.raises(UserError, match=message) as mistake:
        calibrated(*words)
    assert len(str(mistake.value).splitlines()) == 1
    assert not list(Path().rglob("p*.json"))


def test_a_camera_that_moves_between_the_frames_is_refused(workplace):
    rng = np.random.default_rng(0)
    texture = np.kron(rng.random((64, 96)), np.ones((4, 4))) * 0.6 + 0.1
    burst([np.roll(texture, 3 * number, 1) for number in range(4)])
    with pytest.raises(UserError, match=r"--burst: the frames do not match: neighbouring pixels change together"):
        calibrated()


def test_frames_that_were_smoothed_are_refused(workplace):
    recorder = Recorder()
    for number in range(4):
        frame = recorder.frame(scene((64, 96))).astype(np.float64)
        smoothed = (frame + np.roll(frame, 1, 1) + np.roll(frame, 1, 2) + np.roll(frame, (1, 1), (1, 2))) / 4
        write(Path(f"burst/{number}.dng"), smoothed.round().astype(np.uint16))
    with pytest.raises(
        UserError, match=r"--burst: .*neighbouring pixels change together.* as the camera recorded them"
    ):
        calibrated()


def test_flats_want_dark_frames(workplace):
    with pytest.raises(UserError, match=r"^--darks: not given; give the folder of frames without light"):
        main(calibration_arguments(["--flats", "flats", "-o", "profile.json"]))
