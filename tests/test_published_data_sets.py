"""Data sets as downloaded: each layout is found, unified and paired as its authors meant it, and gaps are named."""

import numpy as np
import pytest
import torch
from data_set_files import RAW_CHAIN, assert_rggb, mosaic_of, opened, write_picture, write_raw, write_sidd

import transforms
from options.errors import UserError
from restore.data.batches import Samples
from restore.data.store import STORE


@pytest.mark.parametrize(
    ("phone", "pattern"), [("GP", "BGGR"), ("IP", "RGGB"), ("S6", "GBRG"), ("N6", "BGGR"), ("G4", "BGGR")]
)
def test_sidd_pairs_are_upright_and_rggb_for_every_phone(workplace, phone, pattern):
    write_sidd(workplace / "SIDD", f"0001_001_{phone}_00100_00060_3200_L", pattern)
    (photograph,) = opened({"class_name": "SIDD", "path": "SIDD"}).usable
    shape = {"RGGB": (30, 44), "GBRG": (28, 44), "BGGR": (28, 42)}[pattern]
    assert_rggb(photograph.image().degraded, 0.5, shape)
    assert_rggb(photograph.image().clean, 1, shape)
    assert not photograph.image().degraded.metadata.noise.known


def test_sidd_takes_the_scenes_asked_for_and_names_what_is_missing_or_damaged(workplace):
    for instance in ("0001_001", "0002_002", "0003_002"):
        write_sidd(workplace, f"{instance}_IP_00100_00060_3200_N", "RGGB")
    write_sidd(workplace, "0003_002_IP_00100_00060_3200_N", "RGGB", "011")
    write_sidd(workplace, "0004_002_X9_00100_00060_3200_N", "RGGB")
    alone = workplace / "Data/0002_002_IP_00100_00060_3200_N/0002_GT_RAW_010.MAT"
    alone.unlink()
    damaged = workplace / "Data/0003_002_IP_00100_00060_3200_N/0003_NOISY_RAW_011.MAT"
    damaged.write_bytes(damaged.read_bytes()[:500])
    found = opened({"class_name": "SIDD", "path": ".", "scenes": [2]})
    assert [photograph.source.name for photograph in found.usable] == ["0003_NOISY_RAW_010.MAT"]
    single, cut, unknown = sorted(found.left_out)
    assert single.endswith("0002_NOISY_RAW_010.MAT: has no 0002_GT_RAW_010.MAT beside it; copy that too or remove this")
    assert cut.endswith("0003_NOISY_RAW_011.MAT: is no MATLAB 7.3 file with an array x, or damaged; download it again")
    assert "0004_NOISY_RAW_010.MAT: is by the phone X9, whose mosaic is unknown; known: GP, IP" in unknown


def test_sid_pairs_are_equally_bright_and_of_the_part_asked_for(workplace):
    write_raw(workplace / "Sony/long/00001_00_10s.ARW", "RGGB", 1.0)
    write_raw(workplace / "Sony/short/00001_00_0.1s.ARW", "RGGB", 0.1, noise_profile=[(1e-5, 1e-8)])
    write_raw(workplace / "Sony/short/00001_01_0.02s.ARW", "RGGB", 0.1)  # 500 times shorter: 300 at most
    write_raw(workplace / "Sony/short/00002_00_0.1s.ARW")
    write_raw(workplace / "Sony/long/10003_00_30s.ARW")
    write_raw(workplace / "Sony/short/10003_00_0.1s.ARW")
    found = opened({"class_name": "SID", "path": "Sony", "part": "train"})
    first, second = (photograph.image() for photograph in found.usable)
    assert np.allclose(first.degraded.values, 100 * mosaic_of("RGGB", scale=0.1), atol=1e-2)
    assert np.allclose(second.degraded.values, 300 * mosaic_of("RGGB", scale=0.1), atol=3e-2)
    assert_rggb(first.clean)
    shot, read = first.degraded.metadata.noise
    assert shot.tolist() == pytest.approx([1e-3] * 4), "the noise grows with the signal"
    assert read.tolist() == pytest.approx([1e-4] * 4)
    assert found.left_out == ["Sony/short/00002_00_0.1s.ARW: long has no 00002_*; copy that too or remove this"]
    (test,) = opened({"class_name": "SID", "path": "Sony", "part": "test"}).usable
    assert test.source.name == "10003_00_0.1s.ARW"


def test_eld_pairs_the_dark_images_with_the_nearest_clean_one(workplace):
    scene = workplace / "ELD/SonyA7S2/scene-1"
    for number in range(1, 16):  # 16, the last clean one, is missing
        write_raw(scene / f"IMG_{number:04}.ARW", level=1 + number / 20 if number % 5 == 1 else 0.01)
    found = opened({"class_name": "ELD", "path": "ELD"})
    pairs = {photograph.source.name: photograph.image() for photograph in found.usable}
    assert sorted(pairs) == ["IMG_0004.ARW", "IMG_0005.ARW", "IMG_0009.ARW", "IMG_0010.ARW"]
    for number, gain, clean in ((4, 100, 6), (5, 200, 6), (9, 100, 11), (10, 200, 11)):
        pair = pairs[f"IMG_{number:04}.ARW"]
        assert np.allclose(pair.degraded.values, gain * mosaic_of("RGGB", scale=0.01), atol=0.02)
        assert_rggb(pair.clean, 1 + clean / 20)
    assert sorted(found.left_out) == [
        f"ELD/SonyA7S2/scene-1/IMG_{number}.ARW: has no clean IMG_0016 beside it; copy that too or remove this"
        for number in ("0014", "0015")
    ]


def test_rawir_patches_are_clean_rggb_and_others_are_named(workplace):
    (workplace / "rawir").mkdir()
    planes = np.stack([np.full((20, 24), 4095 * value) for value in (0.1, 0.2, 0.2, 0.4)], -1)
    np.save(workplace / "rawir/1_2.npy", np.rint(planes).astype(np.uint16))
    np.save(workplace / "rawir/2_2.npy", planes)
    (workplace / "rawir/3_2.npy").write_bytes(b"cut")
    found = opened({"class_name": "RAWIR", "path": "rawir"})
    (photograph,) = found.usable
    assert photograph.image().shape == (40, 48)
    assert np.allclose(photograph.image().values, mosaic_of("RGGB"), atol=2e-4)
    floats, cut = sorted(found.left_out)
    assert floats == "rawir/2_2.npy: holds float64 (20, 24, 4), and uint16 (h, w, 4) is wanted; remove it"
    assert cut == "rawir/3_2.npy: is no .npy file of numbers, or damaged; download it again"


@pytest.mark.parametrize(
    ("section", "looked_for"),
    [
        ({"class_name": "SIDD"}, "Data/0001_001_S6_00100_00060_3200_L/0001_NOISY_RAW_010.MAT"),
        ({"class_name": "SID", "part": "test"}, "short/10001_00_0.1s.ARW"),
        ({"class_name": "ELD"}, "SonyA7S2/scene-1/IMG_0004.ARW"),
        ({"class_name": "RAWIR"}, "12_3.npy"),
    ],
    ids=lambda value: value["class_name"] if isinstance(value, dict) else "",
)
def test_a_folder_of_another_layout_is_a_mistake_that_says_what_was_looked_for(workplace, section, looked_for):
    for folder in ("long", "short"):
        write_picture(workplace / "data" / folder / "x.png")
    with pytest.raises(UserError, match=r"^training_path\.1: data: holds no ") as caught:
        opened("data", {**section, "path": "data"})
    assert looked_for in str(caught.value)


def test_a_clean_image_with_many_degraded_ones_is_stored_once(workplace):
    for seconds in ("0.1", "0.04"):
        write_raw(workplace / f"Sony/short/00001_00_{seconds}s.ARW")
    write_raw(workplace / "Sony/long/00001_00_10s.ARW")
    assert len(opened({"class_name": "SID", "path": "Sony", "part": "train"}).usable) == 2
    assert len(list(STORE.glob("*.npy"))) == 3


def test_a_sample_of_a_pair_is_the_recorded_pair(workplace):
    write_sidd(workplace, "0001_001_IP_00100_00060_3200_L", "RGGB")
    found = opened({"class_name": "SIDD", "path": "."})
    samples = Samples(found.usable, transforms.build(RAW_CHAIN), 0, "training")
    sample, _ = samples[0, 0]
    assert torch.allclose(sample.degraded, sample.clean / 2), "nothing is added to it"
    assert sample.metadata.camera.white_balance.tolist() == pytest.approx([2.15, 1, 1.7])
