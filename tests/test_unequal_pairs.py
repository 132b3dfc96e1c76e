"""Pairs for super-resolution as data sets ship them: found by their names, cut to size, and kept aligned."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from data_set_files import TO_TENSOR, assert_rggb, mosaic_of, write_picture, write_raw

import transforms
from options.base import parse
from options.errors import UserError
from restore.data.sources import PathOptions
from restore.data.store import open_photographs
from transforms.geometry import RandomCrop, RandomFlip, RandomRotate
from transforms.images import Pair
from transforms.mixing import CutBlur
from transforms.sensor.cameras import NEUTRAL
from transforms.sensor.metadata import NoiseProfile, RawMetadata
from transforms.sensor.mosaic import Mosaic

TO_RAW = {"class_name": "RgbToRawTransform"}
SET5 = Path(__file__).parents[2] / "shared" / "data" / "photos" / "set5"
needs_set5 = pytest.mark.skipif(not SET5.exists(), reason="Set5 is not there (shared/data/photos/set5)")


def opened(*entries, scale=2, chain=(TO_TENSOR,)):
    sections = parse(list[PathOptions], list(entries), "training_path")
    return open_photographs(sections, transforms.build(list(chain)), "training_path", scale=scale)


def write_pair(low, high, size=(20, 24), scale=2, more=(0, 0)):
    write_picture(low, 50, size)
    write_picture(high, 100, tuple(scale * side + extra for side, extra in zip(size, more, strict=True)))


def names(found):
    return [photograph.source.as_posix() for photograph in found.usable]


def numbers(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def raw(values):
    return Mosaic(np.asarray(values, np.float32), RawMetadata(NEUTRAL, NoiseProfile.unknown()))


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("0001x2", "0001"),
        ("0001X2", "0001"),
        ("0001_x2", "0001"),
        ("0001_LR", "0001_HR"),
        ("0001-lr", "0001-hr"),
        ("0001_LR2", "0001_HR"),
        ("0001_LRx2", "0001"),
        ("0001", "0001"),
        ("0001x2", "0001x2"),
    ],
)
def test_partners_may_differ_in_the_mark_of_the_size_at_the_end_of_their_names(workplace, low, high):
    write_pair(workplace / f"low/part/{low}.png", workplace / f"high/part/{high}.jpg")
    found = opened({"degraded": "low", "clean": "high"})
    (photograph,) = found.usable
    assert (photograph.image().degraded.shape, photograph.image().clean.shape) == ((20, 24, 3), (40, 48, 3))
    assert (found.left_out, found.cut) == ([], [])


def test_equal_names_come_before_marks_and_of_two_with_one_name_the_second_is_named(workplace):
    for low, high in (("box2", "box2"), ("bo", "bo"), ("1x2", "1")):
        write_pair(workplace / f"low/{low}.png", workplace / f"high/{high}.png")
    write_picture(workplace / "low/1_LR.png", size=(20, 24))
    write_picture(workplace / "low/2x2.png")
    found = opened({"degraded": "low", "clean": "high"})
    assert names(found) == ["low/1_LR.png", "low/bo.png", "low/box2.png"]
    taken, lone = sorted(found.left_out)
    assert "is but for the size; keep one of them" in taken
    assert lone == "low/2x2.png: has no partner, a picture high/2.*; add that or remove this"


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_clean_image_larger_by_less_than_the_scale_is_cut_and_said_once(workplace, scale):
    for number in range(3):
        picture = numbers(20 * scale + scale - 1, 24 * scale + number % 2)
        write_picture(workplace / f"low/{number}x{scale}.png", size=(20, 24))
        (workplace / "high").mkdir(exist_ok=True)
        cv2.imwrite(f"high/{number}.png", picture)
    found = opened({"degraded": "low", "clean": "high"}, scale=scale)
    for photograph in found.usable:
        whole = cv2.imread(f"high/{photograph.source.stem[0]}.png")[..., ::-1]
        np.testing.assert_array_equal(photograph.image().clean, whole[: 20 * scale, : 24 * scale])
    (line,) = found.cut
    assert line == (
        f"training_path.0: 3 clean images were less than {scale} px larger than {scale} times the degraded ones, "
        f"and were cut at the right and bottom"
    )


@pytest.mark.parametrize("more", [(2, 0), (0, 3), (-1, 0)])
def test_a_clean_image_of_another_size_is_named_with_both_sizes(workplace, more):
    write_pair(workplace / "low/1.png", workplace / "high/1.png")
    write_pair(workplace / "low/2.png", workplace / "high/2.png", more=more)
    found = opened({"degraded": "low", "clean": "high"})
    assert names(found) == ["low/1.png"]
    (line,) = found.left_out
    assert line.startswith(f"low/2.png: image: a pair of (20, 24, 3) and ({40 + more[0]}, {48 + more[1]}, 3) given; ")


def test_pairs_of_another_scale_than_the_generators_are_one_line(workplace):
    for number in range(4):
        write_pair(workplace / f"low/{number}.png", workplace / f"high/{number}.png", (20, 20 + number))
    with pytest.raises(UserError) as caught:
        opened({"degraded": "low", "clean": "high"}, scale=4)
    _, line = str(caught.value).splitlines()
    assert line.startswith("4 files (low/0.png, low/1.png, low/2.png, ...): its clean partner is 2 times as large, ")
    assert "and generator.scale is 4; set generator.scale to 2" in line


@pytest.mark.parametrize(("scale", "more"), [(2, 0), (3, 2), (4, 2)])
def test_a_raw_pair_is_cut_so_that_the_mosaic_stays_a_mosaic(workplace, scale, more):
    np.savez(npz(workplace / "low/1x4.npz"), raw=packed(20, 24), max_val=10000)
    np.savez(npz(workplace / "high/1.npz"), raw=packed(20 * scale + more, 24 * scale + more), max_val=10000)
    found = opened({"degraded": "low", "clean": "high"}, scale=scale, chain=[TO_RAW, TO_TENSOR])
    (photograph,) = found.usable
    assert_rggb(photograph.image().degraded, 1, (20, 24))
    assert_rggb(photograph.image().clean, 1, (20 * scale, 24 * scale))
    assert len(found.cut) == bool(more)


def test_a_raw_pair_that_does_not_begin_with_red_cannot_match_and_is_left_out(workplace):
    for pattern in ("RGGB", "GRBG", "GBRG", "BGGR"):
        write_raw(workplace / f"low/{pattern}.dng", pattern)
        np.savez(npz(workplace / f"high/{pattern}.npz"), raw=packed(80, 96), max_val=10000)
    found = opened({"degraded": "low", "clean": "high"}, chain=[TO_RAW, TO_TENSOR])
    assert names(found) == ["low/RGGB.dng"]
    assert len(found.left_out) == 3


def npz(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def packed(height, width):
    """(height / 2, width / 2, 4) uint16 of mosaic_of, white at 10000."""
    mosaic = np.rint(mosaic_of("RGGB", height, width) * 10000).astype(np.uint16)
    return np.stack([mosaic[row::2, column::2] for row in (0, 1) for column in (0, 1)], -1)


def test_the_raw_images_of_ntire_are_clean_images_and_damaged_ones_are_named(workplace):
    np.savez_compressed(npz(workplace / "raw/1.npz"), raw=packed(20, 24), max_val=10000)
    np.savez(workplace / "raw/2.npz", raw=packed(20, 24))
    np.savez(workplace / "raw/3.npz", raw=packed(20, 24).astype(np.float32), max_val=10000)
    np.savez(workplace / "raw/4.npz", raw=packed(20, 24), max_val=0)
    np.savez(workplace / "raw/5.npz", raw=np.array([{}], object), max_val=1)
    (workplace / "raw/6.npz").write_bytes((workplace / "raw/1.npz").read_bytes()[:300])
    (workplace / "raw/7.npz").write_bytes(b"")
    content = bytearray((workplace / "raw/1.npz").read_bytes())
    content[90:110] = bytes(20)
    (workplace / "raw/8.npz").write_bytes(content)
    found = opened("raw", scale=1, chain=[TO_RAW, TO_TENSOR])
    (photograph,) = found.usable
    assert_rggb(photograph.image(), 1, (20, 24))
    unreadable = "is no .npz file with raw and max_val, or damaged; copy it again or remove it"
    assert sorted(found.left_out) == [
        f"raw/2.npz: {unreadable}",
        "raw/3.npz: holds float32 (10, 12, 4), and uint16 (h, w, 4) is wanted; remove it",
        "raw/4.npz: has an impossible white level (max_val 0 DN); mend or remove it",
        *(f"raw/{number}.npz: {unreadable}" for number in (5, 6, 7, 8)),
    ]


def test_div2k_flickr2k_and_lsdir_serve_as_they_are_downloaded(workplace):
    write_pair(workplace / "DIV2K_train_LR_bicubic/X2/0001x2.png", workplace / "DIV2K_train_HR/0001.png")
    write_pair(
        workplace / "Flickr2K/Flickr2K_LR_bicubic/X2/000001x2.png", workplace / "Flickr2K/Flickr2K_HR/000001.png"
    )
    write_pair(workplace / "LSDIR/X2/0001000/0000001x2.png", workplace / "LSDIR/HR/0001000/0000001.png")
    pairs = opened(
        {"degraded": "DIV2K_train_LR_bicubic/X2", "clean": "DIV2K_train_HR"},
        {"degraded": "Flickr2K/Flickr2K_LR_bicubic/X2", "clean": "Flickr2K/Flickr2K_HR"},
        {"degraded": "LSDIR/X2", "clean": "LSDIR/HR"},
    )
    assert len(pairs.usable) == 3
    assert pairs.left_out == []
    chain = [{"class_name": "BicubicDownsample", "scale": 2}, TO_TENSOR]
    clean = opened("DIV2K_train_HR", "Flickr2K/Flickr2K_HR", "LSDIR/HR", chain=chain)
    assert names(clean) == [
        "DIV2K_train_HR/0001.png",
        "Flickr2K/Flickr2K_HR/000001.png",
        "LSDIR/HR/0001000/0000001.png",
    ]


def test_selfexsrs_pairs_lie_beside_each_other_and_the_scale_picks_a_folder(workplace):
    for scale in (2, 4):
        stem = f"Set5/image_SRF_{scale}/img_001_SRF_{scale}"
        write_pair(workplace / f"{stem}_LR.png", workplace / f"{stem}_HR.png", scale=scale)
    write_picture(workplace / "Set5/image_SRF_4/img_002_SRF_4_LR.png")
    (photograph,) = opened({"class_name": "SelfExSR", "path": "Set5", "scale": 2}).usable
    assert photograph.source.name == "img_001_SRF_2_LR.png"
    found = opened({"class_name": "SelfExSR", "path": "Set5/image_SRF_4"}, scale=4)
    assert found.usable[0].image().scale == 4
    (alone,) = found.left_out
    assert alone.endswith("has no img_002_SRF_4_HR.png beside it; copy that too or remove this")
    with pytest.raises(UserError, match=r"\n.*4 times as large, and generator.scale is 2; set generator.scale to 4"):
        opened({"class_name": "SelfExSR", "path": "Set5", "scale": 4})
    with pytest.raises(UserError, match=r"Set5: holds no SelfExSR pair; looked for img_001_SRF_3_LR\.png"):
        opened({"class_name": "SelfExSR", "path": "Set5", "scale": 3})


@needs_set5
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_set5_is_five_pairs(workplace, scale):
    found = opened({"class_name": "SelfExSR", "path": str(SET5), "scale": scale}, scale=scale)
    assert [photograph.image().scale for photograph in found.usable] == [scale] * 5
    assert found.left_out == []


def sums(image, scale):
    """The sum of each scale x scale pixels of an image (H, W, C): a degradation that no flip or turn changes."""
    height, width, channels = image.shape
    return image.reshape(height // scale, scale, width // scale, scale, channels).sum((1, 3)).astype(np.uint16)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_pair_stays_aligned_through_crops_flips_and_turns(scale):
    clean, shapes = numbers(16 * scale, 14 * scale), set()
    for seed in range(200):
        rng, pair = torch.Generator().manual_seed(seed), Pair(sums(clean, scale), clean, recorded=True)
        for step in (RandomFlip(), RandomRotate(), RandomCrop(h=6 * scale, w=8 * scale), RandomFlip(), RandomRotate()):
            pair = step(pair, rng)
        np.testing.assert_array_equal(pair.degraded, sums(np.ascontiguousarray(pair.clean), scale))
        shapes.add(pair.clean.shape[:2])
    assert shapes == {(6 * scale, 8 * scale), (8 * scale, 6 * scale)}


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_raw_pair_stays_aligned_through_crops(scale):
    planes = numbers(16 * scale, 14 * scale, 4)

    def mosaic(cells):
        result = np.empty((2 * cells.shape[0], 2 * cells.shape[1]))
        for number, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
            result[row::2, column::2] = cells[..., number]
        return raw(result)

    pair = Pair(mosaic(sums(planes, scale)), mosaic(planes), recorded=True)
    for seed in range(200):
        crop = RandomCrop(h=6 * scale, w=8 * scale)(pair, torch.Generator().manual_seed(seed))
        clean = crop.clean.packed().permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(crop.degraded.packed().permute(1, 2, 0), sums(clean, scale))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_cutblur_puts_what_the_clean_image_shows_in_its_place_in_a_recorded_pair(scale):
    ramp = np.linspace(0, 65535, 40 * scale).repeat(40 * scale).reshape(40 * scale, -1)
    clean = ramp.astype(np.uint16)[..., None].repeat(3, 2)
    small = clean.reshape(40, scale, 40, scale, 3).mean((1, 3)).astype(np.uint16)
    pair = CutBlur()(Pair(small, clean, recorded=True), torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(pair.clean, clean)
    np.testing.assert_allclose(pair.degraded[4:-4], small[4:-4] / 65535, atol=1e-4)
