"""Blur, resizing, noise, JPEG and the published chains: as published, of the wanted size, and nothing moves."""

import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

import transforms
from options.base import parse
from options.errors import UserError
from transforms.base import unit_range
from transforms.degradations.bicubic import BicubicDownsample
from transforms.degradations.blur import Blur
from transforms.degradations.bsrgan import BsrganDegradation, every_nth
from transforms.degradations.jpeg import JpegCompression
from transforms.degradations.kernels import gaussian, generalised_gaussian, plateau, sinc
from transforms.degradations.noise import PictureNoise
from transforms.degradations.real_esrgan import RealEsrganDegradation
from transforms.degradations.resize import RandomSize, Resize
from transforms.degradations.sharpening import sharpened
from transforms.rgb_to_raw import RgbToRawTransform

OFF = {"probability": 0}
NO_NOISE = {"sigma": 0, "poisson_share": 0}
SIDE = 144


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def bsrgan(scale, **options):
    return BsrganDegradation(scale=scale, noise_level=(0, 0), jpeg=OFF, final_jpeg=OFF, camera_probability=0, **options)


def real_esrgan(scale, **options):
    return RealEsrganDegradation(
        scale=scale, noise=NO_NOISE, second_noise=NO_NOISE, jpeg=OFF, final_jpeg=OFF, **options
    )


NOISELESS = [
    *(BicubicDownsample(scale=scale, rounded=False) for scale in (2, 3, 4)),
    Blur(),
    *(Resize(scale=scale) for scale in (1, 2, 3, 4)),
    *(bsrgan(scale) for scale in (1, 2, 3, 4)),
    *(real_esrgan(scale) for scale in (1, 2, 3, 4)),
]
NOISY = [
    PictureNoise(),
    PictureNoise(poisson_share=1),
    JpegCompression(),
    *(chain(scale=scale) for chain in (BsrganDegradation, RealEsrganDegradation) for scale in (1, 2, 3, 4)),
]
DEFAULTS = [BicubicDownsample(scale=2), Blur(), Resize(), Resize(scale=2), *NOISY]


def name(transform):
    return f"{transform.class_name}-{transform.reduction}"


def ramp():
    """(SIDE, SIDE, 3) float32: rising down the columns, from 0.1 to 0.9."""
    return np.broadcast_to(np.linspace(0.1, 0.9, SIDE, dtype=np.float32)[:, None, None], (SIDE, SIDE, 3)).copy()


@pytest.mark.parametrize("transform", NOISELESS, ids=name)
def test_a_ramp_is_the_same_ramp_away_from_borders(transform):
    scale = transform.reduction
    places = scale * np.arange(SIDE // scale) + (scale - 1) / 2
    inner = slice(36 // scale, -36 // scale)
    for seed in range(8):
        turned = transform.degrade(ramp().swapaxes(0, 1).copy(), generator(seed)).swapaxes(0, 1)
        degraded = turned if seed % 2 else transform.degrade(ramp(), generator(seed))
        off = (degraded - 0.1) / 0.8 * (SIDE - 1) - places[:, None, None]
        # Enlarging by area makes steps, and 8 bits round: so a row may be off by some pixels, but not all together.
        assert abs(off[inner, inner].mean()) < 0.03


@pytest.mark.parametrize(
    "transform", [Blur(), *(BicubicDownsample(scale=s, rounded=False) for s in (2, 3, 4))], ids=name
)
def test_blur_and_bicubic_leave_every_pixel_of_a_ramp_in_its_place(transform):
    scale = transform.reduction
    places = scale * np.arange(SIDE // scale) + (scale - 1) / 2
    for seed in range(30):
        degraded = transform.degrade(ramp(), generator(seed))
        off = (degraded - 0.1) / 0.8 * (SIDE - 1) - places[:, None, None]
        assert np.abs(off[16:-16]).max() < 1e-3


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("sigma", [0, 0.1, 0.6, 2.4])
def test_every_nth_pixel_is_taken_around_the_middle_of_n(scale, sigma):
    degraded = every_nth(ramp(), scale, sigma)
    places = scale * np.arange(SIDE // scale) + (scale - 1) / 2
    assert np.abs((degraded - 0.1) / 0.8 * (SIDE - 1) - places[:, None, None])[8:-8].max() < 1e-3


@pytest.mark.parametrize("transform", NOISELESS, ids=name)
def test_the_image_turned_by_180_degrees_gives_the_result_turned(transform):
    image = unit_range(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8))
    for seed in range(8):
        plain = transform.degrade(image, generator(seed))
        turned = transform.degrade(np.ascontiguousarray(image[::-1, ::-1]), generator(seed))[::-1, ::-1]
        assert np.abs(plain - turned).max() < 1.01 / 255  # rounding to 8 bits may go either way
        assert np.abs(plain - turned).mean() < 1e-5


@pytest.mark.parametrize("transform", DEFAULTS, ids=name)
def test_the_same_seed_gives_the_same_sample_and_another_one_another(transform):
    chain = transforms.build([transform, {"class_name": "ToTensor2"}])
    first, again, other = (chain(data.astronaut()[:97, 100:231], generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first.degraded, again.degraded)
    assert torch.equal(first.clean, again.clean)
    scale = transform.reduction
    assert first.degraded.shape == (3, 97 // scale, 131 // scale)
    assert first.clean.shape == (3, 97 // scale * scale, 131 // scale * scale)
    assert first.degraded.dtype == torch.float32
    assert first.degraded.isfinite().all()
    if not isinstance(transform, BicubicDownsample):
        assert not torch.equal(first.degraded, other.degraded)
    assert chain.degrades
    assert chain.scale == scale


@pytest.mark.parametrize("transform", [BsrganDegradation(scale=2), RealEsrganDegradation(scale=2, sharpen_target=True)])
def test_the_number_of_threads_makes_no_difference(transform):
    before, samples = (torch.get_num_threads(), cv2.getNumThreads()), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            cv2.setNumThreads(threads)
            samples.append([transform(data.coffee()[:300], generator(seed)) for seed in range(4)])
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
    for one, other in zip(*samples, strict=True):
        np.testing.assert_array_equal(one.degraded, other.degraded)
        np.testing.assert_array_equal(one.clean, other.clean)


@pytest.mark.parametrize(
    ("kernel", "values"),
    [
        (gaussian(7, 1, 1, 0), [0.159241, 0.096585, 0.021551, 0.001769]),
        (generalised_gaussian(7, 1, 1, 0, 0.5), [0.067593, 0.040997, 0.024866, 0.015082]),
        (plateau(7, 1, 1, 0, 1.5), [0.168855, 0.084427, 0.018762, 0.006031]),
        (sinc(13, np.pi / 2), [0.180385, 0.130185, 0.032684, -0.021563, -0.012195, 0.009704, 0.006765]),
        (sinc(7, np.pi), [0.802870, 0.145473, -0.054277, 0.030109]),
    ],
    ids=["gaussian", "generalised", "plateau", "sinc of 13", "sinc of 7"],
)
def test_kernels_have_the_published_values(kernel, values):
    middle = len(kernel) // 2
    for row in (kernel[middle, middle:], kernel[middle, middle::-1], kernel[middle:, middle]):
        np.testing.assert_allclose(row, values, atol=1e-6)


def test_an_anisotropic_kernel_is_long_along_its_angle():
    kernel = gaussian(41, 4, 2, np.pi / 6)
    y, x = np.mgrid[-20:21, -20:21]
    covariance = [[(kernel * a * b).sum() for b in (x, y)] for a in (x, y)]
    axes = np.array([[np.cos(np.pi / 6), -np.sin(np.pi / 6)], [np.sin(np.pi / 6), np.cos(np.pi / 6)]])
    np.testing.assert_allclose(covariance, axes @ np.diag([16, 4]) @ axes.T, rtol=1e-3)


def test_drawn_kernels_are_centred_of_every_size_and_sum_to_one():
    rng, sizes = generator(), set()
    for _ in range(300):
        kernel = Blur(sizes=(3, 11)).kernel(rng)
        sizes.add(kernel.shape)
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-7)
    assert sizes == {(size, size) for size in (3, 5, 7, 9, 11)}


def test_kinds_of_kernels_come_as_often_as_they_are_to():
    blur, rng = Blur(kernels={"isotropic": 3, "sinc": 1}), generator()
    negative = sum(blur.kernel(rng).min() < -1e-6 for _ in range(400))
    assert 70 < negative < 130
    image = unit_range(data.astronaut()[:32, :32])
    sharp = sum(np.array_equal(Blur(probability=0.25).degrade(image, rng), image) for _ in range(400))
    assert 270 < sharp < 330


def test_a_resizing_goes_to_sizes_from_its_ranges_and_as_often_up_and_down_as_it_is_to():
    sizes, rng = [], generator()
    for _ in range(400):
        sizes.append(RandomSize().resized(np.zeros((200, 100, 3), np.float32), 200, 100, rng).shape[:2])
    heights = np.array(sizes)[:, 0]
    assert np.abs(heights / 2 - np.array(sizes)[:, 1]).max() <= 1
    assert heights.min() < 0.2 * 200
    assert heights.min() >= 0.15 * 200 - 1
    assert 1.4 * 200 < heights.max() <= 1.5 * 200
    assert 55 < (heights > 200).sum() < 105
    assert 25 < (heights == 200).sum() < 60


def test_each_mode_of_resizing_is_used_alone_where_it_is_alone():
    image = unit_range(data.astronaut()[:64, :64])
    results = {
        mode: Resize(scale=2, directions={"keep": 1}, modes=[mode]).degrade(image, generator())
        for mode in ("area", "bilinear", "bicubic")
    }
    np.testing.assert_allclose(results["area"], image.reshape(32, 2, 32, 2, 3).mean((1, 3)), atol=1e-6)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    bicubic = torch.nn.functional.interpolate(planes, size=(32, 32), mode="bicubic")[0].permute(1, 2, 0).clamp(0, 1)
    np.testing.assert_allclose(results["bicubic"], bicubic, atol=1e-5)
    np.testing.assert_allclose(results["bilinear"], results["area"], atol=1e-6)  # at a half, both are means of four


GREY = np.full((256, 256, 3), 0.1, np.float32)


def test_noise_of_a_fixed_sigma_is_white_and_not_clipped():
    noise = PictureNoise().degrade(np.zeros_like(GREY), generator())
    assert noise.std() == pytest.approx(25 / 255, rel=0.01)
    assert abs(noise.mean()) < 1e-3
    red, green, _ = noise.reshape(-1, 3).T
    assert abs(np.corrcoef(red, green)[0, 1]) < 0.02
    assert abs(np.corrcoef(red[1:], red[:-1])[0, 1]) < 0.02


def test_noise_is_drawn_from_its_range_and_clipped_where_that_is_asked():
    rng = generator()
    noise = PictureNoise(sigma=(5, 50), clipped=True)
    deviations = [(noise.degrade(GREY + 0.4, rng)[:64] - 0.5).std() * 255 for _ in range(60)]
    assert 4.5 < min(deviations) < 10
    assert 40 < max(deviations) < 51
    dark = PictureNoise(clipped=True).degrade(GREY, rng)
    assert (dark.min(), dark.max() < 1) == (0, True)


@pytest.mark.parametrize("poisson", [0, 1])
def test_grey_noise_is_the_same_in_all_channels(poisson):
    image = GREY + np.float32([0, 0.1, 0.2])
    noise = PictureNoise(poisson_share=poisson, grey_probability=1).degrade(image, generator()) - image
    np.testing.assert_allclose(noise, noise[..., :1].repeat(3, 2), atol=1e-6)
    coloured = PictureNoise(poisson_share=poisson).degrade(image, generator()) - image
    assert np.abs(coloured - coloured[..., :1]).max() > 0.01


def test_poisson_noise_has_the_variance_of_as_many_photons_as_the_image_has_levels():
    signals = np.float32([51, 102, 204]) / 255  # three levels, so white is four photons
    image = np.broadcast_to(signals[:, None, None, None], (3, 200, 200, 3)).reshape(600, 200, 3)
    noise = PictureNoise(poisson_share=1, poisson_scale=0.5).degrade(image, generator()) - image
    for part, signal in zip(np.split(noise, 3), signals, strict=True):
        assert part.var() == pytest.approx(0.5**2 * signal / 4, rel=0.02)
        assert abs(part.mean()) < 3e-3


@pytest.mark.parametrize("quality", [10, 40, 90])
def test_jpeg_is_that_of_another_program_at_the_same_quality_with_halved_colours(quality):
    image = np.ascontiguousarray(data.astronaut()[:120, 100:241])
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=quality, subsampling="4:2:0")
    other = np.asarray(Image.open(file)).astype(np.float32) / 255
    ours = JpegCompression(quality=quality).degrade(unit_range(image), generator())
    assert np.abs(ours - other).mean() < 0.3 / 255
    assert np.abs(ours - unit_range(image)).mean() > 3 * np.abs(ours - other).mean()


def test_jpegs_quality_is_drawn_from_its_range():
    image, rng = unit_range(data.astronaut()[:64, 100:164]), generator()
    drawn = {JpegCompression(quality=(50, 52)).degrade(image, rng).tobytes() for _ in range(40)}
    assert drawn == {JpegCompression(quality=quality).degrade(image, rng).tobytes() for quality in (50, 51, 52)}


@pytest.mark.parametrize("transform", [BsrganDegradation(scale=4), RealEsrganDegradation(scale=4)], ids=name)
def test_a_published_chain_gives_8_bits_that_vary_about_the_clean_image(transform):
    image = data.astronaut()[:128, 100:228]
    for seed in range(8):
        degraded = transform(image, generator(seed)).degraded
        np.testing.assert_allclose(degraded * 255, np.rint(degraded * 255), atol=1e-4)
        assert np.abs(degraded.mean((0, 1)) - image.mean((0, 1)) / 255).max() < 0.05
        small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA)
        assert np.corrcoef(degraded.ravel(), small.ravel())[0, 1] > 0.6


def test_real_esrgans_numbers_are_the_published_ones():
    chain = RealEsrganDegradation(scale=4)
    first = (chain.blur.sigma, chain.resize.up_factor, chain.resize.down_factor, chain.noise.sigma)
    second = (chain.second_blur.sigma, chain.second_resize.up_factor, chain.second_resize.down_factor)
    assert first == ((0.2, 3), (1, 1.5), (0.15, 1), (1, 30))
    assert (*second, chain.second_noise.sigma) == ((0.2, 1.5), (1, 1.2), (0.3, 1), (1, 25))
    assert (chain.noise.poisson_scale, chain.second_noise.poisson_scale) == ((0.05, 3), (0.05, 2.5))
    assert sum(chain.blur.kernels.values()) == pytest.approx(1)
    assert (chain.second_blur.probability, chain.final_blur.probability) == (0.8, 0.8)


def test_bsrgans_numbers_are_the_published_ones():
    chain = BsrganDegradation(scale=4)
    assert (chain.halving_probability, chain.resize_probability, chain.camera_probability) == (0.25, 0.75, 0.25)
    assert (chain.jpeg.probability, chain.jpeg.quality) == (0.9, (30, 95))
    assert (chain.final_jpeg.probability, chain.final_jpeg.quality) == (1, (30, 95))
    assert (chain.noise_level, chain.blur_sizes, chain.anisotropic_share) == ((2, 25), (7, 25), 0.5)
    assert chain.noise_kinds == {"colour": 0.4, "grey": 0.4, "correlated": 0.2}
    assert set(chain.modes) == {"area", "bilinear", "bicubic"}


def test_a_change_of_one_number_of_a_stage_leaves_that_stages_other_numbers():
    given = {"class_name": "RealEsrganDegradation", "scale": 2, "second_blur": {"probability": 0.5}}
    chain = parse(transforms.TransformOptions, given)
    assert (chain.second_blur.probability, chain.second_blur.sigma) == (0.5, (0.2, 1.5))


def test_sharpening_changes_edges_alone_and_overshoots_there():
    image = np.full((160, 160, 3), 0.3, np.float32)
    image[:, 80:] = 0.7
    image[40:44] += 0.02  # less than the threshold
    sharp = sharpened(image)
    np.testing.assert_allclose(sharp[:, :20], image[:, :20], atol=1e-4)
    gaussian_taps = cv2.getGaussianKernel(51, 8.0)[:, 0]
    assert gaussian_taps[25] == pytest.approx(0.049939, abs=1e-6)
    residual = 0.4 * gaussian_taps[:25].sum()  # what blurring takes from the bright side of the edge
    rows = slice(100, 120)
    mask = (sharp[rows, 80] - image[rows, 80]) / (0.5 * residual)
    assert 0.5 < mask.min() <= mask.max() < 1
    assert (sharp[rows, 79] < 0.3).all()


def test_the_sharpened_image_is_the_target_and_what_is_degraded():
    image = data.astronaut()[:96, 100:196]
    off = {"blur": OFF, "second_blur": OFF, "final_blur": OFF}
    keep = {"resize": {"directions": {"keep": 1}}, "second_resize": {"directions": {"keep": 1}}}
    pair = real_esrgan(1, sharpen_target=True, **off, **keep)(image, generator())
    assert pair.clean.dtype == np.uint16
    np.testing.assert_allclose(pair.clean / 65535, sharpened(unit_range(image)), atol=1e-5)
    np.testing.assert_allclose(pair.degraded, pair.clean / 65535, atol=0.51 / 255)
    assert np.abs(pair.clean / 65535 - image / 255).max() > 0.05
    plain = real_esrgan(1, **off, **keep)(image, generator())
    np.testing.assert_array_equal(plain.clean, image)


def test_what_is_degraded_already_is_degraded_further_when_the_target_is_sharpened():
    image = data.astronaut()[:96, 100:196]
    chain = RealEsrganDegradation(scale=2, sharpen_target=True)
    pair = chain(BicubicDownsample(scale=2)(image, generator()), generator())
    assert pair.degraded.shape == (24, 24, 3)
    np.testing.assert_allclose(pair.clean / 65535, sharpened(unit_range(image)), atol=1e-5)


def test_what_noise_takes_beyond_black_and_white_is_clipped_when_it_becomes_raw():
    noiseless = {"class_name": "RgbToRawTransform", "noise_model": {"class_name": "dng", "shot": 0, "read": 0}}
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    free, clipped = (
        transforms.build([PictureNoise(sigma=60, clipped=clipped), noiseless, {"class_name": "ToTensor2"}])
        for clipped in (False, True)
    )
    assert torch.equal(free(image, generator()).degraded, clipped(image, generator()).degraded)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"class_name": "Blur", "sizes": [7, 20]}, r"sizes: \[7, 20\] given; a kernel's side is odd"),
        ({"class_name": "Blur", "kernels": {"isotropc": 1}}, r'kernels.isotropc: .*did you mean "isotropic"'),
        ({"class_name": "Blur", "kernels": {}}, r"kernels: "),
        ({"class_name": "Resize", "modes": ["lanczos"]}, r'modes.0: "lanczos" is not a choice'),
        (
            {"class_name": "JpegCompression", "quality": [95, 30]},
            r"quality: \[95, 30\] given; give the lower end first",
        ),
        ({"class_name": "BicubicDownsample"}, r"scale: missing"),
        (
            {"class_name": "RealEsrganDegradation", "scale": 4, "blur": {"sigm": 1}},
            r'^blur.sigm: .*did you mean "sigma"',
        ),
    ],
)
def test_a_mistake_in_a_degradation_is_told_in_a_line(given, line):
    with pytest.raises(UserError, match=line) as mistake:
        parse(transforms.TransformOptions, given)
    assert len(str(mistake.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {"class_name": "Blur", "kernels": {"sinc": 1}, "sigma": 2},
            "sigma: 2.0 given, but all kernels are sinc; leave",
        ),
        (
            {"class_name": "Blur", "kernels": {"isotropic": 1}, "sinc_cutoff": [0.3, 1]},
            "sinc_cutoff: [0.3, 1.0] given, but",
        ),
        (
            {"class_name": "Resize", "directions": {"up": 1}, "down_factor": [0.5, 1]},
            "down_factor: [0.5, 1.0] given, but",
        ),
        ({"class_name": "PictureNoise", "poisson_scale": 2}, "poisson_scale: 2.0 given, but poisson_share is 0; leave"),
        (
            {"class_name": "BsrganDegradation", "scale": 2, "halving_probability": 0.5},
            "halving_probability: 0.5 given, but",
        ),
        (
            {"class_name": "RealEsrganDegradation", "scale": 2, "noise": {"poisson_share": 1, "sigma": 5}},
            "noise.sigma: 5.0 given, but poisson_share is 1; leave it out",
        ),
        ({"class_name": "RgbToRawTransform", "pooling": "packed"}, 'pooling: "packed" given, but nothing is pooled at'),
    ],
)
def test_an_option_without_effect_is_told(given, line):
    (told,) = parse(transforms.TransformOptions, given).without_effect()
    assert told.startswith(line)


@pytest.mark.parametrize("transform", [*DEFAULTS, RgbToRawTransform()], ids=name)
def test_no_default_is_told_to_be_without_effect(transform):
    assert transform.without_effect() == []
