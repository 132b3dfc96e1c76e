"""restore.test with raw files: each comes back as a DNG of its own numbers and colours, or is named with the reason."""

import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import rawpy
import torch
from raw_files import MATRIX, write_dng
from restoring_files import identity_model, pictures

from options.errors import UserError
from restore import load_model
from restore.camera.output.formats import write_all
from restore.camera.raw_file import read_raw
from restore.command.arguments import testing_arguments as arguments_of
from restore.networks import build_generator
from restore.test import SOME_LEFT_OUT, main

RAW = Path(__file__).parents[2] / "shared" / "data" / "raw"
needs_real_files = pytest.mark.skipif(not RAW.exists(), reason="the real raw files are not there (shared/data/raw)")
BLACK, WHITE = (100.25, 130.5, 160.75, 190), 15000
NOISE = [(1e-3, 1e-6), (2e-3, 2e-6), (3e-3, 3e-6)]
PATTERNS = ["RGGB", "GRBG", "GBRG", "BGGR"]
AREAS = [None, (1, 0, 45, 69), (0, 3, 46, 70), (3, 5, 46, 64)]
ORIENTATIONS = [1, 3, 6, 8, 2, 5]


def restore(*words) -> int:
    return main(arguments_of(["--device", "cpu", "--output", "out", *map(str, words)]))


def results() -> dict:
    return json.loads(Path("out/results.json").read_text())


def dng(path, seed=0, size=(46, 70), **facts) -> Path:
    """A DNG of random numbers."""
    path.parent.mkdir(exist_ok=True)
    mosaic = np.random.default_rng(seed).integers(0, 16384, size, dtype=np.uint16)
    return write_dng(path, mosaic, **{"black": BLACK, "white": WHITE, "color_matrix": MATRIX} | facts)


@pytest.fixture
def identity(workplace):
    """A raw model that returns what it gets."""
    return identity_model(workplace / "identity.pth", n_channels=4, layout="RGGB")


@pytest.fixture
def changing(workplace):
    """A raw model that adds 0.002 to red and 0.01 to blue."""
    path = identity_model(workplace / "changing.pth", n_channels=4, layout="RGGB")
    weights = torch.load(path, weights_only=True)
    torch.save(weights | {"tail.bias": torch.tensor([0.002, 0, 0, 0.01])}, path)
    return path


def test_every_phase_margin_and_orientation_comes_back_with_every_pixel(identity, workplace):
    for number, pattern in enumerate(PATTERNS):
        for area in AREAS:
            name = f"in/{pattern}_{area}.dng"
            tags = [(274, 3, 1, ORIENTATIONS[number])]
            dng(
                workplace / name, number, pattern=pattern, active_area=area, more_tags=tags, in_sub_ifd=bool(number % 2)
            )
    assert restore("--model", identity, "--input", "in", "--tile", 40, "--overlap", 8) == 0
    for file in Path("in").iterdir():
        same(Path("out", file.name), file)


def same(path, source):
    written, raw = read_raw(path), read_raw(source)
    assert np.array_equal(written.frame, raw.frame)
    assert (written.pattern, written.margins) == (raw.pattern, raw.margins)
    assert (written.orientation, written.white, written.camera) == (raw.orientation, raw.white, raw.camera)
    assert written.black.tolist() == raw.black.tolist()
    for before, after in zip(raw.metadata.camera, written.metadata.camera, strict=True):
        np.testing.assert_allclose(after, before, atol=1e-5)
    with rawpy.imread(str(source)) as recorded, rawpy.imread(str(path)) as restored:
        assert np.array_equal(recorded.raw_image_visible, restored.raw_image_visible)


def test_strength_mixes_the_input_in_again_and_0_is_the_input(changing, workplace):
    source = dng(workplace / "in/a.dng", noise_profile=NOISE, black=(100,) * 4)
    for strength in (0, 0.5, 1):
        assert restore("--model", changing, "--input", "in", "--strength", strength, "--overwrite") == 0
        added = (read_raw("out/a.dng").data.astype(int) - read_raw(source).data)[1::2, 1::2]
        assert np.unique(added).tolist() == [round(0.01 * strength * (WHITE - 100) - 1e-9)] or strength == 0.5
        assert abs(added.mean() - 0.01 * strength * (WHITE - 100)) < 0.5
    for wrong in (-0.1, 1.5, "nan"):
        with pytest.raises(UserError, match=r"^--strength: .* given; give a number from 0 to 1"):
            restore("--model", changing, "--input", "in", "--strength", wrong)


def test_a_change_of_brightness_is_flagged_and_named_by_colour(changing, identity, workplace, capsys):
    dng(workplace / "in/a.dng")
    restore("--model", changing, "--input", "in")
    row = results()["pictures"]["a.dng"]
    np.testing.assert_allclose(list(row["mean_change"].values()), [0.002, 0, 0, 0.01], atol=1e-6)
    message = "the mean has changed by R +0.20 %, G1 +0.00 %, G2 +0.00 %, B +1.00 % of the full scale"
    assert message in row["warnings"][0]
    assert f"a.dng: {message}" in capsys.readouterr().out
    restore("--model", identity, "--input", "in", "--overwrite")
    assert results()["pictures"]["a.dng"]["warnings"] == []


def test_a_file_that_was_denoised_before_is_flagged(identity, workplace):
    dng(workplace / "in/a.dng")
    restore("--model", identity, "--input", "in")
    Path("out").rename("again")
    restore("--model", identity, "--input", "again/a.dng")
    assert results()["pictures"]["a.dng"]["warnings"][-1].startswith("was denoised before")


def test_python_gives_the_mosaic_that_the_command_writes(changing, workplace):
    source = dng(workplace / "in/a.dng", noise_profile=NOISE, pattern="GBRG")
    restore("--model", changing, "--input", "in", "--strength", 0.5)
    restored = load_model(changing, "cpu").restore_raw(source, strength=0.5)
    assert (restored.pattern, restored.strength, restored.scale) == ("GBRG", 0.5, 1)
    write_all(restored, {"dng": Path("python.dng")})
    assert Path("python.dng").read_bytes() == Path("out/a.dng").read_bytes()


def test_photographs_and_raw_files_may_lie_in_one_folder(workplace):
    chain = [{"class_name": "RgbToRawTransform"}, {"class_name": "ToTensor2"}]
    model = identity_model(workplace / "raw.pth", chain, n_channels=4)
    source = dng(pictures(workplace / "in") / "b.dng")
    (workplace / "in/deeper").mkdir()
    shutil.copy(source, workplace / "in/deeper/0.dng")
    assert restore("--model", model, "--input", "in") == 0
    rows = results()["pictures"]
    assert {file: row["outputs"] for file, row in rows.items()} == {
        "0.png": {"png": "0.png"},
        "1.png": {"png": "1.png"},
        "b.dng": {"dng": "b.dng"},
        "deeper/0.dng": {"dng": "deeper/0.dng"},
    }
    assert rows["0.png"]["restored"]["psnr_raw"] > 0
    assert rows["b.dng"]["restored"] == {}
    assert all(Path("out", row["strip"]).exists() for row in rows.values())
    same(Path("out/deeper/0.dng"), source)


def test_what_is_for_photographs_is_refused_for_raw_files_alone(identity, workplace):
    dng(workplace / "in/a.dng")
    for words in (["--iso", 800], ["--degrade"]):
        with pytest.raises(
            UserError, match=f"^{words[0]}: given, and raw files are restored as they are; leave it out"
        ):
            restore("--model", identity, "--input", "in", *words)


def test_a_raw_file_written_before_is_kept_unless_it_may_be_replaced(identity, workplace, capsys):
    dng(workplace / "in/a.dng")
    dng(workplace / "in/b.dng")
    assert restore("--model", identity, "--input", "in") == 0
    Path("out/a.dng").write_bytes(b"worked on")
    Path("out/b.dng").unlink()
    assert restore("--model", identity, "--input", "in") == 0
    assert Path("out/a.dng").read_bytes() == b"worked on"
    assert "restored: 1, kept as restored before (--overwrite restores anew): 1, left out: 0" in capsys.readouterr().out
    assert sorted(results()["pictures"]) == ["a.dng", "b.dng"]
    assert restore("--model", identity, "--input", "in") == 0, "all are kept"
    assert restore("--model", identity, "--input", "in", "--overwrite") == 0
    same(Path("out/a.dng"), Path("in/a.dng"))


def test_one_folder_never_mixes_files_that_were_restored_in_two_ways(identity, changing, workplace):
    dng(workplace / "in/a.dng")
    restore("--model", identity, "--input", "in")
    message = "^--output: out is the folder of another call .*; name another folder, or give --overwrite"
    for words in (["--model", changing], ["--model", identity, "--strength", 0.5]):
        with pytest.raises(UserError, match=message):
            restore("--input", "in", *words)
    dng(workplace / "in/b.dng")
    restore("--model", changing, "--input", "in/b.dng", "--overwrite")
    assert list(results()["pictures"]) == ["b.dng"], "what another model made is no longer in the results"


def test_the_noise_that_a_model_has_to_know_is_the_files_or_the_profiles(workplace, capsys):
    chain = [{"class_name": "RgbToRawTransform"}, {"class_name": "VarianceStabilization"}, {"class_name": "ToTensor2"}]
    model = identity_model(workplace / "knowing.pth", chain, n_channels=4)
    dng(workplace / "in/own.dng", noise_profile=NOISE)
    dng(workplace / "in/none.dng", iso=800)
    profile = {"camera": "Acme", "iso": 800, "gain": [2] * 4, "read_noise": [3] * 4, "row_noise": [0] * 4}
    profile |= {"black_level": [0] * 4, "white_level": 1000}
    Path("profile.json").write_text(json.dumps(profile))
    assert restore("--model", model, "--input", "in") == SOME_LEFT_OUT
    assert "none.dng: has no NoiseProfile and too few pixels to estimate one, and" in results()["left_out"][0]
    assert "give a profile of the camera at this ISO speed" in results()["left_out"][0]
    assert restore("--model", model, "--input", "in", "--profile", "profile.json", "--overwrite") == 0
    rows = results()["pictures"]
    assert rows["own.dng"]["noise"]["from"] == "NoiseProfile of the file"
    np.testing.assert_allclose(rows["own.dng"]["noise"]["shot"], [1e-3, 2e-3, 2e-3, 3e-3])
    assert rows["none.dng"]["noise"]["from"] == "profile of Acme"
    np.testing.assert_allclose(rows["none.dng"]["noise"]["shot"], [2e-3] * 4)
    np.testing.assert_allclose(rows["none.dng"]["noise"]["read"], [(9 + 1 / 12) / 1e6] * 4)
    Path("profile.json").write_text(json.dumps(profile | {"iso": 100}))
    assert restore("--model", model, "--input", "in", "--profile", "profile.json", "--overwrite") == SOME_LEFT_OUT
    assert (
        "has ISO 800, and the profile of Acme was measured at ISO 100; give a profile of that speed"
        in results()["left_out"][0]
    )


@pytest.mark.parametrize(("shot", "read"), [(3e-3, 1e-5), (1e-2, 1e-4)])
def test_the_noise_of_a_file_that_tells_nothing_is_estimated_to_a_fifth(workplace, shot, read):
    from skimage import data

    rng = np.random.default_rng(0)
    chain = [{"class_name": "RgbToRawTransform"}, {"class_name": "VarianceStabilization"}, {"class_name": "ToTensor2"}]
    model = load_model(identity_model(workplace / "knowing.pth", chain, n_channels=4), "cpu")
    for picture in (data.astronaut(), data.coffee(), data.chelsea()):
        linear = (picture[:300, :400] / 255.0) ** 2.2
        clean = np.stack([linear[::2, ::2, 0], linear[::2, 1::2, 1], linear[1::2, ::2, 1], linear[1::2, 1::2, 2]])
        clean = clean.reshape(2, 2, 150, 200).transpose(2, 0, 3, 1).reshape(300, 400)
        noisy = clean + np.sqrt(shot * clean + read) * rng.standard_normal(clean.shape)
        write_dng(
            Path("a.dng"), (noisy * 16000 + 1000).clip(0).round().astype(np.uint16), black=(1000,) * 4, white=17000
        )
        restored = model.restore_raw("a.dng")
        assert restored.noise_from.startswith("estimated from the file: ")
        estimate = [float(values[0]) for values in restored.noise]
        for signal in np.quantile(clean, [0.1, 0.5, 0.9]):
            assert abs(np.sqrt((estimate[0] * signal + estimate[1]) / (shot * signal + read)) - 1) < 0.2


def test_the_noise_profile_is_that_of_the_noise_left(workplace):
    shot, read = 1e-3, 1e-5
    rng = np.random.default_rng(0)
    noisy = 0.3 + np.sqrt(shot * 0.3 + read) * rng.standard_normal((200, 200))
    mosaic = (noisy * 60000).round().astype(np.uint16)
    Path("in").mkdir()
    write_dng(Path("in/a.dng"), mosaic, white=60000, noise_profile=[(shot, read)])
    model = identity_model(workplace / "flat.pth", n_channels=4, layout="RGGB")
    section = json.loads(model.with_suffix(".json").read_text())["generator"]
    network = build_generator(section | {"residual": False})
    torch.nn.init.zeros_(network.tail.weight)
    network.tail.bias.data.fill_(0.3)  # the perfect model of this picture
    torch.save(network.state_dict(), model)
    about = {"generator": section | {"residual": False}, "layout": "RGGB", "transforms_test": []}
    model.with_suffix(".json").write_text(json.dumps(about))
    restore("--model", model, "--input", "in", "--strength", 0.5)
    profile = read_raw("out/a.dng").metadata.noise
    np.testing.assert_allclose(profile.shot, shot * 0.25, rtol=0.05)
    np.testing.assert_allclose(profile.read, read * 0.25, rtol=0.05)
    restore("--model", model, "--input", "in", "--overwrite")
    assert not read_raw("out/a.dng").metadata.noise.known, "nothing is left"


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("scale", [2, 3])
def test_an_enlarged_mosaic_shows_the_same_area_with_every_colour_in_its_place(workplace, scale, pattern):
    section = {"class_name": "UNet", "n_channels": 4, "widths": [4, 8], "scale": scale}
    Path("model.json").write_text(json.dumps({"generator": section, "layout": "RGGB", "transforms_test": []}))
    torch.save(build_generator(section).state_dict(), "model.pth")
    rows, columns = np.mgrid[:46, :70]
    ramp = (1000 + 100 * rows + 20 * columns).astype(np.uint16)
    Path("in").mkdir()
    write_dng(Path("in/a.dng"), ramp, pattern=pattern, active_area=(1, 3, 45, 68), white=15000)
    assert restore("--model", "model.pth", "--input", "in") == 0
    after = read_raw("out/a.dng")
    assert after.pattern == (pattern if scale == 3 else "RGGB")
    assert after.data.shape == (scale * 44, scale * 65)
    inside = (slice(6 * scale, -6 * scale),) * 2
    places = (np.mgrid[: scale * 44, : scale * 65] - (scale - 1) / 2) / scale  # in pixels of the source
    rows, columns = places + np.reshape([1, 3], (2, 1, 1))
    np.testing.assert_allclose(after.data[inside], (1000 + 100 * rows + 20 * columns)[inside], atol=1)
    row = results()["pictures"]["a.dng"]
    assert (row["size"], row["restored_size"]) == ([65, 44], [scale * 65, scale * 44])


@needs_real_files
def test_real_files_come_back_and_each_other_one_is_refused_with_its_own_reason(identity, workplace):
    shutil.copytree(RAW / "good", "in/good")
    shutil.copytree(RAW / "refuse", "in/refuse")
    dng(workplace / "in/stripes.dng", pattern="GBGGRG" + "RGRBGB" + "GBGGRG" + "GRGGBG" + "BGBRGR" + "GRGGBG")
    dng(workplace / "in/grey.dng", pattern="")
    assert restore("--model", identity, "--input", "in") == SOME_LEFT_OUT
    assert sorted(results()["pictures"]) == ["good/canon_550d_colorchart.dng", "good/kodak_dc50.kdc"]
    same("out/good/canon_550d_colorchart.dng", RAW / "good/canon_550d_colorchart.dng")
    same("out/good/kodak_dc50.dng", RAW / "good/kodak_dc50.kdc")
    reasons = {Path(line.split(":")[0]).name: line.split(":", 1)[1] for line in results()["left_out"]}
    assert {name: reason[1:15] for name, reason in reasons.items()} == {
        "canon_eos_6d_linear.dng": "has whole colo",
        "kodak_c330_stacked.raw": "has whole colo",
        "empty.dng": "is no raw file",
        "truncated.nef": "is no raw file",
        "stripes.dng": "has no Bayer m",
        "grey.dng": "comes from a m",
    }
    assert read_raw("out/good/kodak_dc50.dng").iso == 84


def develop_in_darktable(source, picture):
    configuration = ["--core", "--library", ":memory:", "--configdir", "darktable"]
    return ["darktable-cli", source, picture, "--width", "600", *configuration]


def develop_in_rawtherapee(source, picture):
    return ["rawtherapee-cli", "-o", picture, "-n", "-b8", "-Y", "-c", source]


@needs_real_files
@pytest.mark.parametrize("develop", [develop_in_darktable, develop_in_rawtherapee])
def test_editors_develop_the_source_and_the_result_to_the_same_colours(identity, workplace, develop):
    if not shutil.which(develop("", "")[0]):
        pytest.skip(f"{develop('', '')[0]} is not installed")
    Path("in").mkdir()
    shutil.copy(RAW / "good/canon_550d_colorchart.dng", "in/chart.dng")
    restore("--model", identity, "--input", "in")
    for name, source in (("before.png", "in/chart.dng"), ("after.png", "out/chart.dng")):
        subprocess.run(develop(source, name), check=True, capture_output=True, timeout=200)
    before, after = (cv2.imread(name).astype(np.float64) / 255 for name in ("before.png", "after.png"))
    difference = np.abs(before.mean((0, 1)) - after.mean((0, 1)))
    assert before.std() > 0.1
    assert difference.max() < 0.005, f"{100 * difference.round(5)} % of B, G, R"
