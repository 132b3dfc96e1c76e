"""restore.test and load_model: folders and arrays restored as the model's information file says, and measured."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from restoring_files import identity_model, pictures

from options.errors import UserError
from restore import load_model
from restore.command.arguments import testing_arguments as arguments_of
from restore.command.arguments import training_arguments
from restore.data.batches import seeded_generator
from restore.evaluation.metrics import psnr
from restore.evaluation.strips import GAP
from restore.files.images import read_image, write_image
from restore.networks import build_generator
from restore.test import main
from restore.train import main as train
from transforms import RGGB


def restore(*words):
    main(arguments_of(["--device", "cpu", *map(str, words)]))


@pytest.fixture
def raw_model(option_file):
    """A run of a few updates on raw crops, validated on CenterCrops of photographs shrunk by 2."""
    chain = [
        {"class_name": "Downsample", "downsampling_factor": 2, "sigma": 1},
        {"class_name": "CenterCrop", "h": 32, "w": 32},
        {"class_name": "RgbToRawTransform"},
        {"class_name": "ToTensor2"},
    ]
    path = option_file(total_iterations=5, transforms_test=chain)
    train(training_arguments(["-opt", str(path), "--run-name", "raw", "--device", "cpu"]))
    return Path("model_zoo/raw")


@pytest.fixture
def identity(workplace):
    """A 3-channel model that returns what it gets."""
    return identity_model(workplace / "identity.pth")


def test_a_raw_model_degrades_whole_photographs_by_its_own_chain_and_measures_what_it_restores(raw_model, capsys):
    restore("--model", raw_model, "--input", "val", "--output", "out")
    results = json.loads(Path("out/results.json").read_text())
    assert sorted(results["pictures"]) == [f"{number}.png" for number in range(6)]
    chain = load_model(raw_model, "cpu").chain.for_whole_images()
    sample = chain(read_image("val/0.png"), seeded_generator(0, "0.png"))
    assert sample.clean.shape == (4, 24, 20), "the whole photograph of 96 x 80, shrunk by 2"
    measured = results["pictures"]["0.png"]
    assert measured["degraded"]["psnr_raw"] == pytest.approx(float(psnr(sample.degraded, sample.clean)), abs=1e-3)
    restored = load_model(raw_model, "cpu")(sample.degraded)
    assert measured["restored"]["psnr_raw"] == pytest.approx(float(psnr(restored, sample.clean)), abs=1e-3)
    biases = {f"bias_{plane}" for plane in ("R", "G1", "G2", "B")}
    planes = {f"{name}_{plane}" for name in ("psnr", "ssim") for plane in ("R", "G1", "G2", "B")}
    assert set(measured["restored"]) == {"psnr_raw", "ssim_raw", "psnr_srgb", "ssim_srgb"} | biases | planes
    assert "mean of 6" in capsys.readouterr().out


def test_a_raw_model_is_measured_at_any_iso_speed(raw_model, identity):
    noisy = []
    for iso in (800, 12500):
        restore("--model", raw_model, "--input", "val", "--output", f"at_{iso}", "--iso", iso)
        results = json.loads(Path(f"at_{iso}/results.json").read_text())
        assert results["iso"] == iso
        noisy.append(results["mean"]["degraded"]["psnr_raw"])
    # Shot noise's variance grows by 12500 / 800, 11.9 dB, and read noise's by the square of it.
    assert 11.9 < noisy[0] - noisy[1] < 14
    with pytest.raises(UserError, match=r"iso: 0 given"):
        restore("--model", raw_model, "--input", "val", "--iso", 0)
    with pytest.raises(UserError, match=r"^--iso: given, and pictures are restored as they are; leave it out"):
        restore("--model", identity, "--input", "val", "--iso", 800)


def test_every_picture_comes_with_a_strip_degraded_restored_clean(raw_model):
    restore("--model", raw_model, "--input", "val", "--output", "out")
    restored, strip = read_image("out/0.png"), read_image("out/strips/0.png")
    assert restored.shape == (48, 40, 3)
    assert strip.shape == (48, 3 * 40 + 2 * GAP, 3)
    assert np.array_equal(strip[:, 40 + GAP : 80 + GAP], restored)
    clean = cv2.resize(read_image("val/0.png"), (40, 48), interpolation=cv2.INTER_AREA).astype(float)
    errors = [np.abs(strip[:, left : left + 40] - clean).mean() for left in (0, 80 + 2 * GAP)]
    assert errors[1] < errors[0], "the clean picture stands on the right, the degraded one on the left"


def test_the_mean_is_that_of_the_pictures_in_json_and_csv(raw_model):
    restore("--model", raw_model, "--input", "val", "--output", "out")
    results = json.loads(Path("out/results.json").read_text())
    values = [picture["restored"]["psnr_srgb"] for picture in results["pictures"].values()]
    assert results["mean"]["restored"]["psnr_srgb"] == pytest.approx(sum(values) / len(values))
    rows = list(csv.DictReader(Path("out/results.csv").read_text().splitlines()))
    assert [row["file"] for row in rows] == [*sorted(results["pictures"]), "mean"]
    assert [float(row["restored_psnr_srgb"]) for row in rows[:-1]] == pytest.approx(values)


def test_measuring_twice_gives_the_same_numbers_whatever_else_is_in_the_folder(raw_model):
    restore("--model", raw_model, "--input", "val", "--output", "out")
    first = json.loads(Path("out/results.json").read_text())["pictures"]["5.png"]
    Path("val/0.png").unlink()
    restore("--model", raw_model, "--input", "val", "--output", "out", "--overwrite")
    assert json.loads(Path("out/results.json").read_text())["pictures"]["5.png"] == first


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_identity_returns_every_bit_of_a_picture_through_tiles_in_its_own_depth(identity, workplace, dtype):
    folder = pictures(workplace / "in", dtype=dtype)
    restore("--model", identity, "--input", folder, "--output", "out", "--tile", 16, "--overlap", 4)
    for file in folder.iterdir():
        restored = read_image(f"out/{file.name}")
        assert restored.dtype == dtype
        assert np.array_equal(restored, read_image(file))


def test_a_target_folder_is_measured_against_by_name_whatever_the_suffix(identity, workplace):
    folder = pictures(workplace / "in")
    target = workplace / "target"
    target.mkdir()
    for file in folder.iterdir():
        noisy = read_image(file).astype(int)
        cv2.imwrite(str(target / f"{file.stem}.tif"), np.clip(noisy + 51, 0, 255).astype(np.uint8)[..., ::-1])
    restore("--model", identity, "--input", folder, "--target", target, "--output", "out")
    results = json.loads(Path("out/results.json").read_text())
    assert results["mean"]["restored"] == results["mean"]["degraded"]
    assert 14 < results["mean"]["restored"]["psnr_srgb"] < 15, "an offset of 0.2, less where it clips: about 14.5 dB"


def test_without_a_target_pictures_are_restored_and_nothing_is_claimed(identity, workplace):
    restore("--model", identity, "--input", pictures(workplace / "in"), "--output", "out")
    results = json.loads(Path("out/results.json").read_text())
    assert results["mean"] == {"degraded": {}, "restored": {}}
    assert sorted(file.name for file in Path("out").glob("*.png")) == ["0.png", "1.png"]


def test_pictures_that_cannot_be_used_are_named_and_left_out(identity, workplace, capsys):
    folder = pictures(workplace / "in")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:300])
    restore("--model", identity, "--input", folder, "--output", "out")
    printed = capsys.readouterr().out
    assert "left out 1:" in printed
    assert f"{folder / 'cut.png'}: is damaged" in printed
    results = json.loads(Path("out/results.json").read_text())
    assert (len(results["pictures"]), len(results["left_out"])) == (2, 1)


def test_a_folder_without_one_usable_picture_is_a_mistake(identity, workplace):
    (workplace / "in").mkdir()
    (workplace / "in/text.png").write_text("no picture")
    with pytest.raises(UserError, match="--input: none of the 1 files was restored"):
        restore("--model", identity, "--input", "in", "--output", "out")


@pytest.mark.parametrize("output", ["in", "in/results", "target"])
def test_results_never_land_among_the_users_pictures(identity, workplace, output):
    before = {file: file.read_bytes() for folder in ("in", "target") for file in pictures(workplace / folder).iterdir()}
    with pytest.raises(UserError, match="--output"):
        restore("--model", identity, "--input", "in", "--target", "target", "--output", output)
    assert all(file.read_bytes() == content for file, content in before.items())


def test_a_target_of_another_size_or_name_is_named(identity, workplace, capsys):
    folder, target = pictures(workplace / "in", count=3), pictures(workplace / "target", count=2)
    write_image(target / "1.png", np.zeros((40, 50, 3), np.uint8))
    restore("--model", identity, "--input", folder, "--target", target, "--output", "out")
    printed = capsys.readouterr().out
    assert "left out 2:" in printed
    assert "1.png: 56 x 40 pixels" in printed
    assert f"2.png: {target} has no picture of this name" in printed


def test_a_raw_model_refuses_a_target_since_it_makes_its_own(raw_model):
    with pytest.raises(UserError, match="--target"):
        restore("--model", raw_model, "--input", "val", "--target", "train", "--output", "out")


def test_load_model_restores_arrays_and_tensors_alike(raw_model, identity):
    raw = load_model(raw_model, "cpu")
    packed = torch.rand(4, 20, 24, generator=torch.Generator().manual_seed(0))
    restored = raw(packed)
    assert restored.shape == packed.shape
    assert np.array_equal(raw(packed.numpy()), restored.numpy())
    assert raw.information.data["model_architecture"] == "UNet"
    picture = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    assert np.array_equal(load_model(identity, "cpu")(picture), picture)


def test_an_image_whose_channels_do_not_fit_the_model_is_a_mistake(raw_model):
    with pytest.raises(
        UserError, match=r"image: the shape \(3, 8, 8\) given does not fit .*best\.pth, which restores \(4, H, W\)"
    ):
        load_model(raw_model, "cpu")(torch.zeros(3, 8, 8))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / "best.json").unlink(), r"best\.json: not there"),
        (lambda run: (run / "best.json").write_text("{"), r"best\.json: line 1, column 2: not JSON"),
        (lambda run: (run / "best.json").write_text("{}"), r'best\.json: has no "generator"'),
        (lambda run: (run / "best.pth").unlink(), r"run_or_pth: model_zoo/raw has no best\.pth"),
        (lambda run: (run / "best.pth").write_bytes(b"text"), r"best\.pth: not a file of weights"),
        (lambda run: torch.save({"tail.weight": Path("/")}, run / "best.pth"), r"best\.pth: refused"),
        (lambda run: torch.save({"tail.weight": torch.zeros(3)}, run / "best.pth"), r"best\.pth: "),
    ],
)
def test_a_model_that_is_not_whole_is_one_line_that_names_the_file(raw_model, spoil, message):
    spoil(raw_model)
    with pytest.raises(UserError, match=message):
        load_model(raw_model, "cpu")


def test_a_model_or_device_that_is_not_there_is_a_mistake(raw_model):
    with pytest.raises(UserError, match=r"^run_or_pth: nowhere is not there"):
        load_model("nowhere")
    with pytest.raises(UserError, match=r"^--model: nowhere is not there"):
        restore("--model", "nowhere", "--input", "val")
    with pytest.raises(UserError, match=r'^device: "cuda:99" cannot be used'):
        load_model(raw_model, "cuda:99")
    with pytest.raises(UserError, match=r'^--device: "cuda:99" cannot be used'):
        restore("--model", raw_model, "--input", "val", "--device", "cuda:99")


@pytest.mark.parametrize("pattern", ["RGGB", "GRBG", "GBRG", "BGGR"])
@pytest.mark.parametrize("size", [(24, 32), (23, 31)])
def test_a_whole_frame_of_any_phase_and_size_comes_back_with_every_pixel_in_its_place(workplace, pattern, size):
    section = {"class_name": "UNet", "n_channels": 4, "widths": [4, 8]}
    network = build_generator(section)
    torch.nn.init.zeros_(network.tail.weight)
    network.tail.bias.data = torch.tensor([1.0, 2.0, 2.0, 4.0])  # adds 1 to what it takes for red, 4 to blue
    torch.save(network.state_dict(), "adds.pth")
    Path("adds.json").write_text(json.dumps({"generator": section, "layout": "RGGB", "transforms_test": []}))
    mosaic = np.random.default_rng(0).random(size, np.float32)
    restored = load_model("adds.pth", "cpu").restore_mosaic(mosaic, pattern)
    added = np.tile(np.array([{"R": 1, "G": 2, "B": 4}[colour] for colour in pattern]).reshape(2, 2), (12, 16))
    np.testing.assert_allclose(restored - mosaic, added[: size[0], : size[1]], rtol=0, atol=1e-6)


def test_numbers_of_a_raw_file_are_not_taken_for_linear_raw(raw_model):
    model = load_model(raw_model, "cpu")
    for whole_numbers in (np.zeros((4, 8, 8), np.uint16), torch.zeros(4, 8, 8, dtype=torch.int32)):
        with pytest.raises(UserError, match=r"given; .* restores linear raw: give \(values - black level\) / "):
            model(whole_numbers)
    with pytest.raises(UserError, match=r"mosaic: uint16 given; .* restores linear raw: give \(values - black"):
        model.restore_mosaic(np.zeros((8, 8), np.uint16), "RGGB")


def test_a_mosaic_without_a_known_phase_is_refused(raw_model):
    with pytest.raises(UserError, match=r"shape \(8, 8\) and the pattern RGBG given; .*one of RGGB, GRBG, GBRG, BGGR"):
        load_model(raw_model, "cpu").restore_mosaic(np.zeros((8, 8)), "RGBG")


def test_the_iso_speed_is_refused_where_it_makes_no_difference(option_file):
    chain = [
        {"class_name": "CenterCrop", "h": 32, "w": 32},
        {"class_name": "RgbToRawTransform", "noise_model": "gaussian"},
        {"class_name": "ToTensor2"},
    ]
    path = option_file(total_iterations=5, transforms_test=chain)
    train(training_arguments(["-opt", str(path), "--run-name", "white", "--device", "cpu"]))
    with pytest.raises(UserError, match=r"--iso: 800 given; the model's noise \(gaussian\) is the same at any speed"):
        restore("--model", "model_zoo/white", "--input", "val", "--iso", 800)


def test_restoring_is_full_float32_and_leaves_the_settings_of_torch_as_they_were(identity):
    def settings():
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark

    before, within = settings(), []
    try:
        torch.set_float32_matmul_precision("medium")
        given = settings()
        model = load_model(identity, "cpu")
        model.network.register_forward_pre_hook(lambda *_: within.append(settings()[:2]))
        model(torch.rand(3, 16, 16))
        assert settings() == given
    finally:
        torch.set_float32_matmul_precision(before[0])
    assert within == [("highest", False)]


def test_the_layout_in_the_information_file_says_what_the_planes_are(raw_model, workplace):
    assert load_model(raw_model, "cpu").information.data["layout"] == "RGGB"
    named = identity_model(workplace / "named.pth", n_channels=4, layout="RGGB")
    assert load_model(named, "cpu").layout is RGGB
    chain = [{"class_name": "RgbToRawTransform"}, {"class_name": "ToTensor2"}]
    assert load_model(identity_model(workplace / "old.pth", chain, n_channels=4), "cpu").layout is RGGB
    with pytest.raises(UserError, match=r'bare\.json: generator\.n_channels is 4, .* add "layout": "RGGB"'):
        load_model(identity_model(workplace / "bare.pth", n_channels=4), "cpu")
    with pytest.raises(UserError, match=r'odd\.json: layout: "XTrans" given; known: sRGB, RGGB'):
        load_model(identity_model(workplace / "odd.pth", n_channels=4, layout="XTrans"), "cpu")


def test_an_information_file_of_another_savepoint_is_refused(raw_model):
    assert load_model(raw_model / "model_5.pth", "cpu").information.data["iteration"] == 5
    (raw_model / "model_5.pth").rename(raw_model / "model_7.pth")
    (raw_model / "model_5.json").rename(raw_model / "model_7.json")
    with pytest.raises(UserError, match=r"model_7\.json: its iteration is 5, and the weights are of 7"):
        load_model(raw_model / "model_7.pth", "cpu")
