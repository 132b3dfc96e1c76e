"""The noise of the cameras in darktable's noiseprofiles.json: read as darktable means it, in the units of a mosaic."""

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import train
from torch.testing import assert_close

import transforms
from options.base import parse
from options.errors import UserError
from restore import load_model
from restore.command.arguments import testing_arguments as arguments_of
from restore.test import main as restore_folder
from restore.training.option_file import read_option_file
from transforms import unpack
from transforms.noise import Darktable, SensorNoise, add_noise, camera_noise
from transforms.noise.darktable import read_noise_profiles
from transforms.rgb_to_raw import RgbToRawTransform
from transforms.sensor.rendering import demosaic

CALIB = Path(__file__).parents[2] / "shared/data/calib"
PUBLISHED = CALIB / "darktable_noiseprofiles.json"
needs_file = pytest.mark.skipif(not PUBLISHED.exists(), reason="darktable's noiseprofiles.json is not there")

VARIANCE = np.array([7.9524, 15.5236, 8.7616])  # 2.82, 3.94 and 2.96 squared
A = np.array([4e-6, 2e-6, 3e-6])  # at ISO 100
B = np.array([4e-9, 1e-9, 2e-9])
TO_TENSOR = {"class_name": "ToTensor2"}


def setting(iso, a=None, b=None, **more):
    """As a camera has it whose noise grows with the ISO speed."""
    a, b = A * iso / 100 if a is None else a, B * iso / 100 if b is None else b
    return {"name": f"iso {iso}", "iso": iso, "a": list(a), "b": list(b), **more}


MAKERS = {
    "Acme": {
        "M 1": [setting(100), setting(400), setting(200, [1, 1, 1], [1, 1, 1], skip=True)],
        "M 2": [setting(1600), setting(3200), setting(800)],
        "X": [setting(100)],
    },
    "Other Works": {"D7": [setting(100), setting(100, 3 * A, 3 * B)], "X": [setting(100)]},
}


@pytest.fixture
def database(workplace):
    """Writes a file as darktable's, and returns its path."""

    def write(makers=MAKERS, **more):
        models = {
            maker: [{"comment": "", "model": name, "profiles": profiles} for name, profiles in cameras.items()]
            for maker, cameras in makers.items()
        }
        data = {"version": 0, "noiseprofiles": [{"maker": maker, "models": models[maker]} for maker in makers]}
        path = workplace / f"noiseprofiles{len(list(workplace.iterdir()))}.json"
        path.write_text(json.dumps(data | more))
        return str(path)

    return write


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def planes(colours):
    """(4,) float32 for R, G1, G2, B, of numbers for red, green and blue."""
    return torch.tensor(np.asarray(colours)[[0, 1, 1, 2]], dtype=torch.float32)


def assert_noise(noise, shot, read):
    """shot and read as in the file: of red, green and blue, before the factors of the mosaic."""
    assert_close(noise.shot, planes(shot * VARIANCE), rtol=1e-5, atol=0)
    assert_close(noise.read, planes(read * VARIANCE), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("iso", "factor"), [(100, 1), (400, 4), (250, 2.5), (101, 1.01), (50, 1), (1, 1), (800, 4), (1e6, 4)]
)
def test_noise_is_linear_between_two_iso_speeds_and_that_of_the_end_outside_them(database, iso, factor):
    assert_noise(camera_noise(database(), "Acme", "M 1", iso), factor * A, factor * B)


def test_what_darktable_skips_is_left_out_and_what_was_measured_twice_is_averaged(database):
    assert_noise(camera_noise(database(), "Acme", "M 1", 200), 2 * A, 2 * B)
    assert_noise(camera_noise(database(), "Other Works", "D7", 100), 2 * A, 2 * B)
    assert_noise(camera_noise(database(), "Acme", "M 2", 1200), 12 * A, 12 * B)  # not in order


def test_a_colour_that_was_not_measured_has_the_noise_of_the_others(database):
    for lost in (0.0, -1e-5):
        path = database({"Acme": {"M": [setting(100, [A[0], A[1], lost], [B[0], B[1], 1e-3])]}})
        shot, read = camera_noise(path, "Acme", "M", 100)
        expected = [(values * VARIANCE)[:2].mean() for values in (A, B)]
        assert_close(torch.stack([shot[3], read[3]]), torch.tensor(expected, dtype=torch.float32))
        assert_close(shot[:3], planes(A * VARIANCE)[:3])


def test_a_variance_below_0_at_black_counts_as_the_read_noise_of_one_electron(database):
    for lost in (0.0, -1e-7):
        path = database({"Acme": {"M": [setting(100, A, [B[0], lost, B[2]])]}})
        shot, read = camera_noise(path, "Acme", "M", 100)
        assert_close(read[1:3], shot[1:3].square())
        assert_close(read[[0, 3]], planes(B * VARIANCE)[[0, 3]])


def test_cameras_without_a_measurement_are_not_drawn(database):
    path = database({"Acme": {"M 1": [setting(100, skip=True)], "M 2": [setting(100, [0, 0, 0])], "M 3": [setting(1)]}})
    assert [camera.name for camera in read_noise_profiles(path)] == ["Acme M 3"]
    assert camera_noise(path, "Acme", "M 1", 100) is None


def haar_deviation(image):
    """The standard deviation as darktable's tool computes it of an even image: by the median of the diagonal Haar
    coefficients."""
    haar = (image[::2, ::2] - image[::2, 1::2] - image[1::2, ::2] + image[1::2, 1::2]) / 4
    return np.median(np.abs(haar)) / 0.6745


def measured_as_darktable_does(noise, light):
    """(a, b) of red, green and blue: lines through the variances of demosaiced frames of even light.

    light  the signal of red, green and blue where green's is 1; the raw values are not white balanced
    """
    signals, variances = [], []
    for level in np.linspace(0.04, 0.9, 12):
        clean = (level * planes(light))[:, None, None].expand(4, 256, 256)
        frame = demosaic(unpack(add_noise(clean, noise, generator()))).clamp(min=0).double().numpy()
        signals.append(frame.mean(axis=(1, 2)))
        variances.append([haar_deviation(colour) ** 2 for colour in frame])
    signals, variances = np.array(signals), np.array(variances)
    return np.array([np.polyfit(signals[:, c], variances[:, c], 1, w=1 / variances[:, c]) for c in range(3)]).T


def test_a_camera_measured_as_darktable_does_has_its_true_noise_in_the_mosaic(database):
    # The factors of the mosaic are medians over cameras and lights; a light as in this test gives 2.77, 3.70 and 2.89.
    true = SensorNoise(planes([4e-4, 4e-4, 4e-4]), planes([2e-6, 2e-6, 2e-6]))
    a, b = measured_as_darktable_does(true, light=[0.65, 1, 0.7])
    assert (a < 0.14 * 4e-4).all(), "the method understates noise by far"
    shot, read = camera_noise(database({"Acme": {"M": [setting(100, a, b)]}}), "Acme", "M", 100)
    assert_close(shot, true.shot, rtol=0.17, atol=0)
    # In the dark all colours are equally noisy, for which the factors are 3.1, 3.4 and 3.1.
    assert_close(read, true.read, rtol=0.35, atol=0)


@pytest.mark.skipif(not (CALIB / "emva1288_001").exists(), reason="frames of a real sensor are not there")
@pytest.mark.parametrize("number", [3, 9, 15])
def test_darktables_method_halves_the_deviation_of_a_real_sensors_frames(number):
    files = [CALIB / f"emva1288_001/images/b_{number:03}_snap_{shot:03}.png" for shot in (1, 2)]
    first, second = (cv2.imread(str(file), cv2.IMREAD_UNCHANGED).astype(float) for file in files)
    assert haar_deviation(first - second) / (first - second).std() == pytest.approx(0.5, rel=0.02)


def chain(path, iso=100, **fields):
    model = {"class_name": "darktable", "path": path, **fields}
    to_raw = {"class_name": "RgbToRawTransform", "iso": iso, "noise_model": model, "wb_gains_mode": "none"}
    return transforms.build([to_raw, TO_TENSOR])


@pytest.mark.parametrize("level", [0, 128])
def test_a_samples_noise_is_the_one_that_is_told_with_it(database, level):
    sample = chain(database(), iso=3200, cameras=["acme m 2"], jitter=2)(
        np.full((512, 512, 3), level, np.uint8), generator()
    )
    shot, read = sample.metadata.noise
    variance = (sample.degraded - sample.clean).var(dim=(1, 2))
    assert_close(variance, shot * sample.clean.mean(dim=(1, 2)) + read, rtol=0.03, atol=0)
    ratio = torch.stack([shot, read]) / torch.stack([planes(32 * A * VARIANCE), planes(32 * B * VARIANCE)])
    assert ratio.min() > 0.5 - 1e-6
    assert ratio.max() < 2 + 1e-6


def drawn(model, iso, count=400):
    rng = generator()
    return [model.draw(iso, rng) for _ in range(count)]


def test_cameras_that_have_the_iso_speed_are_drawn_equally_often(database):
    makers = {"Acme": {f"M {n}": [setting(100, n * A), setting(1000 * n, n * A)] for n in (1, 2, 3)}}
    path = database(makers)
    for iso, having in ((500, (1, 2, 3)), (1500, (2, 3)), (2500, (3,))):
        shots = torch.stack([noise.shot for noise in drawn(Darktable(path=path), iso)])[:, 0] / (A * VARIANCE)[0]
        numbers, counts = shots.round().int().unique(return_counts=True)
        assert tuple(numbers.tolist()) == having
        assert counts.min() > 0.75 * 400 / len(having)


def test_where_no_camera_has_the_iso_speed_each_has_the_noise_of_its_nearest(database):
    model = Darktable(path=database(), cameras=("Acme M 1", "Acme M 2"))
    for iso, factors in ((10_000, {4, 32}), (50, {1, 8}), (600, {4, 8})):
        shots = {round(noise.shot[0].item() / (A * VARIANCE)[0]) for noise in drawn(model, iso, 40)}
        assert shots == factors


def test_jitter_multiplies_shot_and_read_noise_of_each_colour_by_a_factor_of_its_own(database):
    model = Darktable(path=database(), cameras=("Acme M 1",), jitter=1.5)
    noise = drawn(model, 100)
    factors = torch.cat(
        [
            torch.stack([one.shot for one in noise]) / planes(A * VARIANCE),
            torch.stack([one.read for one in noise]) / planes(B * VARIANCE),
        ],
        dim=1,
    ).log()
    assert torch.equal(factors[:, 1], factors[:, 2]), "both greens are one colour"
    assert factors.abs().max() <= np.log(1.5) + 1e-6
    assert_close(factors.mean(dim=0), torch.zeros(8), rtol=0, atol=0.05)
    assert_close(factors.std(dim=0), torch.full((8,), float(np.log(1.5) / 3**0.5)), rtol=0.1, atol=0)
    apart = torch.corrcoef(factors[:, [0, 1, 3, 4, 5, 7]].T) - torch.eye(6)
    assert apart.abs().max() < 0.2
    assert_noise(Darktable(path=model.path, cameras=model.cameras).draw(100, generator()), A, B)


def test_the_same_state_draws_the_same_noise(database):
    model = Darktable(path=database(), jitter=1.25)
    for seed in range(5):
        assert_close(model.draw(100, generator(seed)), model.draw(100, generator(seed)), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"path": "lost.json"},
            r"path: .*lost.json: cannot be read \(No such file or directory\); give the path of dar",
        ),
        ({"path": "text.json"}, r"path: .*text.json: line 1, column 1: not JSON"),
        ({"path": "other.json"}, r"path: .*other.json: noiseprofiles: missing.*; it is damaged or another file: give "),
        ({"path": "none.json"}, r"path: .*none.json: has no camera; give the path of darktable's noiseprofiles.json"),
        ({"cameras": ["Acme M1", "Acme M3"]}, r'cameras.1: "Acme M3" given, .*not in .*; did you mean "Acme M [12]"\?'),
        ({"cameras": ["Zzz"]}, r'cameras.0: "Zzz" given, .*; give maker and model, as "Acme M 1"'),
        ({"cameras": ["X"]}, r'cameras.0: "X" given, and .* has Acme X and Other Works X; give the maker too'),
        ({"cameras": []}, r"cameras: \[\] given; .*at least 1"),
        ({"cameras": "Acme M 1"}, r'cameras: "Acme M 1" given; give a list'),
        ({"jitter": 0.8}, r"jitter: 0.8 given; .*greater than or equal to 1"),
        ({"camera": "X"}, r'camera: unknown key .*did you mean "cameras"\?'),
    ],
)
def test_a_mistake_is_one_line_with_its_place_and_the_remedy(database, workplace, fields, line):
    (workplace / "text.json").write_text("GPL")
    (workplace / "other.json").write_text('{"version": 0}')
    (workplace / "none.json").write_text('{"version": 0, "noiseprofiles": []}')
    with pytest.raises(UserError, match=rf"^transforms[.:] ?0.noise_model.{line}") as mistake:
        chain(**{"path": database(), **fields})
    assert len(str(mistake.value).splitlines()) == 1


@pytest.mark.parametrize(
    "damage",
    [
        {"a": [1, 2]},
        {"b": [1, 2, "3"]},
        {"a": [1, 2, None]},
        {"iso": 0},
        {"iso": "100"},
        {"skip": 1},
    ],
)
def test_a_damaged_file_is_told_in_one_line_with_the_place_in_it(database, damage):
    path = database({"Acme": {"M": [setting(100), setting(200) | damage, setting(400) | damage]}})
    place = rf"noiseprofiles.0.models.0.profiles.1.{next(iter(damage))}"
    with pytest.raises(UserError, match=rf"^{path}: {place}.*; it is damaged or another file: give") as mistake:
        read_noise_profiles(path)
    assert len(str(mistake.value).splitlines()) == 1


def test_a_form_that_is_not_known_is_refused(database):
    with pytest.raises(UserError, match=r"version: 1 is not a choice"):
        read_noise_profiles(database(version=1))


@pytest.mark.parametrize(
    ("maker", "model", "found"),
    [
        ("Acme", "M 1", True),
        ("ACME CORPORATION", "ACME M 1", True),
        ("acme imaging", "M1", True),
        ("Holding Ltd.", "Acme M 1", True),
        ("Other Digital Solutions", "D7", True),
        ("Acme", "M 11", False),
        ("Acme", "M", False),
        ("Acmeter", "M 1", False),
        ("Acme", "D7", False),
        ("", "", False),
    ],
)
def test_a_raw_files_make_and_model_find_its_camera(database, maker, model, found):
    assert (camera_noise(database(), maker, model, 100) is not None) == found


def test_the_same_model_of_two_makers_is_told_by_its_maker(database):
    path = database({"Acme": {"X": [setting(100)]}, "Other Works": {"X": [setting(100, 2 * A)]}})
    assert_close(camera_noise(path, "Other Works", "X", 100).shot, 2 * camera_noise(path, "Acme", "X", 100).shot)


def test_an_option_file_tells_the_mistake_with_its_other_mistakes(option_file):
    to_raw = {"class_name": "RgbToRawTransform", "noise_model": {"class_name": "darktable", "path": "lost.json"}}
    path = option_file(
        transforms_train=[{"class_name": "RandomCrop", "h": 32, "w": 32}, to_raw, TO_TENSOR], batch_size=0
    )
    with pytest.raises(UserError) as mistakes:
        read_option_file(path)
    lines = str(mistakes.value).splitlines()
    assert len(lines) == 2
    assert "batch_size: 0 given" in lines[0]
    assert "transforms_train.1.noise_model.path: " in lines[1]


def test_a_chain_holds_the_path_alone_and_is_rebuilt_where_the_file_is_not(database, workplace):
    to_raw = chain(database(), iso=(100, 400), cameras=["Acme M 1"], jitter=1.25).transforms[0]
    written = to_raw.model_dump_json()
    assert "e-06" not in written, "no number of the file"
    assert len(pickle.dumps(to_raw)) < 2000
    (workplace / "noiseprofiles0.json").rename(workplace / "elsewhere.json")
    assert parse(RgbToRawTransform, json.loads(written)) == to_raw
    moved = parse(RgbToRawTransform, json.loads(written.replace("noiseprofiles0", "moved")))
    with pytest.raises(UserError, match=r"moved.json: cannot be read"):
        moved(np.zeros((8, 8, 3), np.uint8), generator())


def test_a_model_restores_raw_on_a_machine_without_the_file(database, option_file):
    path = database()
    to_raw = {"class_name": "RgbToRawTransform", "iso": 100, "noise_model": {"class_name": "darktable", "path": path}}
    steps = [{"class_name": "RandomCrop", "h": 32, "w": 32}, to_raw, {"class_name": "NoiseLevelMap"}, TO_TENSOR]
    generator_section = {"class_name": "UNet", "n_channels": 4, "in_channels": 8, "widths": [8]}
    options = option_file(
        generator=generator_section, transforms_train=steps, transforms_test=steps, total_iterations=2, validate_every=2
    )
    train("-opt", options, "--run-name", "run", "--set", "workers=0")
    information = Path("model_zoo/run/best.json")
    information.write_text(information.read_text().replace(path, "gone.json"))
    noise = camera_noise(path, "Acme", "M 1", 100)
    assert load_model("model_zoo/run", "cpu")(torch.zeros(4, 16, 16), noise=noise).shape == (4, 16, 16)
    with pytest.raises(UserError, match=r"best.json: transforms_test.1.noise_model.path: .*gone.json: cannot be read"):
        restore_folder(
            arguments_of(["--model", "model_zoo/run", "--input", "val", "--output", "out", "--device", "cpu"])
        )


@needs_file
def test_the_published_file_gives_each_of_its_433_cameras_noise():
    cameras = read_noise_profiles(PUBLISHED)
    assert len(cameras) == 433
    for camera in cameras:
        assert (np.diff(camera.iso) > 0).all()
        assert (camera.shot > 0).all()
        assert (camera.read > 0).all()
        assert camera_noise(PUBLISHED, camera.maker, camera.model, 800) is not None
    model = Darktable(path=str(PUBLISHED), cameras=tuple(camera.name for camera in cameras))
    assert model.file_mistakes() == []


@needs_file
def test_the_published_cameras_have_equal_gain_in_all_colours_in_the_mosaic():
    """As the pixels of a sensor do, whose colours differ by their filters alone: a check of the factors."""
    at_1600 = np.array([camera.noise(1600).shot.numpy() for camera in read_noise_profiles(PUBLISHED)])
    ratios = at_1600 / at_1600.mean(axis=1, keepdims=True)
    assert_close(np.median(ratios, axis=0), np.ones(4, np.float32), rtol=0.12, atol=0)


@needs_file
def test_the_published_cameras_are_about_as_noisy_as_the_typical_camera_of_dng():
    at_12500 = [camera.noise(12500) for camera in read_noise_profiles(PUBLISHED) if camera.has(12500)]
    assert 2e-3 < np.median([noise.shot[1] for noise in at_12500]) < 5e-3
    assert 0.5e-5 < np.median([noise.read[1] for noise in at_12500]) < 2e-5


@needs_file
@pytest.mark.parametrize(
    ("maker", "model"),
    [
        ("SONY", "ILCE-7M3"),
        ("NIKON CORPORATION", "NIKON D750"),
        ("OLYMPUS CORPORATION", "E-M5MarkII"),
        ("OM Digital Solutions", "OM-1"),
        ("RICOH IMAGING COMPANY, LTD.", "PENTAX K-1"),
        ("Canon", "Canon EOS R5"),
        ("LEICA CAMERA AG", "LEICA Q2"),
    ],
)
def test_makes_and_models_as_cameras_write_them_are_found(maker, model):
    assert camera_noise(PUBLISHED, maker, model, 1600) is not None
