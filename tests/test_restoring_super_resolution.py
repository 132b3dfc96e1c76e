"""restore.test with models that enlarge: targets, transparency, ensembles, and what does not fit together."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torchvision
from restoring_files import identity_model, pictures
from test_restoring import restore

from options.errors import UserError
from restore import load_model
from restore.files.images import read_image, write_image
from restore.inference.ensemble import ORIENTATIONS, oriented, upright
from restore.networks import build_generator
from transforms.sensor.bayer import PATTERNS, rearrange


def model(path, n_channels=3, scale=2, random=False, **information):
    """A new network, which gives the bicubic enlargement, or one that adds what random weights make of the image."""
    section = {"class_name": "UNet", "n_channels": n_channels, "widths": [4, 8], "scale": scale}
    network = build_generator(section)
    if random:
        for weights in network.parameters():
            torch.nn.init.normal_(weights, std=0.2)
    torch.save(network.state_dict(), path)
    layout = {"layout": "RGGB"} if n_channels == 4 else {}
    path.with_suffix(".json").write_text(
        json.dumps({"generator": section, "transforms_test": [], **layout, **information})
    )
    return path


def large(folder, name, height, width):
    folder.mkdir(exist_ok=True)
    write_image(folder / name, np.full((height, width, 3), 100, np.uint8))


def test_targets_are_paired_as_in_training_and_slightly_larger_ones_are_cut(workplace, capsys):
    pictures(workplace / "in", count=2)  # 56 x 40
    for number in range(2):
        Path(f"in/{number}.png").rename(f"in/{number}x2.png")
        large(workplace / "target", f"{number}.png", 81, 112)
    restore("--model", model(workplace / "x2.pth"), "--input", "in", "--target", "target", "--output", "out")
    results = json.loads(Path("out/results.json").read_text())
    assert set(results["pictures"]) == {"0x2.png", "1x2.png"}
    assert results["mean"].keys() == {"bicubic", "restored"}
    assert "psnr_y" in capsys.readouterr().out


def test_a_model_of_scale_4_measured_against_targets_of_scale_2_names_both_sizes(workplace):
    pictures(workplace / "in", count=1)
    large(workplace / "target", "0.png", 80, 112)
    path = model(workplace / "x4.pth", scale=4)
    with pytest.raises(UserError, match=r"0\.png: 56 x 40 pixels, but target/0\.png has 112 x 80; .*4 times as wide"):
        restore("--model", path, "--input", "in", "--target", "target", "--output", "out")


def test_pictures_too_small_for_the_models_own_degradation_are_named(workplace):
    large(workplace / "in", "small.png", 1, 1)
    chain = [{"class_name": "BicubicDownsample", "scale": 2}, {"class_name": "ToTensor2"}]
    path = model(workplace / "x2.pth", transforms_test=chain)
    with pytest.raises(UserError, match=r"in/small\.png: image: 1 x 1 pixels \(height x width\) given, .* 2 x 2"):
        restore("--model", path, "--input", "in", "--degrade", "--output", "out")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("scale", [1, 2])
def test_transparency_is_kept_beside_the_restored_colours(workplace, dtype, scale):
    Path("in").mkdir()
    most = np.iinfo(dtype).max
    colours = np.random.default_rng(0).integers(0, most, (24, 30, 3), endpoint=True)
    alpha = np.linspace(0, most, 30).round() * np.ones((24, 1))
    write_image("in/a.png", np.dstack([colours, alpha]).astype(dtype))
    path = identity_model(workplace / "x1.pth") if scale == 1 else model(workplace / "x2.pth")
    restore("--model", path, "--input", "in", "--output", "out")
    written = cv2.imread("out/a.png", cv2.IMREAD_UNCHANGED)
    assert (written.shape, written.dtype) == ((scale * 24, scale * 30, 4), dtype)
    if scale == 1:
        np.testing.assert_array_equal(written[..., 3], alpha.astype(dtype))
        np.testing.assert_array_equal(written[..., 2::-1], colours.astype(dtype))
    else:  # a ramp stays a ramp, of half the slope, except near its ends
        inside = written[:, 6:-6, 3].astype(float)
        expected = (np.arange(60) - 0.5) / 2 * most / 29
        np.testing.assert_allclose(inside, np.broadcast_to(expected[6:-6], inside.shape), atol=1.1)


def test_transparency_is_turned_as_the_picture_is(workplace):
    """EXIF orientation 6: the first row is shown at the right."""
    from PIL import Image

    Path("in").mkdir()
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[0] = (10, 20, 30, 200)
    picture = Image.fromarray(pixels, "RGBA")
    picture.getexif()[274] = 6
    picture.save("in/a.png", exif=picture.getexif())
    restore("--model", identity_model(workplace / "x1.pth"), "--input", "in", "--output", "out")
    written = cv2.imread("out/a.png", cv2.IMREAD_UNCHANGED)
    upright_colours = read_image("in/a.png")
    np.testing.assert_array_equal(written[..., 2::-1], upright_colours)
    np.testing.assert_array_equal(written[..., 3] == 200, upright_colours[..., 0] == 10)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation_has_its_inverse(orientation):
    image = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(upright(oriented(image, orientation), orientation), image)


def test_the_orientations_are_the_eight_that_there_are():
    image = np.arange(4).reshape(2, 2)
    assert len({tuple(oriented(image, orientation).flat) for orientation in ORIENTATIONS}) == 8


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_an_ensemble_restores_a_mirrored_or_turned_picture_as_the_picture(workplace, scale):
    restorer = load_model(model(workplace / "random.pth", scale=scale, random=True), "cpu")
    picture = np.random.default_rng(0).random((3, 12, 16), np.float32)
    restored = restorer(picture, ensemble=True)
    alone = restorer(picture)
    assert restored.shape == (3, scale * 12, scale * 16)
    for orientation in ORIENTATIONS:
        moved = np.ascontiguousarray(oriented(picture, orientation))
        expected = oriented(restored, orientation)
        np.testing.assert_allclose(restorer(moved, ensemble=True), expected, atol=1e-5)
    assert abs(alone - restored).max() > 1e-3, "the network itself does not"


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("scale", "kept"), [(1, ORIENTATIONS), (2, (0, 4)), (3, ORIENTATIONS)])
def test_an_ensemble_of_a_mosaic_keeps_every_colour_at_its_sites(workplace, pattern, scale, kept):
    restorer = load_model(model(workplace / "random.pth", n_channels=4, scale=scale, random=True), "cpu")
    mosaic = np.random.default_rng(0).random((11, 14), np.float32)
    restored = restorer.restore_mosaic(mosaic, pattern, ensemble=True)
    assert restored.shape == (scale * 11, scale * 14)
    for orientation in kept:
        moved, moved_pattern = rearrange(mosaic, pattern, lambda image, number=orientation: oriented(image, number))
        again = restorer.restore_mosaic(np.ascontiguousarray(moved), moved_pattern, ensemble=True)
        np.testing.assert_allclose(again, oriented(restored, orientation), atol=1e-5)


def test_an_ensemble_of_a_model_without_weights_of_its_own_changes_nothing(workplace):
    pictures(workplace / "in", count=1)
    for name, words in (("alone", []), ("ensemble", ["--ensemble"])):
        restore("--model", identity_model(workplace / "x1.pth"), "--input", "in", "--output", name, *words)
    np.testing.assert_array_equal(read_image("ensemble/0.png"), read_image("alone/0.png"))


def test_lpips_is_measured_where_its_weights_are_and_else_the_file_is_named(workplace, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    pictures(workplace / "in", count=1)
    large(workplace / "target", "0.png", 40, 56)
    words = ["--model", identity_model(workplace / "x1.pth"), "--input", "in", "--target", "target"]
    restore(*words, "--output", "without")
    folder = tmp_path / "torch/hub/checkpoints"
    assert f"alexnet-owt-7be5be79.pth into {folder}" in capsys.readouterr().out
    folder.mkdir(parents=True)
    weights = torchvision.models.alexnet().state_dict()
    torch.save(weights, folder / "alexnet-owt-7be5be79.pth")
    restore(*words, "--output", "with")
    for name, expected in (("without", False), ("with", True)):
        mean = json.loads(Path(name, "results.json").read_text())["mean"]["restored"]
        assert ("lpips" in mean) == expected
    assert mean["lpips"] > 0
