"""Transforms that degrade ordinary images, and pairs of unequal sizes: what a chain makes of them stays in register."""

from typing import Literal

import numpy as np
import pytest
import torch
from skimage import data

from options.errors import UserError
from transforms import RGGB, SRGB, Pipeline
from transforms.base import Degradation
from transforms.downsample import Downsample
from transforms.geometry import CenterCrop, RandomCrop, RandomFlip, RandomRotate
from transforms.images import Pair
from transforms.pipeline import check_order
from transforms.rgb_to_raw import RgbToRawTransform
from transforms.sample import ToTensor2
from transforms.sensor.cameras import draw_camera
from transforms.sensor.metadata import NoiseProfile, RawMetadata
from transforms.sensor.mosaic import Mosaic


class Halve(Degradation):
    """Means of 2 x 2 pixels."""

    class_name: Literal["Halve"] = "Halve"

    @property
    def scale(self):
        return 2

    def degrade(self, image, rng):
        height, width = image.shape[0] // 2, image.shape[1] // 2
        return image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3).mean((1, 3))


class Dim(Degradation):
    class_name: Literal["Dim"] = "Dim"

    def degrade(self, image, rng):
        return image * np.float32(0.5)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def halved(planes):
    return torch.nn.functional.avg_pool2d(planes, 2)


MOVES = [RandomCrop(h=32, w=32), RandomFlip(), RandomRotate()]


@pytest.mark.parametrize("moves", [MOVES, MOVES[:1], [CenterCrop(h=40, w=32)]])
@pytest.mark.parametrize("last", [True, False], ids=["moved before", "moved after"])
def test_a_degraded_image_of_another_size_shows_the_same_part_of_the_scene(moves, last):
    chain = Pipeline((*moves, Halve(), ToTensor2()) if last else (Halve(), *moves, ToTensor2()))
    assert (chain.scale, chain.layout, chain.degrades) == (2, SRGB, True)
    for seed in range(10):
        sample = chain(data.astronaut()[:100, :122], generator(seed))
        assert sample.degraded.shape[-1] * 2 == sample.clean.shape[-1]
        torch.testing.assert_close(sample.degraded, halved(sample.clean), rtol=0, atol=1e-6)


def test_degradations_follow_one_another_and_the_clean_image_stays():
    sample = Pipeline((Dim(), Halve(), Dim(), ToTensor2()))(data.cat()[:64, :64], generator())
    torch.testing.assert_close(sample.degraded, halved(sample.clean) / 4, rtol=0, atol=1e-6)
    assert torch.equal(sample.clean, torch.from_numpy(data.cat()[:64, :64] / np.float32(255)).permute(2, 0, 1))


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_an_image_and_what_is_stored_of_it_give_the_very_same_degraded_sample(depth):
    image = np.random.default_rng(0).integers(0, np.iinfo(depth).max, (65, 84, 3), depth)
    chain = Pipeline((Downsample(downsampling_factor=2, sigma=1), Dim(), ToTensor2()))
    one, other = chain(image, generator()), chain.tail(chain.prepare(image), generator())
    assert torch.equal(one.degraded, other.degraded)
    assert torch.equal(one.clean, other.clean)


def test_what_is_degraded_becomes_raw_of_one_camera_and_noise_is_added_to_the_degraded_image_alone():
    noiseless = RgbToRawTransform(noise_model={"class_name": "dng", "shot": 0, "read": 0})
    image = np.full((64, 64, 3), 90, np.uint8)
    sample = Pipeline((Halve(), noiseless, ToTensor2()))(image, generator())
    assert (sample.layout, sample.degraded.shape, sample.clean.shape) == (RGGB, (4, 16, 16), (4, 32, 32))
    torch.testing.assert_close(sample.degraded, halved(sample.clean), rtol=0, atol=1e-5)
    noisy = Pipeline((Halve(), RgbToRawTransform(), ToTensor2()))(image, generator())
    assert torch.equal(noisy.clean, sample.clean)
    assert 0.01 < (noisy.degraded - halved(noisy.clean)).std() < 0.06


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_recorded_pair_is_cut_mirrored_and_turned_in_register(scale):
    small = np.arange(24 * 30 * 3, dtype=np.uint16).reshape(24, 30, 3)
    large = small.repeat(scale, 0).repeat(scale, 1)
    side = 6 * scale
    for moves in ([RandomCrop(h=side, w=side)], [CenterCrop(h=side, w=side)], [RandomFlip()], [RandomRotate()]):
        for seed in range(12):
            sample = Pipeline((*moves, ToTensor2()))(Pair(small, large, recorded=True), generator(seed))
            enlarged = sample.degraded.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
            assert torch.equal(enlarged, sample.clean)


def raw(values):
    camera = draw_camera("fixed", generator())
    return Mosaic(values.astype(np.float32), RawMetadata(camera, NoiseProfile.unknown()))


def test_a_raw_pair_of_unequal_sizes_is_cut_in_register_and_not_turned():
    small = np.arange(24 * 28).reshape(24, 28)
    large = small.reshape(12, 2, 14, 2).repeat(2, 0).repeat(2, 2).reshape(48, 56)  # cells repeated
    pair = Pair(raw(small / 1000), raw(large / 1000), recorded=True)
    for seed in range(12):
        sample = Pipeline((RandomCrop(h=16, w=24), RgbToRawTransform(), ToTensor2()))(pair, generator(seed))
        assert sample.degraded.shape == (4, 4, 6)
        assert torch.equal(sample.degraded.repeat_interleave(2, -1).repeat_interleave(2, -2), sample.clean)
    with pytest.raises(UserError, match="a raw pair of unequal sizes given, whose mosaics RandomFlip would move"):
        Pipeline((RandomFlip(), RgbToRawTransform(), ToTensor2()))(pair, generator())


def test_what_a_degradation_cannot_take_is_refused():
    pair = Pair(data.cat(), data.cat(), recorded=True)
    with pytest.raises(
        UserError, match=r"^image: a pair given, and Dim would degrade what is degraded already; remove"
    ):
        Pipeline((Dim(), ToTensor2()))(pair, generator())
    with pytest.raises(UserError, match=r"^image: a raw one given, and Dim takes sRGB alone; remove it"):
        Pipeline((Dim(), RgbToRawTransform(), ToTensor2()))(raw(np.zeros((8, 8))), generator())


def test_a_crop_that_the_scale_does_not_divide_is_a_mistake():
    with pytest.raises(UserError, match=r"x\.0: 33 x 32 given .*multiples of 2; make both even"):
        check_order([RandomCrop(h=33, w=32), Halve(), ToTensor2()], "x")
    with pytest.raises(UserError, match=r"x\.0: 34 x 32 given .*multiples of 4; make both multiples of 4"):
        check_order([RandomCrop(h=34, w=32), Halve(), RgbToRawTransform(), ToTensor2()], "x")


def test_what_takes_no_degraded_image_stands_before_the_degradations():
    late = [Dim(), Halve(), Downsample(downsampling_factor=2, sigma=1), ToTensor2()]
    with pytest.raises(UserError, match=r"^x\.2: Downsample would average the noise away; move it before Halve, x\.1$"):
        check_order(late, "x")
    check_order([late[2], *late[:2], late[3]], "x")
