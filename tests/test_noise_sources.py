"""Where a raw file's noise is taken from: in a fixed order, and the results say what was used and why not the rest."""

import json
from pathlib import Path

import numpy as np
import pytest
from raw_files import write_dng
from restoring_files import identity_model

from options.errors import UserError
from restore import load_model
from restore.camera import noise_sources
from restore.camera.noise_sources import find_noise, installed_noise_profiles
from restore.camera.raw_file import read_raw
from restore.files.images import BadImage
from transforms.noise import CameraProfile, find_camera

PUBLISHED = Path(__file__).parents[2] / "shared/data/calib/darktable_noiseprofiles.json"
MOSAIC = np.array([7.9524, 15.5236, 15.5236, 8.7616])  # of R, G1, G2, B: what darktable's numbers are multiplied by
A, B = 1e-5, 1e-8  # at ISO 100, for all colours
SHOT, READ = 3e-3, 1e-5
PROFILE = CameraProfile(
    camera="Acme", iso=800, gain=[2] * 4, read_noise=[3] * 4, row_noise=[0] * 4, black_level=[0] * 4, white_level=1000
)


def database(path: Path) -> Path:
    """A file as darktable's, with one camera from ISO 100 to 1600."""
    settings = [
        {"name": "", "iso": iso, "a": [A * iso / 100] * 3, "b": [B * iso / 100] * 3} for iso in (100, 400, 1600)
    ]
    models = [{"comment": "", "model": "Mosaica 1", "profiles": settings}]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 0, "noiseprofiles": [{"maker": "Acme", "models": models}]}))
    return path


def raw_file(**facts):
    """A noisy grey ramp."""
    rng = np.random.default_rng(0)
    clean = np.linspace(0.02, 0.7, 256 * 256).reshape(256, 256)
    noisy = clean + np.sqrt(SHOT * clean + READ) * rng.standard_normal(clean.shape)
    mosaic = (1000 + 60000 * noisy).round().astype(np.uint16)
    return read_raw(write_dng(Path("a.dng"), mosaic, black=(1000,) * 4, white=61000, **facts))


@pytest.fixture
def installed(workplace, monkeypatch):
    """Where a darktable that is on the search path has its noise profiles."""
    command = workplace / "bin/darktable"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent))
    return workplace / "share/darktable/noiseprofiles.json"


@pytest.fixture
def no_darktable(workplace, monkeypatch):
    monkeypatch.setenv("PATH", str(workplace))
    monkeypatch.setattr(noise_sources, "INSTALLATIONS", ())


def test_the_files_own_noise_comes_first_then_the_profile_then_darktables_then_an_estimate(installed):
    database(installed)
    assert find_noise(raw_file(iso=800, noise_profile=[(1e-3, 1e-6)]), PROFILE)[1] == "NoiseProfile of the file"
    assert find_noise(raw_file(iso=800), PROFILE)[1] == "profile of Acme"
    noise, words = find_noise(raw_file(iso=800))
    assert words == f"darktable's noise profiles: Acme Mosaica 1 at ISO 800 ({installed})"
    np.testing.assert_allclose(noise.shot, 8 * A * MOSAIC, rtol=1e-5)
    np.testing.assert_allclose(noise.read, 8 * B * MOSAIC, rtol=1e-5)
    noise, words = find_noise(raw_file(iso=800, camera=("Acme", "Mosaica 2")))
    assert words == f"estimated from the file: {installed} does not have the camera Acme Mosaica 2"
    np.testing.assert_allclose(noise.shot, SHOT, rtol=0.1)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"iso": 3200}, "{} has Acme Mosaica 1 from ISO 100 to 1600, and the file has ISO 3200"),
        ({"iso": 50}, "{} has Acme Mosaica 1 from ISO 100 to 1600, and the file has ISO 50"),
        ({}, "the file does not say its ISO speed"),
        ({"iso": 800, "camera": ("", "")}, "{} does not have the camera unknown camera"),
    ],
)
def test_what_darktable_did_not_measure_is_estimated_and_the_reason_given(no_darktable, facts, reason):
    path = database(Path("mine.json"))
    assert find_noise(raw_file(**facts), None, path)[1] == f"estimated from the file: {reason.format(path)}"


def test_noise_profiles_found_by_themselves_stop_nobody_when_they_are_unusable(installed):
    installed.parent.mkdir(parents=True)
    for content in ("", "{", '{"version": 7}', "[1]"):
        installed.write_text(content)
        noise, words = find_noise(raw_file(iso=800))
        assert noise.known
        assert words.startswith(f"estimated from the file: {installed}: ")
        with pytest.raises(UserError, match=str(installed)) as mistake:
            find_noise(raw_file(iso=800), None, installed)
        assert len(str(mistake.value).splitlines()) == 1
    with pytest.raises(UserError, match=r"nowhere.json: cannot be read"):
        find_noise(raw_file(iso=800), None, "nowhere.json")


def test_without_darktable_the_noise_is_estimated(no_darktable):
    assert installed_noise_profiles() is None
    noise, words = find_noise(raw_file(iso=800))
    assert noise.known
    assert words == "estimated from the file: darktable, whose noise profiles could tell it, is not installed"


def test_darktable_is_found_by_a_linked_command_and_where_it_is_usually_installed(installed, monkeypatch):
    database(installed)
    links = installed.parents[2] / "links"
    links.mkdir()
    (links / "darktable").symlink_to("../bin/darktable")
    monkeypatch.setenv("PATH", str(links))
    assert installed_noise_profiles() == installed
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(noise_sources, "INSTALLATIONS", ("/nowhere", str(installed.parents[2])))
    assert installed_noise_profiles() == installed


def test_a_profile_of_another_iso_speed_is_refused(workplace):
    with pytest.raises(BadImage, match=r"has ISO 400, and the profile of Acme was measured at ISO 800; give a profile"):
        find_noise(raw_file(iso=400), PROFILE)


def test_a_model_is_given_darktables_noise_and_the_result_says_so(no_darktable):
    chain = [{"class_name": "RgbToRawTransform"}, {"class_name": "VarianceStabilization"}, {"class_name": "ToTensor2"}]
    model = load_model(identity_model(Path("knowing.pth"), chain, n_channels=4), "cpu")
    raw_file(iso=400)
    restored = model.restore_raw("a.dng", noise_profiles=database(Path("mine.json")))
    np.testing.assert_allclose(restored.noise.shot, 4 * A * MOSAIC, rtol=1e-5)
    assert restored.noise_from == "darktable's noise profiles: Acme Mosaica 1 at ISO 400 (mine.json)"


@pytest.mark.skipif(not PUBLISHED.exists(), reason="darktable's noiseprofiles.json is not there")
def test_the_names_that_real_files_have_are_found_in_darktables_own_file(workplace):
    for make, model in (("Canon", "Canon EOS 550D"), ("NIKON CORPORATION", "NIKON D750"), ("SONY", "ILCE-7M3")):
        noise, words = find_noise(raw_file(iso=1600, camera=(make, model)), None, PUBLISHED)
        assert words.startswith("darktable's noise profiles: ")
        assert 1e-4 < float(noise.shot.min()) < float(noise.shot.max()) < 1e-2


LIST = """<?xml version="1.0"?><Cameras><Camera make="Acme" model="Acme Mosaica 1">
<Aliases><Alias id="Kiss M">Acme Kiss M</Alias><Alias/></Aliases></Camera></Cameras>"""


@pytest.mark.parametrize("text", [None, "no XML", "<Cameras/>", "<Cameras><Camera/></Cameras>"])
def test_a_camera_is_found_by_its_name_in_another_country_where_darktables_list_lies_beside(workplace, text):
    names = workplace / f"{text is None}/rawspeed/cameras.xml"
    profiles = database(names.parents[1] / "noiseprofiles.json")
    names.parent.mkdir()
    names.write_text(LIST if text is None else text)
    found = find_camera(profiles, "Acme", "Acme KISS M")
    assert (found.name if found else None) == ("Acme Mosaica 1" if text is None else None)
    assert find_camera(profiles, "Acme", "Mosaica 1").name == "Acme Mosaica 1"
