"""What restore.test leaves in its folder beside restored raw files: several formats, and a page to look at."""

import json
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import command
from raw_files import MATRIX, write_dng
from restoring_files import identity_model, pictures

from options.errors import UserError
from restore.camera.output.formats import FORMATS
from restore.command.arguments import RAW_FORMATS
from restore.command.arguments import testing_arguments as arguments_of
from restore.files.images import read_image
from restore.inference.inputs import Images
from restore.inference.raw_files import RawFiles
from restore.inference.showing import CROP, shown, strip_of
from restore.test import SOME_LEFT_OUT, main
from transforms import RGGB, SRGB, NoiseProfile, RawMetadata
from transforms.sensor.cameras import NEUTRAL

NOISE = [(1e-3, 1e-6), (2e-3, 2e-6), (3e-3, 3e-6)]


def restore(*words) -> int:
    return main(arguments_of(["--device", "cpu", "--output", "out", *map(str, words)]))


def results() -> dict:
    return json.loads(Path("out/results.json").read_text())


def page_images() -> dict:
    """The heads of the images of the page, by their names."""
    lines = re.findall(r'class="image">([^<]*)</script>', Path("out/index.html").read_text())
    return {head["name"]: head for head in map(json.loads, lines)}


def dng(path, **facts) -> Path:
    path.parent.mkdir(exist_ok=True)
    mosaic = np.random.default_rng(0).integers(2000, 12000, (64, 96), dtype=np.uint16)
    return write_dng(path, mosaic, **{"black": (1000,) * 4, "white": 15000, "color_matrix": MATRIX} | facts)


@pytest.fixture
def identity(workplace):
    """A raw model that returns what it gets."""
    return identity_model(workplace / "identity.pth", n_channels=4, layout="RGGB")


def test_the_formats_of_the_command_are_those_that_can_be_written():
    assert set(RAW_FORMATS) == set(FORMATS)


def test_a_raw_file_is_written_in_all_formats_asked_for_and_a_picture_in_those_it_can_have(identity, workplace):
    chain = [{"class_name": "RgbToRawTransform"}, {"class_name": "ToTensor2"}]
    model = identity_model(workplace / "raw.pth", chain, n_channels=4)
    dng(pictures(workplace / "in", count=1) / "raw.dng", more_tags=[(274, 3, 1, 6)])
    assert restore("--model", model, "--input", "in", "--format", ",".join(RAW_FORMATS)) == 0
    rows = results()["pictures"]
    assert set(rows["raw.dng"]["outputs"]) == set(RAW_FORMATS)
    assert set(rows["0.png"]["outputs"]) == {"tiff", "png", "jpeg"}
    assert all(Path("out", path).stat().st_size for row in rows.values() for path in row["outputs"].values())
    for suffix in ("png", "tif", "jpg"):
        assert read_image(f"out/raw.{suffix}").shape[:2] == (96, 64), "upright"
    assert restore("--model", model, "--input", "in", "--format", "linear-dng") == 0, "pictures are then PNG: kept"


def test_a_format_that_is_missing_is_added_and_the_others_are_kept(identity, workplace, capsys):
    dng(workplace / "in/a.dng")
    restore("--model", identity, "--input", "in")
    Path("out/a.dng").write_bytes(b"worked on")
    restore("--model", identity, "--input", "in", "--format", "dng,jpeg")
    assert Path("out/a.dng").read_bytes() == b"worked on"
    assert Path("out/a.jpg").exists()
    with pytest.raises(SystemExit):
        restore("--model", identity, "--input", "in", "--format", "dng,gif")
    assert "'gif' given; choose from dng, linear-dng" in capsys.readouterr().err


def test_the_page_shows_each_file_with_its_noise_metrics_and_warnings(identity, workplace):
    dng(workplace / "in/a.dng", noise_profile=NOISE, iso=800)
    dng(workplace / "target/a.dng")
    restore("--model", identity, "--input", "in", "--target", "target")
    head = page_images()["a.dng"]
    assert head["facts"]["ISO"] == "800"
    assert head["facts"]["noise"].startswith("NoiseProfile of the file: shot 0.001 0.002 0.003, read 1e-06")
    assert list(head["metrics"]) == ["degraded", "restored"]
    assert set(head["metrics"]["restored"]) == {"psnr_raw", "ssim_raw", "psnr_srgb", "ssim_srgb"}
    page = Path("out/index.html").read_text()
    assert "Mean over the files" in page
    assert not re.search(r"""(src|href)=["']?(http|//)""", page)


def test_a_repeated_call_keeps_the_files_of_the_first_in_results_and_page(identity, workplace):
    dng(workplace / "in/a.dng")
    restore("--model", identity, "--input", "in")
    before = results()["pictures"]["a.dng"]
    dng(workplace / "in/b.dng")
    assert restore("--model", identity, "--input", "in") == 0
    assert results()["pictures"]["a.dng"] == before
    assert sorted(page_images()) == ["a.dng", "b.dng"]


def test_a_damaged_record_of_an_earlier_call_is_named_and_replaced_only_if_asked_for(identity, workplace):
    dng(workplace / "in/a.dng")
    restore("--model", identity, "--input", "in")
    wrong = [b"", b"{}", b"[1, 2]", b'{"mean": {}, "pictures": {"a.dng": {}}}', b"\xff\xfe", b"null", b"[" * 100000]
    wrong.append(
        json.dumps(results() | {"pictures": {"a.dng": results()["pictures"]["a.dng"] | {"size": None}}}).encode()
    )
    for content in wrong:
        Path("out/results.json").write_bytes(content)
        with pytest.raises(
            UserError, match=r"^--output: out/results.json is damaged, of another version .* --overwrite"
        ):
            restore("--model", identity, "--input", "in")
        assert Path("out/results.json").read_bytes() == content
        assert restore("--model", identity, "--input", "in", "--overwrite") == 0
        assert list(results()["pictures"]) == ["a.dng"]


@pytest.mark.parametrize("name", ["index.html", "results.csv", "results.json"])
def test_files_of_another_origin_are_not_replaced(identity, workplace, name):
    dng(workplace / "in/a.dng")
    Path("out").mkdir()
    Path("out", name).write_text("mine")
    with pytest.raises(UserError, match=f"^--output: out/{name} is .* give --overwrite"):
        restore("--model", identity, "--input", "in")
    assert [path.name for path in Path("out").iterdir()] == [name]


def test_a_file_that_is_no_result_is_neither_replaced_nor_taken_for_one(identity, workplace):
    for name in ("a", "b", "c"):
        dng(workplace / f"in/{name}.dng")
    Path("out/strips").mkdir(parents=True)
    Path("out/a.dng").write_bytes(b"mine")
    Path("out/b.dng").mkdir()
    Path("out/strips/c.png").write_bytes(b"mine too")
    with pytest.raises(UserError, match=r"3 files|a\.dng is there already, and results.json does not know it; move it"):
        restore("--model", identity, "--input", "in")
    assert Path("out/a.dng").read_bytes() == b"mine"
    dng(workplace / "in/d.dng")
    assert restore("--model", identity, "--input", "in") == SOME_LEFT_OUT
    assert list(results()["pictures"]) == ["d.dng"]
    shutil.move("in/d.dng", "in/d.nef")
    with pytest.raises(UserError, match=r"in/d\.nef: out/d\.dng is there already"):  # made from another source
        restore("--model", identity, "--input", "in")


def test_what_was_stopped_while_it_replaced_the_work_of_another_model_is_never_mixed(identity, workplace, monkeypatch):
    other = identity_model(workplace / "other.pth", n_channels=4, layout="RGGB")
    weights = torch.load(other, weights_only=True)
    torch.save(weights | {"tail.bias": torch.tensor([0.002, 0, 0, 0.01])}, other)
    dng(workplace / "in/a.dng")
    dng(workplace / "in/b.dng")
    restore("--model", identity, "--input", "in")
    whole = RawFiles.restore

    def stopped_at_b(self, file):
        if file.name == "b.dng":
            raise KeyboardInterrupt
        return whole(self, file)

    with monkeypatch.context() as stopping:
        stopping.setattr(RawFiles, "restore", stopped_at_b)
        with pytest.raises(KeyboardInterrupt):
            restore("--model", other, "--input", "in", "--overwrite")
    before = Path("out/b.dng").read_bytes()
    assert restore("--model", other, "--input", "in") == SOME_LEFT_OUT
    assert list(results()["pictures"]) == ["a.dng"]
    assert "out/b.dng is there already, and results.json does not know it" in results()["left_out"][0]
    assert Path("out/b.dng").read_bytes() == before


def test_a_source_that_changed_since_is_named_and_restored_anew_only_if_asked_for(identity, workplace):
    dng(workplace / "in/a.dng")
    restore("--model", identity, "--input", "in")
    dng(workplace / "in/a.dng", noise_profile=NOISE)
    before = Path("out/a.dng").read_bytes()
    assert restore("--model", identity, "--input", "in") == SOME_LEFT_OUT
    assert results()["left_out"] == ["in/a.dng: has changed since it was restored; give --overwrite"]
    assert Path("out/a.dng").read_bytes() == before
    assert restore("--model", identity, "--input", "in", "--overwrite") == 0


def test_a_stop_in_the_middle_of_a_file_leaves_nothing_that_the_record_does_not_know(identity, workplace, monkeypatch):
    dng(workplace / "in/a.dng")

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr("restore.test.strip_of", stopped)
        with pytest.raises(KeyboardInterrupt):
            restore("--model", identity, "--input", "in")
    assert not list(Path("out").rglob("*.*"))
    assert restore("--model", identity, "--input", "in") == 0


def test_sigterm_leaves_a_record_of_what_was_restored(identity, workplace):
    for number in range(300):
        dng(workplace / f"in/{number:03}.dng")
    process = command(*("restore.test", "--model", identity, "--input", "in", "--output", "out", "--device", "cpu"))
    deadline = time.monotonic() + 120
    while not Path("out/results.json").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (143, "error: stopped at once; the files saved before are complete\n")
    found = results()
    assert found["complete"] is False
    assert sorted(found["pictures"]) == sorted(path.name for path in Path("out").glob("*.dng"))
    assert sorted(page_images()) == sorted(found["pictures"])


def test_a_source_that_vanishes_and_a_picture_that_a_format_cannot_hold_are_left_out(identity, workplace, monkeypatch):
    dng(workplace / "in/a.dng")
    dng(workplace / "in/b.dng")
    whole = RawFiles.restore

    def vanishing(self, file):
        restored = whole(self, file)
        if file.name == "a.dng":
            Path("in/a.dng").unlink()
        return restored

    monkeypatch.setattr(RawFiles, "restore", vanishing)
    assert restore("--model", identity, "--input", "in") == SOME_LEFT_OUT
    assert list(results()["pictures"]) == ["b.dng"]
    assert "in/a.dng: cannot be read again" in results()["left_out"][0]


def test_arguments_of_no_use_and_files_of_other_kinds_are_told(identity, workplace, capsys):
    rgb = identity_model(workplace / "rgb.pth")
    pictures(workplace / "pictures")
    Path("pictures/notes.txt").write_text("no picture")
    for words in (["--profile", "none.json"], ["--format", "dng"], ["--iso", 0]):
        with pytest.raises(UserError, match=f"^{words[0]}: "):
            restore("--model", rgb, "--input", "pictures", *words)
    dng(workplace / "in/a.dng")
    with pytest.raises(UserError, match=r"^--tile: 8 given with an overlap of 32"):
        restore("--model", identity, "--input", "in", "--tile", 8)
    capsys.readouterr()
    restore("--model", rgb, "--input", "pictures")
    assert "passed over, neither pictures nor raw files by their suffix: 1" in capsys.readouterr().out


def test_pictures_beside_raw_files_do_not_hinder_them(identity, workplace):
    dng(pictures(workplace / "in", count=1) / "a.dng")
    assert restore("--model", identity, "--input", "in") == SOME_LEFT_OUT, "its chain degrades nothing"
    assert list(results()["pictures"]) == ["a.dng"]


def images(size, orientation=1, scale=1, noise=(1e-4, 1e-6), sigma=0.01):
    """Raw images whose middle has a bright detail off the centre."""
    clean = np.full((4, scale * size[0], scale * size[1]), 0.1, np.float32)
    clean[:, scale * 10 : scale * 20, scale * 30 : scale * 60] = 0.8
    clean = torch.from_numpy(clean)
    degraded = clean[:, ::scale, ::scale] + sigma * torch.randn(4, *size)
    profile = NoiseProfile(torch.full((4,), noise[0]), torch.full((4,), noise[1]))
    return Images(degraded, clean, None, RGGB, RawMetadata(NEUTRAL, profile), profile, orientation)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_what_is_shown_is_upright_and_of_one_size(orientation):
    about = shown("a", images((100, 140), orientation), {})
    height, width = (280, 200) if orientation in (6, 8) else (200, 280)
    assert {picture.shape for picture in about.whole.values()} == {(height, width, 3)}
    assert list(about.crop) == ["degraded", "restored"]
    bright = about.whole["restored"].mean(-1) > 150
    place = np.rot90(np.arange(200 * 280).reshape(200, 280), {1: 0, 3: 2, 6: -1, 8: 1}[orientation])
    expected = np.isin(place, (np.arange(20, 40)[:, None] * 280 + np.arange(60, 120)).ravel())
    assert (bright == expected).mean() > 0.99
    assert strip_of(images((100, 140), orientation)).shape[0] == height


def test_what_was_removed_is_in_units_of_the_noise_and_the_crop_holds_the_detail():
    about = shown("a", images((600, 900), noise=(0, 1e-4)), {})
    assert {picture.shape for picture in about.crop.values()} == {(CROP, CROP, 3)}
    assert about.crop["restored"].max() > 150, "the only detail is in the upper left corner"
    for plane in about.removed.values():
        assert plane.std() == pytest.approx(1, abs=0.02)
    assert about.unit == "standard deviations of the noise"


def test_a_model_that_enlarges_shows_the_degraded_image_as_large_as_the_restored_one():
    about = shown("a", images((100, 140), scale=2), {})
    assert len({picture.shape for picture in (*about.crop.values(),)}) == 1
    assert about.removed == {}


def test_dark_images_are_shown_brighter_and_say_so():
    dark = images((100, 140), sigma=0)
    dark = dark._replace(degraded=dark.degraded / 100, restored=dark.restored / 100)
    about = shown("a", dark, {"ISO": "100"})
    assert about.facts["shown"].endswith("times brighter")
    assert about.whole["restored"].max() > 100


def test_pictures_of_a_3_channel_model_are_shown_as_they_are():
    picture = torch.rand(3, 40, 56)
    about = shown("a", Images(picture, picture, picture, SRGB, None, None), {})
    assert np.array_equal(about.whole["clean"], (picture.permute(1, 2, 0) * 255).round().numpy().astype(np.uint8))
    assert set(about.removed) == {"R", "G", "B"}
    assert about.unit == "its own standard deviations"
