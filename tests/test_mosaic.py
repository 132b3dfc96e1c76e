"""Raw images and pairs in the chain: mosaics stay RGGB, pairs stay in register, wrong kinds are refused."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

import transforms
from options.errors import UserError
from transforms.downsample import Downsample
from transforms.geometry import CenterCrop, RandomCrop, RandomFlip, RandomRotate
from transforms.images import Pair
from transforms.sample import ToTensor2
from transforms.sensor.cameras import draw_camera
from transforms.sensor.layout import RGGB
from transforms.sensor.metadata import NoiseProfile, RawMetadata
from transforms.sensor.mosaic import Mosaic

CAMERA = draw_camera("fixed", torch.Generator().manual_seed(0))
LABELS = torch.tensor([1.0, 2.0, 3.0, 4.0])
TO_RAW = {"class_name": "RgbToRawTransform"}
TO_TENSOR = {"class_name": "ToTensor2"}
FLIP, ROTATE = {"class_name": "RandomFlip"}, {"class_name": "RandomRotate"}
DOWNSAMPLE = {"class_name": "Downsample", "downsampling_factor": 2, "sigma": 1}
CROP = {"class_name": "RandomCrop", "h": 16, "w": 16}
MOVES = [RandomFlip(), RandomRotate(), RandomCrop(h=6, w=4), CenterCrop(h=6, w=4)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def raw(values, noise=None):
    profile = NoiseProfile(*noise) if noise else NoiseProfile.unknown()
    return Mosaic(np.asarray(values, np.float32), RawMetadata(CAMERA, profile))


def labelled(height=12, width=12):
    """A mosaic of 1 at R, 2 at G1, 3 at G2 and 4 at B, whose noise says the same of its planes."""
    return raw(np.tile([[1, 2], [3, 4]], (height // 2, width // 2)), (LABELS, LABELS))


def numbered(height=12, width=12):
    return raw(np.arange(height * width).reshape(height, width))


def mosaic_of(colours):
    """The RGGB mosaic of an image (H, W, 3)."""
    mosaic = colours[..., 1].copy()
    mosaic[0::2, 0::2] = colours[0::2, 0::2, 0]
    mosaic[1::2, 1::2] = colours[1::2, 1::2, 2]
    return mosaic


def smooth_colours(height=96, width=120):
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / 40), np.cos(columns / 50), np.sin((rows + columns) / 60)]
    return 0.5 + 0.3 * np.dstack(waves) * [1, 0.5, 0.8] + [0.1, 0, -0.1]


def downsampled(values, factor, sigma):
    return Downsample(downsampling_factor=factor, sigma=sigma)(raw(values), generator())


def all_of(transform, image):
    return [transform(image, generator(seed)) for seed in range(60)]


@pytest.mark.parametrize("transform", MOVES)
def test_every_plane_keeps_its_colour_and_its_noise_through_crops_flips_and_rotations(transform):
    for moved in all_of(transform, labelled()):
        red, *_, blue = means = moved.packed().mean((1, 2))
        assert (red, blue) == (1, 4)
        assert moved.packed().std((1, 2)).max() == 0
        assert torch.equal(moved.metadata.noise.shot, means)  # where the greens change places, so does their noise
        assert torch.equal(moved.metadata.noise.read, means)


def test_a_random_crop_of_a_mosaic_reaches_every_even_position():
    crops = all_of(RandomCrop(h=6, w=4), numbered(10, 10))
    assert {crop.shape for crop in crops} == {(6, 4)}
    positions = {divmod(int(crop.values[0, 0]), 10) for crop in crops}
    assert positions == {(top, left) for top in (0, 2, 4) for left in (0, 2, 4, 6)}


def test_a_center_crop_of_a_mosaic_is_the_even_one_nearest_to_the_middle():
    tops = [CenterCrop(h=4, w=4)(numbered(height, 4), generator()).values[0, 0] // 4 for height in (4, 6, 8, 10, 12)]
    assert tops == [0, 0, 2, 2, 4]


def test_a_mosaic_is_flipped_both_ways_and_turned_all_four():
    values = numbered().values
    inner = slice(1, -1)  # what a flip leaves
    flips = {flip.values.tobytes() for flip in all_of(RandomFlip(), raw(values))}
    views = [values, values[::-1][inner], values[:, ::-1][:, inner], values[::-1, ::-1][inner, inner]]
    assert flips == {view.tobytes() for view in views}
    turns = {turn.values.tobytes() for turn in all_of(RandomRotate(), raw(values))}
    views = [values, np.rot90(values)[inner], np.rot90(values, 2)[inner, inner], np.rot90(values, 3)[:, inner]]
    assert turns == {view.tobytes() for view in views}


@pytest.mark.parametrize("transform", MOVES)
def test_the_two_images_of_a_pair_move_alike(transform):
    photograph = np.arange(12 * 12 * 3, dtype=np.uint16).reshape(12, 12, 3)
    for seed in range(20):
        pair = transform(Pair(photograph + 1000, photograph, recorded=True), generator(seed))
        np.testing.assert_array_equal(pair.degraded - pair.clean, 1000)
        np.testing.assert_array_equal(pair.clean, transform(photograph, generator(seed)))
        pair = transform(Pair(raw(numbered().values + 1000), numbered(), recorded=True), generator(seed))
        np.testing.assert_array_equal(pair.degraded.values - pair.clean.values, 1000)
        np.testing.assert_array_equal(pair.clean.values, transform(numbered(), generator(seed)).values)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.6])
def test_downsampling_averages_the_sites_of_a_colour_by_a_gaussian(factor, sigma):
    values = np.random.default_rng(0).random((46, 58))
    result = np.asarray(downsampled(values, factor, sigma).values)
    colour = np.add.outer(np.arange(46) % 2, np.arange(58) % 2)
    assert result.shape == (46 // factor // 2 * 2, 58 // factor // 2 * 2)
    for number in range(3):
        weight = np.where(colour == number, 1.0, 0.0)
        radius = max(int(np.ceil(3 * sigma)), 1)
        weighted, total = (gaussian_filter(a, sigma, mode="mirror", radius=radius) for a in (values * weight, weight))
        sites = (colour == number)[: result.shape[0], : result.shape[1]]
        every = (weighted / total)[::factor, ::factor][: result.shape[0], : result.shape[1]]
        np.testing.assert_allclose(result[sites], every[sites], rtol=0, atol=1e-6)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("sigma", [0, 1, 2])
def test_the_downsampled_mosaic_is_the_mosaic_of_the_downsampled_image(factor, sigma):
    colours = smooth_colours()
    result = np.asarray(downsampled(mosaic_of(colours), factor, sigma).values)
    height, width = result.shape
    blurred = gaussian_filter(colours, (sigma, sigma, 0), mode="mirror") if sigma else colours
    expected = mosaic_of(blurred[::factor, ::factor][:height, :width])
    # The edges show a mirrored scene. Inside, the colours' filters differ in width alone: that is 1 px^2 of the curve.
    inside = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(result[inside], expected[inside], rtol=0, atol=5e-4)


@pytest.mark.parametrize(("factor", "sigma"), [(1, 0), (2, 0), (2, 1), (3, 0.5), (4, 2)])
def test_downsampling_gives_no_colour_cast_and_no_shift(factor, sigma):
    rows, columns = np.mgrid[:48, :48]
    ramp = 0.2 + (3 * rows + 5 * columns) / 1000
    result = np.asarray(downsampled(ramp, factor, sigma).values)
    height, width = result.shape
    inside = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(result[inside], ramp[::factor, ::factor][:height, :width][inside], rtol=0, atol=1e-6)
    cell = [[1, 2], [2, 4]]
    flat = np.asarray(downsampled(np.tile(cell, (24, 24)), factor, sigma).values)
    np.testing.assert_allclose(flat, np.tile(cell, (height // 2, width // 2)), rtol=1e-6)


def test_without_blur_an_odd_factor_picks_sites_and_an_even_one_averages_the_nearest():
    values = np.random.default_rng(0).random((30, 30)).astype(np.float32)
    np.testing.assert_array_equal(downsampled(values, 3, 0).values, values[::3, ::3])
    halved = np.asarray(downsampled(values, 2, 0).values)
    np.testing.assert_allclose(halved[4, 6], values[8, 12], rtol=1e-6)  # red
    np.testing.assert_allclose(
        halved[4, 7], (values[8, 13] + values[8, 15] + values[7, 14] + values[9, 14]) / 4, rtol=1e-6
    )
    np.testing.assert_allclose(halved[5, 7], values[9:12:2, 13:16:2].mean(), rtol=1e-6)  # blue


@pytest.mark.parametrize(("factor", "sigma"), [(1, 2.0), (2, 1.0), (3, 0)])
def test_a_crop_of_the_downsampled_mosaic_is_a_crop_of_the_whole(factor, sigma):
    small = downsampled(np.random.default_rng(0).random((60, 66)), factor, sigma)
    whole = np.asarray(small.values)
    for top, left, height, width in [(0, 0, 4, 6), (8, 10, 2, 12), (small.shape[0] - 6, small.shape[1] - 4, 6, 4)]:
        crop = small.crop(top, left, height, width)
        np.testing.assert_allclose(crop.values, whole[top : top + height, left : left + width], rtol=0, atol=1e-6)


def test_a_packed_mosaic_has_its_own_memory():
    mosaic = numbered()
    mosaic.packed().zero_()
    assert mosaic.values[-1, -1] == 143


def test_the_noise_of_a_downsampled_mosaic_is_not_claimed_to_be_known():
    assert not labelled().downsample(2, 1).metadata.noise.known


@pytest.mark.parametrize(
    "moves", [[CROP, FLIP], [CROP, ROTATE], [FLIP, CROP, ROTATE], [DOWNSAMPLE, CROP, FLIP, ROTATE]]
)
def test_the_same_chain_gives_raw_images_the_size_that_it_gives_photographs(moves):
    pipeline = transforms.build([*moves, TO_RAW, TO_TENSOR])
    size = pipeline.smallest_image(RGGB)
    for seed in range(20):
        assert pipeline(labelled(*size), generator(seed)).clean.shape == (4, 8, 8)
    for height, width in ((size[0] - 2, size[1]), (size[0], size[1] - 2)):
        with pytest.raises(UserError, match=rf"{height} x {width} pixels .*need {size[0]} x {size[1]}; take a larger"):
            pipeline(labelled(height, width), generator())


@pytest.mark.parametrize("moves", [[CROP, FLIP, ROTATE], [FLIP, ROTATE, CROP], [CROP, ROTATE, CROP, FLIP]])
def test_a_chain_gives_the_same_of_a_raw_image_and_of_what_is_stored_of_it(moves):
    chain = transforms.build([DOWNSAMPLE, *moves, TO_RAW, TO_TENSOR])
    image = raw(np.random.default_rng(0).random((64, 72)))
    stored = chain.prepare(image)
    assert stored.shape == (32, 36)
    for seed in range(20):
        one, other = chain(image, generator(seed)), chain.tail(stored, generator(seed))
        torch.testing.assert_close(one.clean, other.clean, rtol=0, atol=1e-6)  # a window's blur rounds otherwise
        torch.testing.assert_close(one.degraded, other.degraded, rtol=0, atol=1e-5)


def test_a_flipped_crop_keeps_its_size_and_moves_by_a_pixel_to_begin_with_red():
    image = numbered(20, 20)
    for crops in (all_of(RandomCrop(h=8, w=8), image), [image.crop(12, 12, 8, 8)], [image.crop(0, 0, 8, 8)]):
        for crop in crops:
            for axes in ([0], [1], [0, 1]):
                flipped = crop.flip(axes)
                assert flipped.shape == (8, 8)
                near = {float(value) for value in image.crop(0, 0, 20, 20).values.flat}
                assert set(flipped.values.flat) <= near
                top, left = divmod(int(flipped.values[0, 0]), 20)
                assert (top % 2, left % 2) == (0, 0)  # R of the frame


def test_a_raw_image_comes_out_clean_in_its_own_colours():
    flat = 0.5 / CAMERA.white_balance.numpy()[[0, 1, 1, 2]].reshape(2, 2)
    grey = raw(np.tile(flat, (40, 40)))
    sample = transforms.build([FLIP, DOWNSAMPLE, CROP, TO_RAW, TO_TENSOR])(grey, generator())
    picture = RGGB.render(sample.clean, sample.metadata)
    assert (picture.amax(0) - picture.amin(0)).max() < 1e-4
    assert not torch.equal(sample.degraded, sample.clean)


def test_a_recorded_raw_pair_comes_out_as_it_is():
    noisy = raw(np.random.default_rng(0).random((12, 12)), (LABELS, LABELS / 9))
    sample = transforms.build([TO_RAW, TO_TENSOR])(Pair(noisy, labelled(), recorded=True), generator())
    assert torch.equal(sample.degraded, noisy.packed())
    assert torch.equal(sample.clean, labelled().packed())
    assert torch.equal(sample.metadata.camera.white_balance, CAMERA.white_balance)


def test_an_srgb_pair_becomes_its_two_tensors():
    degraded, clean = np.full((4, 6, 3), 51, np.uint8), np.full((4, 6, 3), 65535, np.uint16)
    sample = ToTensor2()(Pair(degraded, clean, recorded=True), generator())
    assert torch.equal(sample.degraded, torch.full((3, 4, 6), 0.2))
    assert torch.equal(sample.clean, torch.ones(3, 4, 6))
    assert sample.metadata is None


PHOTOGRAPH = np.zeros((12, 12, 3), np.uint8)
METADATA = labelled().metadata


def recorded(degraded, clean):
    return Pair(degraded, clean, recorded=True)


@pytest.mark.parametrize(
    ("chain", "image", "line"),
    [
        ([], labelled(), "a raw one given, and no transform makes raw samples; add a RgbToRawTransform"),
        (
            [],
            recorded(labelled(), labelled()),
            "a raw one given, and no transform .*; add a RgbToRawTransform",
        ),
        (
            [TO_RAW],
            recorded(PHOTOGRAPH, PHOTOGRAPH),
            "a pair of sRGB images given, .*; remove that transform, or give the",
        ),
        (
            [DOWNSAMPLE],
            recorded(PHOTOGRAPH, PHOTOGRAPH),
            "a pair given, and Downsample would average .*; remove",
        ),
        (
            [DOWNSAMPLE, TO_RAW],
            recorded(labelled(), labelled()),
            "a pair given, and Downsample would average .*; remove",
        ),
        (
            [],
            recorded(PHOTOGRAPH, PHOTOGRAPH[:8]),
            r"a pair of \(12, 12, 3\) and \(8, 12, 3\) given; both must be",
        ),
        (
            [TO_RAW],
            recorded(labelled(), PHOTOGRAPH),
            r"a pair of \(12, 12\) and \(12, 12, 3\) given; both must be",
        ),
        (
            [],
            recorded(PHOTOGRAPH, PHOTOGRAPH[..., 0]),
            r"uint8 \(12, 12\) given; \(H, W, 3\) in uint8 or uint16 is needed",
        ),
        ([TO_RAW], raw(np.zeros((7, 8))), r"float32 \(7, 8\) given; a mosaic is \(H, W\), both even, in float32"),
        (
            [TO_RAW],
            Mosaic(np.zeros((8, 8)), METADATA),
            r"float64 \(8, 8\) given; a mosaic is \(H, W\), both even",
        ),
    ],
)
def test_an_image_that_is_not_for_the_chain_is_refused_with_the_remedy(chain, image, line):
    with pytest.raises(UserError, match=f"^image: {line}") as mistake:
        transforms.build([*chain, TO_TENSOR])(image, generator())
    assert len(str(mistake.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["VarianceStabilization", "NoiseLevelMap"])
def test_a_pair_of_unknown_noise_is_refused_where_the_noise_has_to_be_known(name):
    chain = transforms.build([TO_RAW, {"class_name": name}, TO_TENSOR])
    known, unknown = raw(numbered().values, (LABELS, LABELS)), numbered()
    chain(Pair(known, unknown, recorded=True), generator())
    with pytest.raises(UserError, match=rf"{name} needs the noise level, and this pair's file has none; remove {name}"):
        chain(Pair(unknown, unknown, recorded=True), generator())


def test_a_clean_raw_image_is_clipped_at_white():
    sample = transforms.build([TO_RAW, TO_TENSOR])(raw(np.full((12, 12), 1.3)), generator())
    assert (sample.clean == 1).all()
