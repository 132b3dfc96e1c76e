"""restore.test with raw files whose clean mosaics are known: measured in raw, by colour, and by ISO speed."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from raw_files import MATRIX, write_dng
from restoring_files import identity_model

from options.errors import UserError
from restore import load_model
from restore.command.arguments import testing_arguments as arguments_of
from restore.inference.degradation import Degradation
from restore.networks import build_generator
from restore.test import SOME_LEFT_OUT, main

WHITE, BLACK = 16000, 1000
PATTERNS = ["RGGB", "GRBG", "GBRG", "BGGR"]


def restore(*words) -> int:
    return main(arguments_of(["--device", "cpu", "--output", "out", *map(str, words)]))


def results() -> dict:
    return json.loads(Path("out/results.json").read_text())


def dng(path, mosaic, **facts) -> Path:
    path.parent.mkdir(exist_ok=True)
    values = (mosaic * (WHITE - BLACK) + BLACK).round().astype(np.uint16)
    return write_dng(path, values, black=(BLACK,) * 4, white=WHITE, color_matrix=MATRIX, **facts)


@pytest.fixture
def identity(workplace):
    """A raw model that returns what it gets."""
    return identity_model(workplace / "identity.pth", n_channels=4, layout="RGGB")


def noisy_and_clean(sigma, seed=0):
    clean = np.random.default_rng(seed).uniform(0.2, 0.6, (64, 80))
    return clean + sigma * np.random.default_rng(seed + 1).standard_normal(clean.shape), clean


def test_raw_files_are_measured_against_clean_ones_by_colour_and_by_iso_speed(identity, workplace, capsys):
    for name, sigma, iso in (("a", 0.01, 800), ("b", 0.02, 3200), ("c", 0.02, 3200)):
        noisy, clean = noisy_and_clean(sigma)
        dng(workplace / f"in/{name}.dng", noisy, iso=iso)
        dng(workplace / f"target/{name}.dng", clean)
    assert restore("--model", identity, "--input", "in", "--target", "target") == 0
    found = results()
    for name, sigma in (("a.dng", 0.01), ("b.dng", 0.02)):
        restored = found["pictures"][name]["restored"]
        assert restored["psnr_raw"] == pytest.approx(-20 * np.log10(sigma), abs=0.1)
        colours = [restored[f"psnr_{plane}"] for plane in ("R", "G1", "G2", "B")]
        np.testing.assert_allclose(colours, -20 * np.log10(sigma), atol=0.5)
        mse = np.mean([10 ** (-value / 10) for value in colours])
        assert -10 * np.log10(mse) == pytest.approx(restored["psnr_raw"], abs=1e-3)
        assert found["pictures"][name]["degraded"] == restored
        assert {"ssim_raw", "ssim_B", "psnr_srgb", "ssim_srgb"} <= restored.keys()
    assert set(found["mean_by_iso"]) == {"800", "3200"}
    assert found["mean_by_iso"]["800"]["restored"] == found["pictures"]["a.dng"]["restored"]
    printed = capsys.readouterr().out
    assert "mean at ISO 3200  psnr_raw 33.9" in printed
    rows = list(csv.DictReader(Path("out/results.csv").read_text().splitlines()))
    assert [row["iso"] for row in rows] == ["800.0", "3200.0", "3200.0", ""]


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_target_that_is_what_the_model_makes_is_a_perfect_match_at_any_phase_and_scale(workplace, scale, pattern):
    section = {"class_name": "UNet", "n_channels": 4, "widths": [4, 8], "scale": scale}
    Path("model.json").write_text(json.dumps({"generator": section, "layout": "RGGB", "transforms_test": []}))
    weights = build_generator(section).state_dict()
    torch.save({name: values * (0.02 if "tail" in name else 1) for name, values in weights.items()}, "model.pth")
    rows, columns = np.mgrid[:61, :75]
    dng(workplace / "in/a.dng", 0.3 + 0.3 * np.sin(rows / 9) ** 2 + 0.2 * np.cos(columns / 7), pattern=pattern)
    restore("--model", "model.pth", "--input", "in")
    Path("out").rename("target")
    restore("--model", "model.pth", "--input", "in", "--target", "target")
    row = results()["pictures"]["a.dng"]
    assert row["restored"]["psnr_raw"] > 90, "but for rounding to 16 bits"
    if scale == 1:
        assert row["restored"]["psnr_raw"] > row["degraded"]["psnr_raw"]


def test_a_clean_mosaic_may_be_a_grey_file_in_the_numbers_of_the_raw_file(identity, workplace):
    noisy, clean = noisy_and_clean(0.01)
    dng(workplace / "in/a.dng", noisy, pattern="GBRG")
    (workplace / "target").mkdir()
    cv2.imwrite("target/a.png", (clean * (WHITE - BLACK) + BLACK).round().astype(np.uint16))
    restore("--model", identity, "--input", "in", "--target", "target")
    assert results()["pictures"]["a.dng"]["restored"]["psnr_raw"] == pytest.approx(40, abs=0.1)


def test_a_target_that_does_not_fit_is_named_and_the_others_are_measured(identity, workplace):
    noisy, clean = noisy_and_clean(0.01)
    for name in ("good", "phase", "size", "alone", "colour", "eight", "two"):
        dng(workplace / f"in/{name}.dng", noisy)
    dng(workplace / "target/good.dng", clean)
    dng(workplace / "target/phase.dng", clean, pattern="BGGR")
    dng(workplace / "target/size.dng", clean[2:])
    cv2.imwrite("target/colour.png", np.random.default_rng(0).integers(0, 65535, (64, 80, 3), np.uint16))
    cv2.imwrite("target/eight.png", np.zeros((64, 80), np.uint8))
    dng(workplace / "target/two.dng", clean)
    dng(workplace / "target/two.nef", clean)
    assert restore("--model", identity, "--input", "in", "--target", "target") == SOME_LEFT_OUT
    assert list(results()["pictures"]) == ["good.dng"]
    reasons = {Path(line.split(":")[0]).name: line for line in results()["left_out"]}
    assert (
        "target/phase.dng: 80 x 64 pixels of BGGR, and the restored mosaic has 80 x 64 of RGGB" in reasons["phase.dng"]
    )
    assert "target/size.dng: 80 x 62 pixels" in reasons["size.dng"]
    assert "target has no raw file or mosaic of this name; add it" in reasons["alone.dng"]
    assert "target/two.dng and target/two.nef could both be its target" in reasons["two.dng"]
    assert "target/eight.png: has 8 bits" in "".join(results()["left_out"])
    assert "target/colour.png: has colours" in "".join(results()["left_out"])
    with pytest.raises(UserError, match=r"^--target: nowhere: there is no such folder"):
        restore("--model", identity, "--input", "in", "--target", "nowhere")


def test_a_classical_denoiser_stands_beside_the_model_under_the_same_noise(identity, workplace, capsys):
    clean = 0.3 + 0.1 * np.sin(np.mgrid[:64, :80][1] / 8)
    shot, read = 2e-3, 1e-5
    noisy = clean + np.sqrt(shot * clean + read) * np.random.default_rng(0).standard_normal(clean.shape)
    dng(workplace / "in/a.dng", noisy, noise_profile=[(shot, read)])
    dng(workplace / "target/a.dng", clean)
    restore("--model", identity, "--input", "in", "--target", "target", "--baseline", "nlm")
    row = results()["pictures"]["a.dng"]
    assert row["nlm"]["psnr_raw"] > row["degraded"]["psnr_raw"] + 5
    assert set(row["nlm"]) == set(row["restored"])
    assert "(degraded -> nlm)" in capsys.readouterr().out
    with pytest.raises(
        UserError, match=r"^--baseline: nlm given, for raw denoising alone, and .* restores sRGB pictures"
    ):
        restore("--model", identity_model(workplace / "rgb.pth"), "--input", "in", "--baseline", "nlm")


def test_others_can_be_compared_on_the_very_images_that_the_command_degrades(workplace):
    from restoring_files import pictures

    chain = [{"class_name": "RgbToRawTransform", "iso": 1600}, {"class_name": "ToTensor2"}]
    model = identity_model(workplace / "raw.pth", chain, n_channels=4)
    pictures(workplace / "in", count=1)
    restore("--model", model, "--input", "in", "--iso", 6400)
    degrade = Degradation(load_model(model, "cpu"), iso=6400)
    degraded, clean, metadata, layout = degrade("in/0.png")
    error = degraded.clamp(0, 1) - clean
    psnr = -10 * torch.log10(error.square().mean())
    assert results()["pictures"]["0.png"]["degraded"]["psnr_raw"] == pytest.approx(float(psnr), abs=1e-3)
    assert layout.planes == ("R", "G1", "G2", "B")
    assert metadata.noise.known
