"""A package for darktable gives, used as darktable uses it, what the model gives, or it is not written."""

import json

import numpy as np
import pytest
import torch
from darktable_reader import install, raw_denoise, session_of
from restoring_files import identity_model
from skimage import data

import transforms
from options.errors import UserError
from restore import load_model
from restore.export import darktable
from restore.export.card import Card
from restore.export.darktable import write_darktable
from restore.export.noise import NoiseEstimate
from restore.networks import build_generator

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
CARD = Card("MIT", "A. Name", "photographs of A. Name", "CC0-1.0", "a test", "")
TO_RAW = {"class_name": "RgbToRawTransform"}
TO_TENSOR = {"class_name": "ToTensor2"}
MAPPED = [TO_RAW, {"class_name": "NoiseLevelMap"}, TO_TENSOR]
STABILIZED = [TO_RAW, {"class_name": "VarianceStabilization", "noise_level": True}, TO_TENSOR]
TOLD = {"class_name": "UNet", "n_channels": 4, "in_channels": 8, "noise_residual": True, "widths": [8, 8]}
SHOT, READ = 2e-3, 1e-5
BLACK, WHITE = (200, 190, 210, 256), 4095
PATTERNS = ("RGGB", "GRBG", "GBRG", "BGGR")


def model_of(folder, section, chain, name="model"):
    """A model with random weights."""
    torch.manual_seed(0)
    torch.save(build_generator(section).state_dict(), folder / f"{name}.pth")
    (folder / f"{name}.json").write_text(json.dumps({"generator": section, "transforms_test": chain, "name": name}))
    return load_model(folder / f"{name}.pth", "cpu")


def photograph(height, width, seed=0):
    """A noisy mosaic of a photograph, uint16, from 0 to white, with black and white all over in places."""
    rng = np.random.default_rng(seed)
    picture = np.tile(data.camera().astype(float) / 255, (2, 2))[:height, :width]
    levels = np.array(BLACK)[((np.arange(height)[:, None] & 1) << 1) | (np.arange(width) & 1)]
    noisy = picture + rng.standard_normal(picture.shape) * np.sqrt(SHOT * picture + READ)
    mosaic = (levels + noisy * (WHITE - levels)).round().clip(0, WHITE).astype(np.uint16)
    mosaic[:9, :11], mosaic[20:31, -9:] = 0, WHITE
    return mosaic


def noisy(iso, side, texture=1.0, seed=0):
    """A tile of packed raw with the noise of an ISO speed, and its noise; the less texture, the flatter."""
    picture = data.astronaut()[: 2 * side, : 2 * side] if side <= 256 else np.tile(data.astronaut(), (2, 2, 1))
    picture = (128 + texture * (picture[: 2 * side, : 2 * side] - 128.0)).astype(np.uint8)
    sample = transforms.build([TO_RAW | {"iso": iso}, TO_TENSOR])(picture, torch.Generator().manual_seed(seed))
    return sample.degraded, sample.metadata.noise


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    """The package of a model that returns what it gets, in tiles of 128."""
    folder = tmp_path_factory.mktemp("identity")
    model = load_model(identity_model(folder / "model.pth", [TO_RAW, TO_TENSOR], n_channels=4), "cpu")
    write_darktable(model, folder / "identity.dtmodel", CARD, tile=128)
    return folder / "identity.dtmodel"


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A model that has to know the noise, and its package, which estimates it in tiles of 128."""
    folder = tmp_path_factory.mktemp("told")
    model = model_of(folder, TOLD, MAPPED)
    lines = write_darktable(model, folder / "told.dtmodel", CARD, tile=128)
    return model, folder / "told.dtmodel", lines


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_identity_gives_back_every_site_of_every_pattern_to_the_last_bit(identity, pattern):
    mosaic = photograph(289, 347)
    assert np.array_equal(raw_denoise(identity, mosaic, pattern, BLACK, WHITE), mosaic)


def test_values_below_black_and_above_white_pass_through(identity):
    _, files = install(identity)
    tile = np.random.default_rng(0).uniform(-0.05, 1.3, (1, 4, 128, 128)).astype(np.float32)
    (restored,) = session_of(files["model_bayer.onnx"]).run(["output"], {"input": tile})
    for plane, (colour, row, column) in enumerate([(0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1)]):
        assert np.array_equal(restored[0, colour, row::2, column::2], tile[0, plane])


def test_a_tile_of_one_colour_keeps_its_level_which_darktables_gain_would_not(identity):
    mosaic = np.full((256, 256), 200, np.uint16)
    mosaic[::2, ::2] = 3000
    black = (200,) * 4
    assert np.array_equal(raw_denoise(identity, mosaic, "RGGB", black, WHITE), mosaic)
    gained = raw_denoise(identity, mosaic, "RGGB", black, WHITE, {"output_scale": "match_gain"})
    assert abs(int(gained[128, 128]) - 3000) > 100


def test_the_package_is_what_darktable_installs(identity, told):
    config, files = install(identity)
    assert set(files) == {"model_bayer.onnx"}
    assert (config["id"], config["task"], config["num_inputs"]) == ("identity", "rawdenoise", 1)
    nested, older = config["attributes"]["model_bayer"], config["attributes"]["variants"]["bayer"]
    assert older == nested | {"onnx": "model_bayer.onnx"}
    assert nested["input_sizes"] == config["attributes"]["input_sizes"] == [128]
    assert nested["output_scale"] == "absolute"
    card = config["model_card"]
    assert all(card[key] for key in ("license", "author", "training_data", "training_data_license", "scope"))
    (taken,) = session_of(install(told[1])[1]["model_bayer.onnx"]).get_inputs()
    assert (taken.name, taken.shape) == ("input", [1, 4, 128, 128])


@pytest.mark.parametrize(
    ("chain", "pattern", "widths"),
    [(MAPPED, "GRBG", [8]), (STABILIZED, "RGGB", [8, 8])],  # halvings of another pattern begin at another cell here
    ids=["map", "stabilised"],
)
def test_darktables_tiles_make_one_picture_which_is_the_models(tmp_path, chain, pattern, widths):
    model, mosaic = model_of(tmp_path, TOLD | {"widths": widths}, chain), photograph(300, 420)
    level = np.array(BLACK, np.float32)[((np.arange(300)[:, None] & 1) << 1) | (np.arange(420) & 1)]
    restored = model.restore_mosaic((mosaic - level) / (WHITE - level), pattern, (SHOT, READ))
    expected = (restored * (WHITE - level) + level).clip(0, WHITE)
    write_darktable(model, tmp_path / "fixed.dtmodel", CARD, tile=128, noise=(SHOT, READ))
    found = raw_denoise(tmp_path / "fixed.dtmodel", mosaic, pattern, BLACK, WHITE)
    inside = (slice(40, -40), slice(40, -40))  # both mirror the picture at its edges, by a pixel differently
    # At the rims of tiles, which have little weight, the areas end whose means are kept, and a network with random
    # weights is far from keeping them by itself.
    np.testing.assert_allclose(found[inside], expected[inside], atol=4.5, rtol=0)
    assert np.abs(found[inside] - expected[inside]).mean() < 0.5, "rounding is 0.25 on average"
    assert np.abs(expected - mosaic)[inside].max() > 8, "the network does something"


def test_a_model_that_must_know_the_noise_gets_the_one_that_is_estimated_in_the_tile(told):
    model, package, lines = told
    assert lines[1] == "noise: estimated in each tile, as darktable does not tell it"
    tile, noise = noisy(6400, 128)
    (output,) = session_of(install(package)[1]["model_bayer.onnx"]).run(["output"], {"input": tile[None].numpy()})
    planes = torch.from_numpy(np.stack([output[0, 0, ::2, ::2], output[0, 1, ::2, 1::2]]))
    estimated = model(tile, tuple(values[0] for values in NoiseEstimate()(tile[None])))[:2]
    torch.testing.assert_close(planes, estimated, atol=1e-5, rtol=0)
    change, of_true = ((image - tile[:2]).std() for image in (planes, model(tile, noise)[:2]))
    assert 0.9 < change / of_true < 1.4


@pytest.mark.parametrize("iso", [400, 1600, 6400, 25600])
def test_the_estimate_of_a_flat_tile_is_its_noise(iso):
    tile, noise = noisy(iso, 256, texture=0)
    shot, read = NoiseEstimate()(tile[None])
    level = tile.mean()
    found, true = ((shot[0] * level + read[0]).sqrt(), (noise.shot[0] * level + noise.read[0]).sqrt())
    assert float(found / true) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("iso", "most"), [(1600, 1.35), (6400, 1.15), (25600, 1.1)])
def test_texture_adds_little_to_the_estimate_and_takes_nothing_away(iso, most):
    tile, noise = noisy(iso, 256)
    shot, read = NoiseEstimate()(tile[None])
    levels = torch.linspace(0.05, 0.5, 5)
    ratio = ((shot[0] * levels + read[0]) / (noise.shot[0] * levels + noise.read[0])).sqrt()
    assert ratio.min() > 0.9
    assert ratio.max() < most


def odd_tiles():
    rng = np.random.default_rng(0)
    flat = np.full((1, 4, 128, 128), 0.3, np.float32)
    half = np.where(np.arange(128) < 64, 1, flat + 0.02 * rng.standard_normal(flat.shape))
    hot = flat.copy()
    hot[0, 2, 64, 64] = 1.3
    return {
        "flat": flat,
        "black": np.zeros_like(flat),
        "below black": flat - 0.35,
        "clipped": np.ones_like(flat),
        "half clipped": half.astype(np.float32),
        "one hot pixel": hot,
        "noise below black": (0.02 * rng.standard_normal(flat.shape) - 0.02).astype(np.float32),
    }


@pytest.mark.parametrize("kind", odd_tiles())
def test_a_tile_that_tells_no_noise_stays_as_it_is_or_near(told, kind):
    tile = odd_tiles()[kind]
    shot, read = (float(values[0]) for values in NoiseEstimate()(torch.from_numpy(tile)))
    assert 0 < shot < 0.01
    assert 0 < read < 0.001
    (output,) = session_of(install(told[1])[1]["model_bayer.onnx"]).run(["output"], {"input": tile})
    assert np.isfinite(output).all()
    assert np.abs(output[0, 0, ::2, ::2] - tile[0, 0]).max() < 0.1


@pytest.mark.parametrize(("scale", "stem", "task"), [(1, "model", "denoise"), (4, "model_x4", "upscale")])
def test_a_model_of_pictures_becomes_one_for_developed_pictures(tmp_path, scale, stem, task):
    model = load_model(identity_model(tmp_path / "model.pth", [TO_TENSOR], scale=scale), "cpu")
    write_darktable(model, tmp_path / "rgb.dtmodel", CARD, tile=192)
    config, files = install(tmp_path / "rgb.dtmodel")
    assert (config["task"], set(files)) == (task, {f"{stem}.onnx"})
    assert config["attributes"].get(stem, config["attributes"])["input_sizes"] == [192]
    picture = np.random.default_rng(0).uniform(0, 1, (1, 3, 192, 192)).astype(np.float32)
    (output,) = session_of(files[f"{stem}.onnx"]).run(["output"], {"input": picture})
    assert output.shape == (1, 3, 192 * scale, 192 * scale)


def identity_of(folder, **model):
    return load_model(identity_model(folder / "model.pth", **model), "cpu")


@pytest.mark.parametrize(
    ("model", "arguments", "reason"),
    [
        (
            {"n_channels": 4, "scale": 2, "chain": [TO_RAW, TO_TENSOR]},
            {},
            "enlarges mosaics 2 times, and darktable's raw",
        ),
        ({"scale": 3}, {}, "enlarges 3 times, and darktable 2 or 4 times; take another model"),
        ({}, {"tile": 200}, "tile: 200 given; give a multiple of 64 from 192 on, such as 512"),
        (
            {"n_channels": 4, "chain": [TO_RAW, TO_TENSOR]},
            {"tile": 64},
            "tile: 64 given; give a multiple of 64 from 128",
        ),
        ({}, {"noise": (1e-3, 1e-5)}, "does not use it; leave it out"),
    ],
)
def test_what_darktable_does_not_run_is_refused_with_the_reason(tmp_path, model, arguments, reason):
    with pytest.raises(UserError) as mistake:
        write_darktable(identity_of(tmp_path, **model), tmp_path / "x.dtmodel", CARD, **arguments)
    assert reason in str(mistake.value)
    assert len(str(mistake.value).splitlines()) == 1
    assert not (tmp_path / "x.dtmodel").exists()


def test_noise_that_cannot_be_is_refused(told, tmp_path):
    with pytest.raises(UserError, match=r"^noise: 2.0 -1.0 given; give shot and read as in the DNG's NoiseProfile"):
        write_darktable(told[0], tmp_path / "x.dtmodel", CARD, noise=(2.0, -1.0))


def test_a_package_that_gives_another_output_is_refused_and_the_older_one_stays(tmp_path, monkeypatch):
    def with_a_fault(content):
        run = running(content)
        return lambda inputs: run(inputs) + 1e-3

    running, path = darktable.running, tmp_path / "x.dtmodel"
    path.write_bytes(b"older")
    monkeypatch.setattr(darktable, "running", with_a_fault)
    model = identity_of(tmp_path, n_channels=4, chain=[TO_RAW, TO_TENSOR])
    with pytest.raises(UserError, match=r"x.dtmodel: not written, as its output differs from torch's by [78]"):
        write_darktable(model, path, CARD, tile=128)
    assert path.read_bytes() == b"older"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.json", "model.pth", "x.dtmodel"]
