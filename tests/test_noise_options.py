"""How noise is written in an option file and in a camera's profile: read strictly, and written back."""

import json

import pytest
import torch
from torch.testing import assert_close

import transforms
from options.base import parse
from options.errors import UserError
from transforms.noise import CameraProfile, Profile, read_profile
from transforms.rgb_to_raw import RgbToRawTransform

MODELS = ["dng", "unprocessing", "eld", "gaussian", "mixed"]
PROFILE = {
    "camera": "Maker Model",
    "iso": 3200,
    "gain": [2.0, 2.1, 2.2, 2.3],
    "read_noise": [5, 6.0, 7.0, 8.0],
    "row_noise": [0.5, 0.5, 0.5, 0.5],
    "black_level": [512.0, 511.5, 512.0, 513.0],
    "white_level": 16383,
    "tukey_shape": -0.05,
}
BY_ISO = {"A": 4.458e-6, "B": -9.50e-6, "C": 6.162e-11, "D": 2.768e-7, "max_analog_iso": 1600}


def chain(**fields):
    return transforms.build([{"class_name": "RgbToRawTransform", **fields}, {"class_name": "ToTensor2"}])


@pytest.mark.parametrize("name", MODELS)
def test_a_models_name_stands_for_its_defaults_and_stays_a_name(name):
    transform = chain(noise_model=name).transforms[0]
    assert transform.noise_model == type(transform.noise_model)()
    assert transform.noise_model.class_name == name
    assert json.loads(transform.model_dump_json())["noise_model"] == name
    assert chain(noise_model={"class_name": name}).transforms[0] == transform


@pytest.mark.parametrize(
    "section",
    [
        {"class_name": "dng", "shot": 0.01, "read": [1e-5, 2e-5, 3e-5, 4e-5], "iso_profile": None, "jitter": 1.0},
        {
            "class_name": "dng",
            "shot": None,
            "read": None,
            "iso_profile": {**BY_ISO, "D": [1e-7, 2e-7, 3e-7, 4e-7]},
            "jitter": 3.0,
        },
        {"class_name": "eld", "camera": "virtual", "read_noise": "gaussian"},
        {"class_name": "gaussian", "sigma": 0.1},
        {"class_name": "mixed", "sigma": 0.1},
        {"class_name": "profile", "camera": PROFILE},
    ],
)
def test_a_models_section_is_rebuilt_from_its_json(section):
    transform = parse(RgbToRawTransform, {"class_name": "RgbToRawTransform", "noise_model": section})
    assert json.loads(transform.model_dump_json())["noise_model"] == section


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"noise_model": "gausian"}, r'noise_model.class_name: "gausian" is unknown; did you mean "gaussian"\?'),
        ({"noise_model": {"class_name": "edl"}}, r'noise_model.class_name: "edl" is unknown; did you mean "eld"\?'),
        ({"noise_model": {"camera": "SonyA7S2"}}, r"noise_model.class_name: missing"),
        ({"noise_model": 3}, r"noise_model: 3 given"),
        ({"noise_model": {"class_name": "gaussian", "camera": 1}}, r"noise_model.camera: unknown key .*known: .*sigma"),
        ({"noise_model": {"class_name": "eld", "camera": "SonyA7S3"}}, r'"SonyA7S3" is not .* mean "SonyA7S2"\?'),
        ({"noise_model": {"class_name": "dng", "shot": -1}}, r"noise_model.shot: -1 given; .*greater than or equal"),
        ({"noise_model": {"class_name": "dng", "read": [1, 1, 1, "a"]}}, r'noise_model.read.3: "a" given; .*number'),
        ({"noise_model": {"class_name": "dng", "read": 1, "iso_profile": BY_ISO}}, r"keep iso_profile, or the numbers"),
        ({"noise_model": "profile"}, r"noise_model.camera: missing"),
        ({"noise_model": {"class_name": "profile", "camera": "a.json"}}, r"camera: a.json: cannot be read .*give the"),
        ({"shot": 0.01}, r"shot: unknown key"),
        ({"iso": [800, 100]}, r"iso: \[800, 100\] given; give the lower end first"),
        ({"iso": "high"}, r'iso: "high" given; .*integer'),
        ({"iso": [0, 100]}, r"iso.0: 0 given; .*greater than 0"),
        ({"clean_share": 1.5}, r"clean_share: 1.5 given; .*less than or equal to 1"),
        ({"exposure": 1}, r"exposure: 1 given"),
        ({"camera_matrix": [[1, 0, 0], [0, 1, 0]]}, r"camera_matrix.2: missing"),
        ({"camera_matrix": [[1, 0, 0], [0, 1, 0], [0, 0, -1]]}, r"camera_matrix: row 3 sees no light in white; give"),
        ({"camera_matrix": [[1, 0, 0], [1, 0, 0], [0, 0, 1]]}, r"camera_matrix: it hardly tells colours apart; give"),
    ],
)
def test_a_mistake_is_one_line_with_its_place_and_the_remedy(fields, line, workplace):
    with pytest.raises(UserError, match=line) as mistake:
        chain(**fields)
    assert len(str(mistake.value).splitlines()) == 1
    assert str(mistake.value).startswith("transforms: 0.")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", r"camera.json: line 1, column 2: not JSON: .*; close every quotation mark, bracket and brace"),
        ('{"gian": 1}', r'camera.json: gian: unknown key \(given 1\); did you mean "gain"\?'),
        (json.dumps({**PROFILE, "gain": 2}), r"camera.json: gain: 2 given"),
        (json.dumps({**PROFILE, "gain": [1, 1, 0, 1]}), r"camera.json: gain.2: 0 given; .*greater than 0"),
        (json.dumps({**PROFILE, "white_level": 500}), r"camera.json: white_level: 500.0 given, and the black level is"),
        (
            json.dumps({**PROFILE, "tukey_shape": -0.5}),
            r"camera.json: tukey_shape: -0.5 given; .*equal to -0.3",
        ),
    ],
)
def test_a_profiles_mistake_is_told_with_the_file_and_the_place(text, line, workplace):
    (workplace / "camera.json").write_text(text)
    with pytest.raises(UserError, match=line):
        read_profile("camera.json")


def test_a_profile_becomes_noise_in_units_of_white_above_black(workplace):
    (workplace / "camera.json").write_text(json.dumps(PROFILE))
    profile = read_profile("camera.json")
    shot, read = profile.noise().profile()
    unit = 16383 - torch.tensor([512, 511.5, 512, 513])
    assert_close(shot, torch.tensor([2, 2.1, 2.2, 2.3]) / unit)
    assert_close(read, (torch.tensor([25.0, 36, 49, 64]) + 0.25 + 1 / 12) / unit**2)
    assert profile.noise().tukey_shape.tolist() == pytest.approx([-0.05] * 4)
    assert CameraProfile.model_validate_json(profile.model_dump_json()) == profile


def test_a_model_carries_the_profile_with_it_and_needs_its_file_no_more(workplace):
    (workplace / "camera.json").write_text(json.dumps(PROFILE))
    transform = chain(noise_model={"class_name": "profile", "camera": "camera.json"}).transforms[0]
    written = transform.model_dump_json()
    (workplace / "camera.json").unlink()
    again = transforms.build([json.loads(written), {"class_name": "ToTensor2"}]).transforms[0]
    assert again == transform
    assert again.noise_model == Profile(camera=CameraProfile.model_validate_json(json.dumps(PROFILE)))
