"""What restore.test leaves: names that never meet, results that are always written and always JSON; what it refuses."""

import csv
import json
import os
import random
import resource
import sys
from pathlib import Path, PurePath

import cv2
import numpy as np
import pytest
import torch
from conftest import command
from restoring_files import identity_model, pictures

from options.errors import UserError
from restore.command.arguments import testing_arguments as arguments_of
from restore.evaluation.strips import GAP
from restore.files.images import read_image, write_image
from restore.inference.outputs import output_names
from restore.inference.pictures import ImageFiles
from restore.inference.results import Results, Row
from restore.networks import build_generator
from restore.networks.unet import UNetOptions
from restore.test import main

DOWNSAMPLED = [
    {"class_name": "Downsample", "downsampling_factor": 2, "sigma": 1},
    {"class_name": "RandomFlip"},
    {"class_name": "RandomRotate"},
    {"class_name": "RgbToRawTransform"},
    {"class_name": "ToTensor2"},
]


def restore(*words):
    main(arguments_of(["--device", "cpu", *map(str, words)]))


def results_in(folder):
    def refuse(number):
        raise ValueError(f"{number} is no JSON")

    return json.loads((Path(folder) / "results.json").read_text(), parse_constant=refuse)


@pytest.fixture
def identity(workplace):
    return identity_model(workplace / "identity.pth")


def random_tree(rng):
    """Names of files in which stems, suffixes, folders and the names of results meet often."""
    parts = ["a", "A", "b", "strips", "Strips", "strips_2", "results.json", "a.png", "a.jpg", "a.png.png", "a.jpg_2"]
    files = set()
    for _ in range(rng.randrange(1, 14)):
        folders = [rng.choice(parts) for _ in range(rng.randrange(3))]
        files.add(PurePath(*folders, rng.choice(parts) + rng.choice([".png", ".jpg", ".tif", ".PNG"])))
    return [Path(file) for file in sorted(files) if not any(file in other.parents for other in files)]


def suffixes_of(file):
    """Some files have two formats, which meet those of others."""
    return {"png": ".png", "tiff": ".tif"} if file.suffix == ".jpg" else {"png": ".png"}


def test_no_two_outputs_ever_have_one_name():
    for seed in range(3000):
        files = random_tree(random.Random(seed))
        names = output_names(files, suffixes_of)
        assert set(names) == set(files)
        written = [path for outputs in names.values() for path in (*outputs.restored.values(), outputs.strip)]
        written += [Path(name) for name in ("results.json", "results.csv", "index.html")]
        alike = {path.as_posix().lower() for path in written}
        assert len(alike) == len(written), (seed, files)
        folders = {parent.as_posix().lower() for path in written for parent in path.parents}
        assert not alike & folders, (seed, files)


def test_names_follow_the_input_where_nothing_meets():
    names = output_names([Path("a.jpg"), Path("more/a.TIF"), Path("b.c.png")], suffixes_of)
    assert {str(file): [str(path) for path in outputs.restored.values()] for file, outputs in names.items()} == {
        "a.jpg": ["a.png", "a.tif"],
        "more/a.TIF": ["more/a.png"],
        "b.c.png": ["b.c.png"],
    }
    assert str(names[Path("more/a.TIF")].strip) == "strips/more/a.png"


def test_every_restored_picture_is_where_the_results_say(identity, workplace):
    rng = np.random.default_rng(0)
    files = ["a.png", "a.tif", "a.png.png", "a.tif.png", "b.png", "strips/b.png", "more/b.png"]
    for file in files:
        (workplace / "in" / file).parent.mkdir(parents=True, exist_ok=True)
        write_image(workplace / "x.png", rng.integers(0, 256, (16, 24, 3)).astype(np.uint8))
        (workplace / "x.png").replace(workplace / "in" / file)
    restore("--model", identity, "--input", "in", "--output", "out")
    rows = results_in("out")["pictures"]
    assert sorted(rows) == sorted(files)
    for file, row in rows.items():
        clean = read_image(workplace / "in" / file)
        assert np.array_equal(read_image(Path("out", row["outputs"]["png"])), clean)
        assert np.array_equal(read_image(Path("out", row["strip"]))[:, :24], clean)
    table = list(csv.DictReader(Path("out/results.csv").read_text().splitlines()))
    assert {row["file"]: row["output"] for row in table} == {file: row["outputs"]["png"] for file, row in rows.items()}


def test_raw_files_among_the_pictures_are_named_as_left_out(identity, workplace, capsys):
    folder = pictures(workplace / "in")
    (folder / "IMG_1.DNG").write_bytes(b"raw")
    (folder / "notes.txt").write_text("no picture")
    restore("--model", identity, "--input", folder, "--output", "out")
    printed = capsys.readouterr().out
    assert "left out 1:" in printed
    assert "IMG_1.DNG: a raw file, and " in printed
    assert len(results_in("out")["left_out"]) == 1


def test_a_folder_of_raw_files_alone_says_what_restores_them(identity, workplace):
    (workplace / "in").mkdir()
    (workplace / "in/IMG_1.DNG").write_bytes(b"raw")
    message = r"^in/IMG_1.DNG: a raw file, and [^\n]*; take a model of raw images\n--input: in: holds no [^\n]*$"
    with pytest.raises(UserError, match=message):
        restore("--model", identity, "--input", "in", "--output", "out")


def test_a_picture_that_is_not_finite_is_named_and_not_written(workplace):
    path = identity_model(workplace / "huge.pth")
    weights = torch.load(path, weights_only=True)
    torch.save({name: torch.full_like(values, 1e30) for name, values in weights.items()}, path)
    folder = pictures(workplace / "in")
    with pytest.raises(
        UserError, match=r"none of the 2 .*\n2 files .*0.png, .*: the restored image has numbers .* not finite"
    ):
        restore("--model", path, "--input", folder, "--output", "out")
    assert not list(Path().glob("out/**/*.png"))


def test_results_are_json_whatever_was_measured(workplace):
    results = Results({}, ["degraded", "restored"])
    degraded = {"psnr_srgb": float("nan"), "ssim_srgb": float("inf")}
    metrics = {"degraded": degraded, "restored": {"psnr_srgb": 30.0, "ssim_srgb": float("nan")}}
    results.add("a.png", Row({"png": "a.png"}, "strips/a.png", (1, 1.0), (4, 4), (4, 4), metrics))
    results.write(workplace / "out")
    found = results_in("out")
    assert found["mean"]["degraded"] == {"psnr_srgb": None, "ssim_srgb": None}
    assert found["mean"]["restored"] == {"psnr_srgb": 30, "ssim_srgb": None}
    assert "psnr_srgb - -> 30.00" in results.lines(["a.png"])[0]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, MemoryError])
def test_what_was_done_before_the_command_ended_is_in_the_results(identity, workplace, monkeypatch, failure):
    folder, whole = pictures(workplace / "in", count=3), ImageFiles.open

    def fail_at_the_last(self, file):
        if file.name == "2.png":
            raise failure
        return whole(self, file)

    monkeypatch.setattr(ImageFiles, "open", fail_at_the_last)
    with pytest.raises(failure):
        restore("--model", identity, "--input", folder, "--output", "out")
    results = results_in("out")
    assert sorted(results["pictures"]) == ["0.png", "1.png"]
    assert results["complete"] is False
    assert len(Path("out/results.csv").read_text().splitlines()) == 3


def test_a_picture_that_cannot_be_written_leaves_the_results_of_those_before(identity, workplace):
    (workplace / "in").mkdir()
    write_image(workplace / "in/0.png", np.zeros((32, 32, 3), np.uint8))
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    write_image(workplace / "in/1.png", noise)
    process = command(
        *("restore.test", "--model", identity, "--input", "in", "--output", "out", "--device", "cpu"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "out/1.png: could not be written" in errors
    assert "Traceback" not in errors
    assert list(results_in("out")["pictures"]) == ["0.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8 are Linux's")
def test_names_that_are_not_utf_8_are_restored_and_reported(identity, workplace):
    pictures(workplace / "in", count=1)
    os.rename(b"in/0.png", b"in/bad\xff\xfe.png")  # noqa: PTH104 (a path of bytes)
    process = command(
        *("restore.test", "--model", identity, "--input", "in", "--target", "in", "--output", "out", "--device", "cpu")
    )
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "\\udcff\\udcfe.png  psnr_srgb" in printed
    (row,) = results_in("out")["pictures"].values()
    assert Path("out", row["outputs"]["png"]).exists()
    assert b"\nbad\xff\xfe.png," in Path("out/results.csv").read_bytes()


@pytest.mark.parametrize("flag", ["--model", "--input", "--target", "--output"])
def test_an_empty_folder_name_is_refused(identity, workplace, flag):
    words = {"--model": identity, "--input": pictures(workplace / "in"), "--output": "out"} | {flag: ""}
    with pytest.raises(UserError, match=f"^{flag}: empty"):
        restore(*(word for pair in words.items() for word in pair))


def test_outputs_never_lie_in_the_models_folder_or_over_pictures(workplace):
    model = identity_model(workplace / "run/best.pth")
    folder = pictures(workplace / "in")
    for given, output in ((model.parent, "run"), (model.parent, "run/out"), (model, "run")):
        with pytest.raises(UserError, match=r"^--output: .* is the model's own folder, or lies in it"):
            restore("--model", given, "--input", folder, "--output", output)
    pictures(folder / "in")  # in/in/0.png restored into the current folder would be in/0.png
    before = read_image("in/0.png")
    write_image("in/in/0.png", 255 - before)
    with pytest.raises(UserError, match=r"^--output: in/0\.png would lie among the pictures that are read"):
        restore("--model", model, "--input", folder, "--output", ".")
    assert np.array_equal(read_image("in/0.png"), before)


def test_a_single_file_is_restored_as_it_is_among_others(identity, workplace):
    file = pictures(workplace / "in") / "0.png"
    restore("--model", identity, "--input", file, "--output", "out")
    restore("--model", identity, "--input", "in/1.png", "--output", "out")
    assert sorted(results_in("out")["pictures"]) == ["0.png", "1.png"]
    before = file.read_bytes()
    with pytest.raises(UserError, match=r"^--output: in/0\.png would lie among the pictures that are read"):
        restore("--model", identity, "--input", file, "--output", "in", "--overwrite")
    assert file.read_bytes() == before


def test_the_size_at_which_photographs_are_restored_is_told_once(photographs, capsys):
    model = identity_model(photographs / "raw.pth", DOWNSAMPLED, n_channels=4)
    restore("--model", model, "--input", "val", "--output", "out")
    note = "restored at 1/2 of each side: the model's chain begins with Downsample"
    assert capsys.readouterr().out.count(note) == 1
    results = results_in("out")
    assert results["notes"] == [note]
    row = results["pictures"]["0.png"]
    assert (row["size"], row["restored_size"]) == ([80, 96], [40, 48]), "upright, whatever flips and turns there are"
    assert read_image(Path("out", row["outputs"]["png"])).shape == (48, 40, 3)


def test_no_size_is_told_where_it_is_the_pictures_own(identity, workplace):
    restore("--model", identity, "--input", pictures(workplace / "in"), "--output", "out")
    results = results_in("out")
    assert results["notes"] == []
    assert results["pictures"]["0.png"]["size"] == results["pictures"]["0.png"]["restored_size"] == [56, 40]


def test_a_model_whose_chain_degrades_nothing_cannot_be_asked_to(photographs):
    chain = [{"class_name": "CenterCrop", "h": 32, "w": 32}, {"class_name": "ToTensor2"}]
    model = identity_model(photographs / "rgb.pth", chain)
    with pytest.raises(UserError, match=r"rgb\.json: transforms_test: degrades nothing"):
        restore("--model", model, "--input", "val", "--output", "out", "--degrade")


def test_a_middle_of_a_large_picture_is_shown_and_all_of_it_is_written(identity, workplace):
    (workplace / "in").mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (33, 1501, 3)).astype(np.uint8)
    write_image("in/0.png", picture)
    restore("--model", identity, "--input", "in", "--output", "out")
    assert np.array_equal(read_image("out/0.png"), picture)
    assert np.array_equal(read_image("out/strips/0.png")[:, :1024], picture[:, 238 : 238 + 1024])


@pytest.mark.skipif("scale" not in UNetOptions.model_fields, reason="no network enlarges")
def test_a_model_that_enlarges_is_measured_and_shown_at_the_larger_size(workplace):
    section = {"class_name": "UNet", "n_channels": 3, "widths": [4, 8], "scale": 2}
    torch.save(build_generator(section).state_dict(), "twice.pth")
    Path("twice.json").write_text(json.dumps({"generator": section}))
    (workplace / "target").mkdir()
    for file in pictures(workplace / "in").iterdir():
        larger = cv2.resize(read_image(file), (112, 80), interpolation=cv2.INTER_CUBIC)
        write_image(workplace / "target" / file.name, larger)
    restore("--model", "twice.pth", "--input", "in", "--target", "target", "--output", "out")
    results = results_in("out")
    row = results["pictures"]["0.png"]
    assert results["notes"] == ["restored at 2 times each side: the model enlarges"]
    assert (row["size"], row["restored_size"]) == ([56, 40], [112, 80])
    strip = read_image("out/strips/0.png")
    assert strip.shape[:2] == (80, 3 * 112 + 2 * GAP)
    assert np.array_equal(strip[:, 112 + GAP : 224 + GAP], read_image("out/0.png"))
    assert set(row["bicubic"]) == set(row["restored"]) == {"psnr_srgb", "ssim_srgb", "psnr_y", "ssim_y"}
    assert row["bicubic"]["psnr_srgb"] > 30, "enlarged as the target was"
    assert "bicubic_psnr_y" in Path("out/results.csv").read_text().splitlines()[0].split(",")


def test_a_target_larger_by_less_than_the_scale_is_cut_and_any_other_is_left_out_with_both_sizes(workplace):
    section = {"class_name": "UNet", "n_channels": 3, "widths": [4, 8], "scale": 2}
    torch.save(build_generator(section).state_dict(), "twice.pth")
    Path("twice.json").write_text(json.dumps({"generator": section}))
    (workplace / "target").mkdir()
    for file, (height, width) in zip(
        sorted(pictures(workplace / "in", 3).iterdir()), [(81, 113), (80, 114), (160, 224)], strict=True
    ):
        write_image(workplace / "target" / file.name, np.full((height, width, 3), 99, np.uint8))
    restore("--model", "twice.pth", "--input", "in", "--target", "target", "--output", "out")
    results = results_in("out")
    assert list(results["pictures"]) == ["0.png"]
    assert [line.split("56 x 40 pixels, but ")[1].split(";")[0] for line in results["left_out"]] == [
        "target/1.png has 114 x 80",
        "target/2.png has 224 x 160",
    ]
