"""What training_path may hold: folders of photographs, raw files and pairs, from their files to a trained model."""

import json

import cv2
import numpy as np
import pytest
import torch
from data_set_files import RAW_CHAIN, TO_TENSOR, assert_rggb, opened, write_picture, write_raw, write_sidd

import transforms
from options.errors import UserError
from restore.command.arguments import training_arguments
from restore.data.store import STORE
from restore.train import main
from restore.training.option_file import read_option_file

CROP = {"class_name": "RandomCrop", "h": 32, "w": 32}
SMALL_CROP = {"class_name": "RandomCrop", "h": 24, "w": 24}
SRGB_CHAIN = [CROP, TO_TENSOR]


@pytest.mark.parametrize("pattern", ["RGGB", "GRBG", "GBRG", "BGGR"])
def test_a_raw_file_of_any_phase_becomes_a_clean_rggb_mosaic(workplace, pattern):
    write_raw(workplace / "raw/deep/one.dng", pattern)
    (photograph,) = opened("raw").usable
    assert_rggb(photograph.image())
    sample = transforms.build([CROP, *RAW_CHAIN])(photograph.image(), torch.Generator().manual_seed(0))
    planes = sample.clean.mean((1, 2)).tolist()
    assert planes == pytest.approx([0.1, 0.2, 0.2, 0.4], abs=1e-3)


def test_a_raw_file_keeps_its_cameras_colours_and_noise_in_the_store(workplace):
    write_raw(workplace / "raw/one.dng", as_shot_neutral=(0.5, 1, 0.8), noise_profile=[(1e-3, 1e-6)])
    opened("raw")
    (photograph,) = opened("raw").usable  # from the store
    camera, (shot, read), _ = photograph.image().metadata
    assert camera.white_balance.tolist() == pytest.approx([2, 1, 1.25], abs=1e-3)
    assert camera.rgb_to_camera.sum(1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert shot.tolist() == pytest.approx([1e-3] * 4)
    assert read.tolist() == pytest.approx([1e-6] * 4)


def test_photographs_and_raw_files_of_one_folder_are_all_taken(workplace):
    write_raw(workplace / "mixed/raw.dng")
    write_picture(workplace / "mixed/picture.png")
    first, second = opened("mixed").usable
    assert [first.source.name, second.source.name] == ["picture.png", "raw.dng"]
    assert first.image().dtype == np.uint8
    assert_rggb(second.image())


def test_pairs_match_by_subfolder_and_name_and_the_unmatched_are_named(workplace):
    for folder, value in (("noisy", 90), ("clean", 100)):
        write_picture(workplace / folder / "a/1.png", value)
        write_picture(workplace / folder / "b/1.png", value + 1)
    write_picture(workplace / "noisy/2.png")
    write_picture(workplace / "clean/a/3.png")
    write_picture(workplace / "clean/a/1.tif")
    found = opened({"degraded": "noisy", "clean": "clean"}, chain=[TO_TENSOR])
    values = [[int(one[0, 0, 0]) for one in photograph.image()[:2]] for photograph in found.usable]
    assert values == [[90, 100], [91, 101]]
    assert sorted(found.left_out) == [
        "clean/a/1.tif: named as 1.png is, which was taken; keep one of them",
        "clean/a/3.png: has no partner, a picture noisy/a/3.*; add that or remove this",
        "noisy/2.png: has no partner, a picture clean/2.*; add that or remove this",
    ]


def test_partners_may_differ_in_format_and_depth(workplace):
    write_picture(workplace / "noisy/1.png", 51)
    write_picture(workplace / "clean/1.tif", 257 * 102, dtype=np.uint16)
    (photograph,) = opened({"degraded": "noisy", "clean": "clean"}, chain=[TO_TENSOR]).usable
    sample = transforms.build([TO_TENSOR])(photograph.image(), torch.Generator())
    assert (sample.degraded == 0.2).all()
    assert (sample.clean == 0.4).all()


def test_pairs_of_raw_files_beside_their_jpegs_match_kind_by_kind(workplace):
    for folder, level in (("noisy", 0.5), ("clean", 1.0)):
        write_raw(workplace / folder / "1.dng", "GRBG", level)
        write_picture(workplace / folder / "1.jpg")
    pairs = {"degraded": "noisy", "clean": "clean"}
    found = opened(pairs)
    (photograph,) = found.usable
    assert_rggb(photograph.image().degraded, 0.5)
    assert_rggb(photograph.image().clean)
    (line,) = found.left_out
    assert line.startswith("noisy/1.jpg: image: a pair of sRGB images given"), "the chain makes raw of clean ones only"


def test_a_pair_of_unequal_sizes_is_named_and_left_out(workplace):
    for folder in ("noisy", "clean"):
        write_picture(workplace / folder / "1.png")
    write_picture(workplace / "noisy/2.png")
    write_picture(workplace / "clean/2.png", size=(40, 50))
    found = opened({"degraded": "noisy", "clean": "clean"}, chain=[TO_TENSOR])
    assert len(found.usable) == 1
    (line,) = found.left_out
    assert line.startswith("noisy/2.png: image: a pair of (40, 48, 3) and (40, 50, 3) given")


def test_a_damaged_raw_file_is_named_and_left_out(workplace):
    write_raw(workplace / "raw/good.dng")
    (workplace / "raw/cut.dng").write_bytes((workplace / "raw/good.dng").read_bytes()[:200])
    found = opened("raw")
    assert [photograph.source.name for photograph in found.usable] == ["good.dng"]
    (line,) = found.left_out
    assert line.startswith("raw/cut.dng: ")


def test_a_raw_file_is_decoded_once_and_read_from_the_disk_where_it_is_looked_at(workplace):
    write_raw(workplace / "raw/one.dng")
    (photograph,) = opened("raw").usable
    (part,) = photograph.stored
    written = part.array.stat().st_mtime_ns
    (again,) = opened("raw").usable
    assert again == photograph
    assert part.array.stat().st_mtime_ns == written
    assert isinstance(again.image().values, np.memmap)
    assert [path.name for path in STORE.glob("*.npy")] == [part.array.name]


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            {"class_name": "SIDDD", "path": "x"},
            'training_path.0.class_name: "SIDDD" is unknown; did you mean "SIDD"?',
        ),
        ({"degraded": "x"}, "training_path.0.clean: missing, and it has no default"),
        (
            {"degraded": "x", "clean": "y", "claen": "z"},
            'training_path.0.claen: unknown key (given "z"); did you mean "clean"?',
        ),
        ({"class_name": "SID", "path": "x", "part": "trian"}, 'training_path.0.part: "trian" is not a choice; did you'),
        (3, "training_path.0: 3 given; input should be a valid string"),
    ],
)
def test_a_mistaken_entry_gets_one_line_with_its_place(option_file, entry, line):
    path = option_file(training_path=[entry])
    with pytest.raises(UserError) as caught:
        read_option_file(path)
    (given,) = str(caught.value).splitlines()
    assert given.startswith(f"{path}: {line}")


def test_raw_data_sets_in_a_3_channel_run_are_a_mistake_and_paired_folders_are_none(option_file):
    pairs = {"degraded": "noisy", "clean": "clean"}
    srgb = {
        "generator": {"class_name": "UNet", "n_channels": 3, "widths": [8]},
        "transforms_train": SRGB_CHAIN,
        "transforms_test": SRGB_CHAIN,
        "testing_path": [pairs],
    }
    assert read_option_file(option_file(**srgb, training_path=[pairs])).training_path[0].clean == "clean"
    path = option_file(**srgb, training_path=[pairs, {"class_name": "ELD", "path": "x"}])
    with pytest.raises(UserError) as caught:
        read_option_file(path)
    assert str(caught.value) == (
        f"{path}: training_path.1: ELD holds RGGB images, but transforms_train gives sRGB samples; "
        f"add an RgbToRawTransform"
    )
    with pytest.raises(UserError, match="transforms_train: nothing degrades the image"):
        read_option_file(option_file(**srgb, training_path=[pairs, "photos"]))


def test_pairs_that_the_chain_cannot_take_are_a_mistake_seen_before_anything_is_decoded(option_file):
    entry = {"class_name": "SIDD", "path": "x"}
    chain = [{"class_name": "Downsample", "downsampling_factor": 2, "sigma": 1}, CROP, *RAW_CHAIN]
    stabilised = [CROP, RAW_CHAIN[0], {"class_name": "VarianceStabilization"}, TO_TENSOR]
    path = option_file(
        training_path=["train", entry], testing_path=[entry], transforms_train=chain, transforms_test=stabilised
    )
    with pytest.raises(UserError) as caught:
        read_option_file(path)
    assert str(caught.value).splitlines() == [
        f"{path}: training_path.1: SIDD holds pairs, and Downsample would average the noise away; "
        f"remove it from transforms_train",
        f"{path}: testing_path.0: SIDD has no noise level, and VarianceStabilization needs it; "
        f"remove VarianceStabilization from transforms_test",
        f"{path}: transforms_train: without the VarianceStabilization that transforms_test has; give both the same",
    ]


def trained(path, *words):
    main(training_arguments(["-opt", str(path), "--run-name", "run", "--device", "cpu", *words]))


def noisy_pieces(workplace):
    """Of every photograph a noisy one beside it, in a folder of its own."""
    rng = np.random.default_rng(0)
    for folder in ("train", "val"):
        (workplace / f"noisy_{folder}").mkdir()
        for file in sorted((workplace / folder).iterdir()):
            noisy = cv2.imread(str(file)) + rng.normal(0, 25, (96, 80, 3))
            cv2.imwrite(str(workplace / f"noisy_{folder}" / file.name), noisy.clip(0, 255).round().astype(np.uint8))


def test_a_3_channel_network_trains_on_paired_folders(option_file, photographs, capsys):
    noisy_pieces(photographs)
    path = option_file(
        generator={"class_name": "UNet", "n_channels": 3, "widths": [8, 16]},
        transforms_train=[CROP, {"class_name": "RandomFlip"}, TO_TENSOR],
        transforms_test=SRGB_CHAIN,
        training_path=[{"degraded": "noisy_train", "clean": "train"}],
        testing_path=[{"degraded": "noisy_val", "clean": "val"}],
        total_iterations=4,
        validate_every=4,
    )
    trained(path)
    assert "training: 6 photographs in " in capsys.readouterr().out
    information = json.loads((photographs / "model_zoo/run/model_4.json").read_text())
    assert information["training_path"] == [
        {"class_name": "PairedFolders", "degraded": "noisy_train", "clean": "train"}
    ]
    noisy = information["validation"]["degraded"]["psnr_srgb"]
    assert 18 < noisy < 23, "20.2 dB is what a standard deviation of 25 of 255 gives"


@pytest.mark.parametrize(
    ("degradation", "lowest", "highest"),
    [
        ({"class_name": "PictureNoise", "sigma": 25}, 20, 22),  # 20.2 dB, less what is clipped
        ({"class_name": "JpegCompression", "quality": 10}, 22, 32),
        ({"class_name": "Blur", "sigma": 2, "kernels": {"isotropic": 1}}, 18, 36),
    ],
    ids=["denoising", "deblocking", "deblurring"],
)
def test_a_3_channel_network_trains_on_a_folder_whose_pictures_the_chain_degrades(
    option_file, photographs, degradation, lowest, highest
):
    path = option_file(
        generator={"class_name": "UNet", "n_channels": 3, "widths": [8]},
        transforms_train=[CROP, degradation, TO_TENSOR],
        transforms_test=[CROP, degradation, TO_TENSOR],
        total_iterations=1,
        validate_every=1,
    )
    trained(path)
    information = json.loads((photographs / "model_zoo/run/model_1.json").read_text())
    assert lowest < information["validation"]["degraded"]["psnr_srgb"] < highest


def test_a_raw_network_trains_on_raw_files_and_raw_pairs(option_file, photographs):
    for number in range(2):
        write_raw(photographs / f"raw/{number}.dng", "BGGR", as_shot_neutral=(0.5, 1, 0.8))
        write_sidd(photographs, f"000{number}_001_S6_00100_00060_3200_L", "GBRG")
    sources = ["train", "raw", {"class_name": "SIDD", "path": "."}]
    path = option_file(
        training_path=sources,
        testing_path=["raw"],
        transforms_train=[SMALL_CROP, {"class_name": "RandomFlip"}, *RAW_CHAIN],
        transforms_test=[SMALL_CROP, *RAW_CHAIN],
        total_iterations=4,
        validate_every=4,
    )
    trained(path)
    information = json.loads((photographs / "model_zoo/run/model_4.json").read_text())
    assert (information["n_imgs_train"], information["n_imgs_test"]) == (10, 2)
    assert np.isfinite(information["final_val_loss"])
    same = read_option_file(photographs / "model_zoo/run/options.json")
    assert same.training_path[2].path == "."


def test_check_shows_pairs_of_every_entry(option_file, photographs, capsys):
    write_raw(photographs / "raw/1.dng")
    write_sidd(photographs, "0001_001_S6_00100_00060_3200_L", "GBRG")
    path = option_file(
        training_path=["train", "raw", {"class_name": "SIDD", "path": "Data"}],
        transforms_train=[SMALL_CROP, *RAW_CHAIN],
    )
    trained(path, "--check")
    assert "degraded | clean, 8 pairs" in capsys.readouterr().out, "3 + 1 + 1 of training, 3 of validation"
    assert cv2.imread("model_zoo/check_small.png") is not None
