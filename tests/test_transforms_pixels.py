"""Crops, flips, rotations and downsampling: which pixels come out."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import transforms
from transforms.downsample import Downsample
from transforms.geometry import CenterCrop, RandomCrop, RandomFlip, RandomResizedCrop, RandomRotate
from transforms.texture import Defocus, Grain

WHITE = {np.uint8: 255, np.uint16: 65535, np.float32: 1}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(height, width, kind=np.uint8):
    values = np.random.default_rng(3).random((height, width, 3), dtype=np.float32)
    return (values * WHITE[kind]).astype(kind)


def downsampled(image, factor, sigma):
    return Downsample(downsampling_factor=factor, sigma=sigma)(image, generator())


@pytest.mark.parametrize("kind", WHITE)
@pytest.mark.parametrize(("factor", "sigma"), [(1, 0.6), (2, 1.0), (3, 2.3), (8, 4.0)])
def test_downsampling_is_a_gaussian_blur_and_then_every_nth_pixel(kind, factor, sigma):
    image = noise(75, 94, kind)
    result = np.asarray(downsampled(image, factor, sigma))
    radius = int(np.ceil(3 * sigma))
    exact = gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode="mirror", radius=(radius, radius, 0))
    rows, columns = 75 // factor, 94 // factor
    assert result.shape == (rows, columns, 3)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, exact[::factor, ::factor][:rows, :columns] / WHITE[kind], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", WHITE)
@pytest.mark.parametrize(("factor", "sigma"), [(1, 2.0), (2, 1.0), (3, 0.4), (5, 9.0)])
def test_a_window_of_the_downsampled_image_has_the_very_bits_of_the_whole(kind, factor, sigma):
    lazy = downsampled(noise(211, 307, kind), factor, sigma)
    whole, rng = np.asarray(lazy), np.random.default_rng(4)
    height, width, _ = lazy.shape
    windows = [(0, 0, 7, 9), (height - 5, width - 11, height, width), (0, 0, height, 3), (height - 1, 0, height, width)]
    for _ in range(60):
        top, left = rng.integers(height), rng.integers(width)
        windows.append((top, left, rng.integers(top, height) + 1, rng.integers(left, width) + 1))
    for top, left, bottom, right in windows:
        np.testing.assert_array_equal(lazy[top:bottom, left:right], whole[top:bottom, left:right])


def test_an_image_smaller_than_the_blur_is_blurred_as_its_mirror_images():
    image = noise(5, 4)
    exact = gaussian_filter(image.astype(np.float64), (3, 3, 0), mode="mirror", radius=(9, 9, 0)) / 255
    np.testing.assert_allclose(np.asarray(downsampled(image, 1, 3.0)), exact, rtol=0, atol=1e-6)


def test_only_what_a_crop_needs_is_blurred():
    vast = np.broadcast_to(np.uint8(51), (400_000, 400_000, 3))  # blurred as a whole it would be two terabytes
    crop = RandomCrop(h=32, w=48)(downsampled(vast, 2, 1.0), generator())
    np.testing.assert_allclose(crop, np.full((32, 48, 3), 0.2), rtol=0, atol=1e-6)


def test_without_blur_the_stored_values_stay():
    image = noise(21, 16)
    np.testing.assert_array_equal(downsampled(image, 4, 0), image[:20:4, :16:4])


def test_every_factor_takes_every_nth_pixel():
    for factor in range(1, 65):
        ramp = np.broadcast_to(np.arange(factor * 12, dtype=np.uint16)[None, :, None], (factor, factor * 12, 3))
        result = np.asarray(downsampled(ramp, factor, 0.1))  # a blur so narrow that it leaves the values alone
        np.testing.assert_allclose(result[0, :, 0] * 65535, np.arange(12) * factor, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("before", [np.flipud, np.fliplr, np.rot90, lambda image: image[::2, ::2]])
def test_an_image_that_is_a_view_is_downsampled_alike(before):
    view = before(noise(60, 64))
    np.testing.assert_array_equal(downsampled(view, 2, 1.0)[3:20, 2:9], downsampled(view.copy(), 2, 1.0)[3:20, 2:9])


def test_a_random_crop_reaches_every_position():
    image = np.dstack([*np.mgrid[:4, :6], np.zeros((4, 6))]).astype(np.uint8)
    rng = generator()
    crops = [RandomCrop(h=2, w=3)(image, rng) for _ in range(300)]
    assert {crop.shape for crop in crops} == {(2, 3, 3)}
    assert {tuple(crop[0, 0, :2].tolist()) for crop in crops} == {
        (row, column) for row in range(3) for column in range(4)
    }


def test_a_center_crop_leaves_as_much_on_either_side():
    image = noise(10, 13)
    np.testing.assert_array_equal(CenterCrop(h=4, w=5)(image, generator()), image[3:7, 4:9])


def test_flips_go_both_ways_and_rotations_all_four():
    image, rng = noise(4, 4), generator()
    flips = {RandomFlip()(image, rng).tobytes() for _ in range(60)}
    assert flips == {view.tobytes() for view in (image, image[::-1], image[:, ::-1], image[::-1, ::-1])}
    turns = {RandomRotate()(image, rng).tobytes() for _ in range(60)}
    assert turns == {np.rot90(image, quarters).tobytes() for quarters in range(4)}


@pytest.mark.parametrize("transform", [RandomFlip(), RandomRotate(), RandomCrop(h=8, w=8)])
def test_a_downsampled_image_is_treated_like_any_array(transform):
    lazy = downsampled(noise(40, 40), 2, 1.0)
    for seed in range(6):
        expected = transform(np.asarray(lazy), generator(seed))
        np.testing.assert_array_equal(transform(lazy, generator(seed)), expected)


def test_a_resized_crop_is_the_mean_of_the_areas_of_its_window():
    image = noise(96, 80, np.uint16)
    seen = RandomResizedCrop(h=24, w=20, shrink=(4.0, 4.0))(image, generator())  # the whole image is the one window
    exact = image.reshape(24, 4, 20, 4, 3).mean((1, 3)) / 65535
    np.testing.assert_allclose(seen, exact, rtol=0, atol=1e-6)


def test_resized_crops_have_all_scales_that_the_image_allows():
    # A ramp from left to right: the difference of two neighbouring columns tells how much it was reduced.
    image = np.broadcast_to(np.arange(300, dtype=np.uint16)[None, :, None] * 100, (200, 300, 3))
    crop, rng = RandomResizedCrop(h=40, w=40, shrink=(1.0, 8.0)), generator()
    factors = [np.median(np.diff(crop(image, rng)[20, :, 0])) * 65535 / 100 for _ in range(300)]
    assert min(factors) < 1.1
    assert 4.5 < max(factors) <= 5.01, "the image is 200 pixels high"
    assert 0.4 < np.mean(np.array(factors) < 5**0.5) < 0.6, "the logarithm is uniform"


def test_what_needs_the_size_of_an_image_names_the_smallest_window_of_a_resized_crop():
    crop = RandomResizedCrop(h=24, w=20, shrink=(2.0, 4.0))
    chain = transforms.build([crop.model_dump(), {"class_name": "ToTensor2"}])
    assert chain.smallest_image() == (48, 40)
    assert chain.size_makers("x") == "RandomResizedCrop 24 x 20 (x.0) out of 48 x 40 or more"


def test_of_several_windows_the_one_with_the_most_detail_is_taken():
    image = np.full((64, 640, 3), 128, np.uint8)
    image[:, 320:] = noise(64, 320)
    shares = {}
    for candidates in (1, 3):
        crop, rng = RandomResizedCrop(h=32, w=32, shrink=(1.0, 1.0), candidates=candidates), generator()
        shares[candidates] = np.mean([crop(image, rng).std() > 0.1 for _ in range(200)])
    assert 0.4 < shares[1] < 0.6
    assert 0.8 < shares[3] < 0.95  # 1 - 0.5^3, and half as much again of the windows that reach over the border


def test_grain_has_the_deviation_that_was_asked_for_and_belongs_to_the_clean_image():
    grey, grain = np.full((64, 64, 3), 128, np.uint8), Grain(probability=1.0, deviation=(0.02, 0.02))
    for seed in range(5):
        seen = grain(grey, generator(seed))
        assert seen.dtype == np.float32
        assert (seen - 128 / 255).std() == pytest.approx(0.02, rel=0.1)
    chain = transforms.build(
        [grain.model_dump(), {"class_name": "RgbToRawTransform", "iso": 100}, {"class_name": "ToTensor2"}]
    )
    sample = chain(grey, generator())
    assert sample.clean.std(dim=(1, 2)).min() > 2 * (sample.degraded - sample.clean).std()


def test_grain_leaves_the_other_photographs_as_they_are():
    grey, grain, rng = np.full((8, 8, 3), 128, np.uint8), Grain(probability=0.25), generator()
    changed = sum(grain(grey, rng) is not grey for _ in range(400))
    assert 70 < changed < 130


def test_defocus_is_a_gaussian_blur_of_a_share_of_the_photographs():
    image, blur, rng = noise(48, 64), Defocus(probability=0.25, sigma=(2.0, 2.0)), generator()
    seen = [blur(image, rng) for _ in range(400)]
    blurred = [one for one in seen if one is not image]
    assert 70 < len(blurred) < 130
    exact = gaussian_filter(image / 255, (2, 2, 0), mode="mirror", truncate=4)
    np.testing.assert_allclose(blurred[0], exact, rtol=0, atol=2e-3)
