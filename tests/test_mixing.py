"""Mixup, CutMix and CutBlur: what is mixed, where, and that a sample stays a function of its position."""

import cv2
import numpy as np
import pytest
import torch

import transforms
from options.errors import UserError
from restore.data.batches import Batches, Samples, Stage
from restore.data.sources import Folder, PairedFolders
from restore.data.store import open_photographs
from restore.training.consistency import contradictions
from transforms.degradations.resampling import imresize
from transforms.images import Pair

CPU = torch.device("cpu")
TO_TENSOR = {"class_name": "ToTensor2"}
TO_RAW = {"class_name": "RgbToRawTransform"}
CROP = {"class_name": "RandomCrop", "h": 32, "w": 32}
MIXUP, CUTMIX, CUTBLUR = ({"class_name": name} for name in ("Mixup", "CutMix", "CutBlur"))
BICUBIC = {"class_name": "BicubicDownsample", "scale": 2}
JPEG = {"class_name": "JpegCompression", "probability": 1.0, "quality": 10}


def generator(seed):
    return torch.Generator().manual_seed(seed)


def grey(value, side=32, kind=np.uint8):
    return np.full((side, side, 3), value, kind)


def noise(seed, height=48, width=40):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def partners(image, seed=100):
    return lambda number: (image, generator(seed + number))


def write(folder, count, seed=0, size=(48, 40)):
    folder.mkdir(exist_ok=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:02}.png"), noise(seed + number, *size))
    return str(folder)


def samples_of(chain, *sources):
    pipeline = transforms.build(chain)
    return Samples(open_photographs(sources, pipeline, "training_path").usable, pipeline, 0, "training")


def test_mixup_is_a_weighted_mean_and_the_weights_are_those_of_the_beta_distribution():
    chain = transforms.build([CROP, MIXUP, TO_TENSOR])
    weights = []
    for seed in range(400):
        clean = chain(grey(255), generator(seed), partners(grey(0))).clean
        assert clean.max() - clean.min() == 0
        weights.append(float(clean[0, 0, 0]))
    assert np.mean(weights) == pytest.approx(0.5, abs=0.04)
    assert np.var(weights) == pytest.approx(1 / (4 * (2 * 1.2 + 1)), abs=0.015)


def test_cutmix_replaces_one_rectangle_by_the_same_one_of_the_partner():
    chain = transforms.build([{**CROP, "class_name": "CenterCrop"}, CUTMIX, TO_TENSOR])
    image, other = noise(1, 32, 32), noise(2, 32, 32)
    corners = set()
    for seed in range(20):
        clean = (chain(image, generator(seed), partners(other)).clean * 255).round().byte().permute(1, 2, 0).numpy()
        taken = (clean == other).all(2) & (clean != image).any(2)
        rows, columns = np.flatnonzero(taken.any(1)), np.flatnonzero(taken.any(0))
        inside = np.ix_(range(rows[0], rows[-1] + 1), range(columns[0], columns[-1] + 1))
        assert np.array_equal(clean[inside], other[inside])
        assert 20 <= len(rows) <= 23
        outside = np.ones((32, 32), bool)
        outside[inside] = False
        assert np.array_equal(clean[outside], image[outside])
        corners.add((rows[0], columns[0]))
    assert len(corners) > 8


@pytest.mark.parametrize("mixing", [MIXUP, CUTMIX])
def test_the_probability_is_the_share_of_mixed_samples_and_others_are_untouched(mixing):
    chain = transforms.build([CROP, {**mixing, "probability": 0.3}, TO_TENSOR])
    mixed = [bool((chain(grey(255), generator(n), partners(grey(0))).clean != 1).any()) for n in range(300)]
    assert np.mean(mixed) == pytest.approx(0.3, abs=0.08)


def test_the_mixture_is_made_before_the_noise_so_that_the_noise_is_that_of_any_sample():
    gaussian = {**TO_RAW, "noise_model": {"class_name": "gaussian", "sigma": 0.05}}
    chain = transforms.build([CROP, MIXUP, gaussian, TO_TENSOR])
    difference = [
        sample.degraded - sample.clean
        for seed in range(20)
        for sample in [chain(grey(200), generator(seed), partners(grey(100)))]
    ]
    assert float(torch.stack(difference).std()) == pytest.approx(0.05, rel=0.03)


def test_the_partner_goes_through_the_transforms_before_the_mixing_with_draws_of_its_own():
    chain = transforms.build([CROP, {**CUTMIX, "side": 1.0}, TO_TENSOR])
    partner = noise(3)
    seen = chain(noise(1), generator(0), partners(partner)).clean
    again = chain(noise(2), generator(1), partners(partner)).clean
    plain = transforms.build([CROP, TO_TENSOR])(partner, partners(partner)(1)[1]).clean
    rows = slice(2, -2)  # the rectangle may lack a pixel, its share being drawn
    assert torch.equal(seen[:, rows, rows], plain[:, rows, rows])
    assert torch.equal(again[:, rows, rows], plain[:, rows, rows])


@pytest.mark.parametrize("kinds", [(np.uint8, np.uint16), (np.uint16, np.uint8)])
@pytest.mark.parametrize("mixing", [MIXUP, CUTMIX])
def test_photographs_of_8_and_16_bits_are_mixed_by_their_brightness(mixing, kinds):
    chain = transforms.build([CROP, mixing, TO_TENSOR])
    image, other = (grey(np.iinfo(kind).max // 5, kind=kind) for kind in kinds)
    assert chain(image, generator(0), partners(other)).clean.numpy() == pytest.approx(0.2, abs=1e-4)


@pytest.mark.parametrize("mixing", [MIXUP, CUTMIX])
def test_both_images_of_a_recorded_pair_are_mixed_alike(mixing):
    clean, other = noise(1, 64, 64), noise(2, 64, 64)
    pairs = [Pair(image[::2, ::2].copy(), image, recorded=True) for image in (clean, other)]
    chain = transforms.build([{**CROP, "h": 64, "w": 64}, mixing, TO_TENSOR])
    for seed in range(5):
        sample = chain(pairs[0], generator(seed), partners(pairs[1]))
        torch.testing.assert_close(sample.degraded, sample.clean[:, ::2, ::2], rtol=0, atol=1e-4)
        assert not torch.equal(sample.clean, transforms.build([TO_TENSOR])(clean, generator(0)).clean)


def test_a_chain_that_mixes_says_what_it_lacks_when_it_is_given_one_image():
    with pytest.raises(UserError, match="image: one given, and Mixup mixes two; give partners too"):
        transforms.build([CROP, MIXUP, TO_TENSOR])(noise(0), generator(0))


@pytest.mark.parametrize("mixing", [MIXUP, CUTMIX])
def test_mixed_samples_depend_on_seed_epoch_and_index_alone(workplace, mixing):
    samples = samples_of([CROP, mixing, TO_RAW, TO_TENSOR], Folder(path=write(workplace / "photos", 6)))
    first = samples[3, 2][0]
    samples[0, 1]
    assert torch.equal(samples[3, 2][0].degraded, first.degraded)
    assert not torch.equal(samples[4, 2][0].degraded, first.degraded)
    alone, helped = (list(Batches([Stage(0, samples, 3)], workers, CPU).after(0, 3)) for workers in (0, 1))
    assert all(torch.equal(one.degraded, other.degraded) for one, other in zip(alone, helped, strict=True))


def test_every_other_photograph_is_the_partner_now_and_then_and_never_the_photograph_itself(workplace):
    samples = samples_of([CROP, CUTMIX, TO_TENSOR], Folder(path=write(workplace / "photos", 4)))
    for index, photograph in enumerate(samples.photographs):
        drawn = [samples._partner(photograph, epoch, index, 1)[0] for epoch in range(60)]
        found = {number for number, other in enumerate(samples.photographs) for image in drawn
                 if np.array_equal(image, other.image())}  # fmt: skip
        assert found == set(range(4)) - {index}


def test_a_pair_is_mixed_with_a_pair_and_a_single_photograph_with_itself(workplace):
    pairs = PairedFolders(degraded=write(workplace / "degraded", 2, 10), clean=write(workplace / "clean", 2, 20))
    samples = samples_of([CROP, MIXUP, TO_TENSOR], Folder(path=write(workplace / "photos", 1)), pairs)
    assert len(samples) == 3
    for epoch in range(4):
        for index in range(3):
            sample = samples[epoch, index][0]
            assert torch.equal(sample.degraded, sample.clean) == (len(samples.photographs[index].stored) == 1)


@pytest.mark.parametrize(
    ("chain", "line"),
    [
        ([MIXUP, CROP, TO_TENSOR], r"chain\.0: Mixup takes two images of one size; put it behind a RandomCrop"),
        ([CROP, JPEG, CUTMIX, TO_TENSOR], r"chain\.2: CutMix would mix the noise .*before JpegCompression, chain\.1"),
        ([CROP, TO_RAW, MIXUP, TO_TENSOR], r"chain\.2: Mixup works on the RGB image; move it before"),
        ([CROP, TO_RAW, CUTBLUR, TO_TENSOR], r"chain\.2: CutBlur works on the RGB image; move it before"),
        ([CROP, BICUBIC, CUTBLUR, TO_TENSOR], r"chain\.2: CutBlur exchanges parts .*other than BicubicDownsample"),
        ([CROP, CUTBLUR, JPEG, TO_TENSOR], r"chain\.1: CutBlur exchanges parts .*put it behind a degradation"),
    ],
)
def test_a_mixing_transform_in_the_wrong_place_is_refused_with_the_remedy(chain, line):
    with pytest.raises(UserError, match=line):
        transforms.build(chain, "chain")


def test_photographs_without_a_degraded_image_beside_them_are_refused_by_cutblur():
    chain = transforms.build([CROP, CUTBLUR, TO_TENSOR])
    chain(Pair(noise(0), noise(1), recorded=True), generator(0))
    with pytest.raises(UserError, match="a clean one given, and CutBlur needs a degraded one beside it"):
        chain(noise(0), generator(0))


@pytest.mark.parametrize("step", [MIXUP, CUTMIX, CUTBLUR])
def test_mixing_transforms_are_mistakes_in_transforms_test(step):
    chain = transforms.build([CROP, *([JPEG, step] if step is CUTBLUR else [step, JPEG]), TO_TENSOR]).transforms
    lines = contradictions({"transforms_test": list(chain)})
    assert any(f"{step['class_name']} given, which is for training alone" in line for line in lines)
    assert not any("training alone" in line for line in contradictions({"transforms_train": list(chain)}))


@pytest.mark.parametrize("scale", [1, 2])
def test_cutblur_exchanges_a_rectangle_one_way_or_the_other_and_keeps_the_clean_image(scale):
    clean = noise(1, 32 * scale, 32 * scale)
    degraded = noise(2, 32, 32)
    small = clean / np.float32(255) if scale == 1 else imresize(clean / np.float32(255), 32, 32).clip(0, 1)
    small = torch.from_numpy(small.astype(np.float32)).permute(2, 0, 1)
    chain = transforms.build([CUTBLUR, TO_TENSOR])
    shares = []
    for seed in range(20):
        sample = chain(Pair(degraded, clean, recorded=True), generator(seed))
        assert torch.equal((sample.clean * 255).round().byte().permute(1, 2, 0), torch.from_numpy(clean))
        sharp = (sample.degraded == small).all(0)
        kept = (sample.degraded == torch.from_numpy(degraded).permute(2, 0, 1) / 255).all(0)
        assert (sharp | kept).all()
        shares.append(float(sharp.float().mean()))
    rectangle, rest = 0.7**2, 1 - 0.7**2
    assert all(share == pytest.approx(rectangle if share < 0.5 else rest, abs=0.06) for share in shares)
    assert min(shares) < 0.5 < max(shares)
