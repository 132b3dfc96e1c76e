"""From a photograph to noisy raw: the cameras that are drawn, the fast path, and the noise."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from transforms.images import Pair
from transforms.noise import Dng
from transforms.rgb_to_raw import RgbToRawTransform
from transforms.sensor.cameras import XYZ_TO_CAMERA, Camera, draw_camera, rgb_to_camera
from transforms.sensor.metadata import NoiseProfile, RawMetadata
from transforms.sensor.mosaic import Mosaic
from transforms.sensor.mosaicking import packed_raw
from transforms.sensor.rendering import pack, unpack
from transforms.sensor.unprocessing import process, unprocess

EQUAL_MIX = torch.tensor(rgb_to_camera([1, 1, 1, 1]), dtype=torch.float32)
CAMERA = Camera(EQUAL_MIX, torch.tensor([2.15, 1, 1.7]) * 1.25)
# Its matrix has negative entries and its gains are below 1: saturated colours and white are clipped.
CLIPPING = Camera(torch.tensor(rgb_to_camera([1, 0, 0, 0]), dtype=torch.float32), torch.tensor([0.9, 0.8, 0.95]))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def colours(low, high, height=64, width=66):
    return np.random.default_rng(1).uniform(low, high, (height, width, 3)).astype(np.float32)


def mosaic_of(image, camera):
    """unprocess in double precision, and of each pixel the colour that an RGGB mosaic keeps."""
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).double()
    raw = unprocess(planes, camera.rgb_to_camera.double(), camera.white_balance.double())
    mosaic = raw[1].clone()
    mosaic[0::2, 0::2] = raw[0, 0::2, 0::2]
    mosaic[1::2, 1::2] = raw[2, 1::2, 1::2]
    return mosaic.numpy()


def fast_mosaic(image, camera):
    return unpack(torch.from_numpy(packed_raw(image, camera))).double().numpy()


def test_the_equal_mix_of_the_known_cameras_is_the_published_value():
    expected = [[0.6460, 0.2714, 0.0826], [0.0826, 0.7558, 0.1617], [0.0145, 0.2250, 0.7604]]
    np.testing.assert_allclose(rgb_to_camera([1, 1, 1, 1]), expected, atol=6e-5)


def test_cameras_are_convex_mixes_that_keep_grey_grey():
    rng = generator()
    cameras = [draw_camera("normal", rng).rgb_to_camera for _ in range(200)]
    assert_close(torch.stack(cameras).sum(-1), torch.ones(200, 3))
    known = np.stack([rgb_to_camera(row) for row in np.eye(4)])
    drawn = torch.stack(cameras).numpy()
    assert (drawn >= known.min(0) - 1e-6).all()
    assert (drawn <= known.max(0) + 1e-6).all()
    assert (drawn.std(0) > 0.003).all()


@pytest.mark.parametrize(("mode", "red_spread", "blue_spread"), [("uniform", 0.144, 0.115), ("normal", 0.119, 0.0955)])
def test_white_balance_is_drawn_from_the_stated_ranges(mode, red_spread, blue_spread):
    rng = generator()
    gains = torch.stack([draw_camera(mode, rng).white_balance for _ in range(3000)]).double()
    red, blue = gains[:, 0] / gains[:, 1], gains[:, 2] / gains[:, 1]
    assert red.min() > 1.9 - 1e-6
    assert red.max() < 2.4 + 1e-6
    assert blue.min() > 1.5 - 1e-6
    assert blue.max() < 1.9 + 1e-6
    assert_close(torch.stack([red.mean(), blue.mean()]), torch.tensor([2.15, 1.7]).double(), rtol=0, atol=0.01)
    assert_close(
        torch.stack([red.std(), blue.std()]), torch.tensor([red_spread, blue_spread]).double(), rtol=0.05, atol=0
    )
    inverse = 1 / gains[:, 1]
    assert_close(torch.stack([inverse.mean(), inverse.std()]), torch.tensor([0.8, 0.1]).double(), rtol=0, atol=0.008)


@pytest.mark.parametrize(("mode", "gains"), [("fixed", [2.6875, 1.25, 2.125]), ("none", [1, 1, 1])])
def test_white_balance_that_is_not_drawn_has_the_stated_values(mode, gains):
    assert_close(draw_camera(mode, generator(3)).white_balance, torch.tensor(gains, dtype=torch.float32))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("camera", [draw_camera("normal", generator(2)), draw_camera("none", generator(3)), CLIPPING])
def test_the_fast_path_is_the_unprocessing_for_integer_images(kind, camera):
    white = np.iinfo(kind).max
    image = (colours(0, 1) * white).round().astype(kind)
    image[:4, :4], image[4:8, 4:8] = white, 0
    np.testing.assert_allclose(
        fast_mosaic(image, camera), mosaic_of(image.astype(np.float64) / white, camera), rtol=0, atol=3e-6
    )


@pytest.mark.parametrize(("low", "high", "tolerance"), [(0, 0.5, 1e-5), (0, 0.9, 2e-5), (0.9, 0.995, 1e-4)])
def test_the_fast_path_is_the_unprocessing_up_to_the_tables_steps(low, high, tolerance):
    image, camera = colours(low, high), draw_camera("uniform", generator(2))
    np.testing.assert_allclose(fast_mosaic(image, camera), mosaic_of(image, camera), rtol=0, atol=tolerance)


def test_close_to_white_the_fast_path_is_off_by_half_a_level_of_16_bits_at_most():
    image = colours(0.99, 1).astype(np.float64)
    half = 0.5 / 65535
    # With a matrix without negative entries, raw rises with each channel: half a level down and up enclose it.
    below, above = (mosaic_of(np.clip(image + step, 0, 1), CAMERA) for step in (-half, half))
    fast = fast_mosaic(image.astype(np.float32), CAMERA)
    assert (fast > below - 3e-6).all()
    assert (fast < above + 3e-6).all()


def test_a_mirrored_or_turned_photograph_gives_the_raw_of_its_copy():
    image = (colours(0, 1) * 255).astype(np.uint8)
    for view in (image[::-1], image[:, ::-1], np.rot90(image), np.rot90(image.astype(np.float32) / 255)):
        np.testing.assert_array_equal(packed_raw(view, CAMERA), packed_raw(np.ascontiguousarray(view), CAMERA))


def test_the_clean_image_is_between_black_and_white_and_the_degraded_one_is_not_clipped():
    image = np.random.default_rng(0).choice(np.array([0, 128, 255], np.uint8), (128, 128, 3))
    sample = RgbToRawTransform(iso=50000)(image, generator())
    assert sample.clean.min() >= 0
    assert 1 - 1e-6 < sample.clean.max() <= 1
    assert sample.degraded.min() < -0.01
    assert sample.degraded.max() > 1.1


@pytest.mark.parametrize("mode", ["uniform", "normal", "fixed", "none"])
def test_processing_undoes_every_white_balance_mode_where_nothing_clips(mode):
    rng = generator()
    for _ in range(20):
        camera = draw_camera(mode, rng)
        image = torch.rand(3, 40, 50, generator=rng)
        raw = unprocess(image, *camera)
        unclipped = ((raw > 0) & (raw < 1)).all(0)
        assert unclipped.float().mean() > 0.5
        assert (process(raw, *camera) - image)[:, unclipped].abs().max() < 1e-5


@pytest.mark.parametrize("scale", [1, 2])
def test_a_given_camera_matrix_is_the_cameras_with_rows_that_keep_grey_grey(scale):
    matrix = tuple(tuple(row) for row in (scale * XYZ_TO_CAMERA[2]).tolist())
    sample = RgbToRawTransform(camera_matrix=matrix)(np.zeros((8, 8, 3), np.uint8), generator())
    assert_close(sample.metadata.camera.rgb_to_camera, torch.tensor(rgb_to_camera([0, 0, 1, 0]), dtype=torch.float32))


def test_the_metadata_tell_the_noise_that_was_added():
    model = Dng(shot=(0.01, 0.02, 0.03, 0.04), read=1e-4)
    sample = RgbToRawTransform(noise_model=model)(np.full((600, 600, 3), 90, np.uint8), generator())
    assert_close(sample.metadata.noise.shot, torch.tensor([0.01, 0.02, 0.03, 0.04]))
    assert_close(sample.metadata.noise.read, torch.full((4,), 1e-4))
    variance = (sample.degraded - sample.clean).var(dim=(1, 2))
    assert_close(variance, sample.metadata.noise.shot * sample.clean[:, 0, 0] + 1e-4, rtol=0.03, atol=0)


def test_iso_is_drawn_from_its_range_with_a_uniform_logarithm():
    transform, rng = RgbToRawTransform(iso=(100, 6400)), generator()
    shots = [transform(np.zeros((4, 4, 3), np.uint8), rng).metadata.noise.shot[0].item() for _ in range(1000)]
    octaves = np.log2(np.array(shots) / 3e-3 * 125)
    assert stats.kstest(octaves, "uniform", (0, 6)).pvalue > 1e-3


def test_a_share_of_the_samples_is_clean_and_their_metadata_say_so():
    transform, rng = RgbToRawTransform(clean_share=0.3), generator()
    samples = [transform(np.full((16, 16, 3), 100, np.uint8), rng) for _ in range(500)]
    clean = [sample for sample in samples if torch.equal(sample.degraded, sample.clean)]
    assert 120 < len(clean) < 180
    for sample in samples:
        has_noise = sample.metadata.noise.shot.any() or sample.metadata.noise.read.any()
        assert has_noise == (not torch.equal(sample.degraded, sample.clean))


def test_exposure_brightens_the_clean_image_by_stops_and_clips_it_at_white():
    image = (colours(0, 1) * 255).astype(np.uint8)
    plain, brighter = (RgbToRawTransform(exposure=stops)(image, generator()) for stops in (None, (2, 2)))
    assert_close(brighter.clean, (4 * plain.clean).clamp(max=1))
    rng, drawn = generator(), RgbToRawTransform(exposure=(-1, 2), wb_gains_mode="none")
    grey = [drawn(np.full((4, 4, 3), 80, np.uint8), rng).clean[1, 0, 0].item() for _ in range(500)]
    reference = RgbToRawTransform(wb_gains_mode="none")(np.full((4, 4, 3), 80, np.uint8), rng).clean[1, 0, 0].item()
    assert stats.kstest(np.log2(np.array(grey) / reference), "uniform", (-1, 3)).pvalue > 1e-3


UNKNOWN = NoiseProfile.unknown()
KNOWN = NoiseProfile(torch.tensor([1e-3, 2e-3, 3e-3, 4e-3]), torch.full((4,), 1e-5))


def raw_image(seed, noise=UNKNOWN):
    values = np.random.default_rng(seed).uniform(-0.01, 1, (32, 36)).astype(np.float32)
    return Mosaic(values, RawMetadata(CAMERA, noise))


def test_a_raw_image_keeps_its_camera_and_values_and_gets_noise():
    image = raw_image(0)
    sample = RgbToRawTransform()(image, generator())
    assert torch.equal(sample.clean, pack(torch.from_numpy(image.values)))
    assert torch.equal(sample.metadata.camera.rgb_to_camera, CAMERA.rgb_to_camera)
    assert torch.equal(sample.metadata.camera.white_balance, CAMERA.white_balance)
    assert_close(sample.metadata.noise.shot, torch.full((4,), 3e-3))
    assert 0.02 < (sample.degraded - sample.clean).std() < 0.06


@pytest.mark.parametrize("noise", [UNKNOWN, KNOWN], ids=["unknown", "known"])
def test_a_recorded_pair_is_left_as_it_was_recorded(noise):
    pair = Pair(raw_image(1, noise), raw_image(2), recorded=True)
    sample = RgbToRawTransform(exposure=(1, 1))(pair, generator())
    assert torch.equal(sample.degraded, pack(torch.from_numpy(pair.degraded.values)))
    assert torch.equal(sample.clean, pack(torch.from_numpy(pair.clean.values)))
    assert torch.equal(sample.metadata.camera.white_balance, CAMERA.white_balance)
    assert_close(sample.metadata.noise.shot, noise.shot, rtol=0, atol=0, equal_nan=True)
    assert_close(sample.metadata.noise.read, noise.read, rtol=0, atol=0, equal_nan=True)
    assert sample.metadata.noise.known == (noise is KNOWN)


@pytest.mark.parametrize("level", [0, 60, 150, 220, 255])
def test_variance_follows_the_dng_line_and_the_mean_is_unbiased_at_every_level(level):
    shot, read = 3e-3, 1e-5
    transform = RgbToRawTransform(wb_gains_mode="none")
    sample = transform(np.full((3200, 3200, 3), level, np.uint8), generator(level))  # 10.24 million values
    x = sample.clean[0, 0, 0].double()
    expected = shot * x + read
    noise = sample.degraded.double() - sample.clean
    assert_close(sample.degraded.double().var(), expected, rtol=0.01, atol=0)
    assert noise.mean().abs() < 5 * (expected / noise.numel()).sqrt()
