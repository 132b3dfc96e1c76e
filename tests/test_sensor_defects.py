"""Defects of real raw files in simulated ones: what changes in both images, and the noise that is told with them."""

import numpy as np
import pytest
import torch
from skimage import data
from torch.testing import assert_close

import transforms
from options.errors import UserError
from transforms import NoiseProfile, RawMetadata, Sample
from transforms.images import Pair
from transforms.sensor.cameras import NEUTRAL
from transforms.sensor.layout import RGGB
from transforms.sensor.mosaic import Mosaic
from transforms.sensor_defects import SensorDefects

TO_RAW = {"class_name": "RgbToRawTransform", "noise_model": {"class_name": "dng", "shot": 2e-3, "read": 4e-5}}
TO_TENSOR = {"class_name": "ToTensor2"}
STABILIZE, MAP = {"class_name": "VarianceStabilization"}, {"class_name": "NoiseLevelMap"}
LEVELS = {"black_jitter": 0.01, "white_jitter": 0.1}
ALL = {**LEVELS, "row_noise": [0.5, 1]}
SHOT, READ = torch.tensor([1e-3, 2e-3, 3e-3, 4e-3]), torch.tensor([1e-5, 2e-5, 3e-5, 4e-5])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def defects(**fields):
    return {"class_name": "SensorDefects", **fields}


def flat(signal, height=400, width=400):
    """A sample of even light, with noise of SHOT and READ."""
    clean = torch.full((4, height, width), float(signal))
    deviation = (SHOT * signal + READ).sqrt()[:, None, None]
    degraded = clean + deviation * torch.randn(clean.shape, generator=generator(99))
    return Sample(degraded, clean, told(NoiseProfile(SHOT, READ)), RGGB)


def told(noise):
    return RawMetadata(NEUTRAL, noise)


def ramp():
    """A sample without noise from black to white, the clean image twice as large."""
    degraded, clean = (torch.linspace(0, 1, side).expand(4, side, side) for side in (8, 16))
    return Sample(degraded, clean, told(NoiseProfile(torch.zeros(4), torch.zeros(4))), RGGB)


@pytest.mark.parametrize("signal", [0, 0.03, 0.5])
@pytest.mark.parametrize("fields", [{"black_jitter": 0.01}, {"white_jitter": 0.5}, {"row_noise": [0.5, 0.5]}, ALL])
def test_the_noise_that_is_told_is_the_noise_that_is_measured(fields, signal):
    for seed in range(3):
        sample = SensorDefects(**fields)(flat(signal, height=4000, width=50), generator(seed))
        shot, read = sample.metadata.noise
        variance = (sample.degraded - sample.clean).var(dim=(1, 2))
        expected = shot * sample.clean.mean(dim=(1, 2)) + read
        assert_close(variance, expected, rtol=0.08, atol=0)


def test_a_wrong_black_level_shifts_both_images_and_all_planes_and_leaves_white():
    shifts = []
    for seed in range(200):
        sample = SensorDefects(black_jitter=0.02)(ramp(), generator(seed))
        for image in (sample.degraded, sample.clean):
            assert_close(image[..., -1], torch.ones_like(image[..., -1]))
            assert_close(image[..., 0], sample.clean[0, 0, 0].expand_as(image[..., 0]))
        shifts.append(sample.clean[0, 0, 0].item())
    assert -0.0205 < min(shifts) < -0.017
    assert 0.017 < max(shifts) < 0.0205
    assert abs(np.mean(shifts)) < 0.003


def test_a_wrong_white_level_scales_both_images_by_a_factor_whose_logarithm_is_uniform():
    factors = []
    for seed in range(200):
        sample = SensorDefects(white_jitter=0.25)(ramp(), generator(seed))
        factors.append(sample.clean.max().item())
        assert_close(sample.clean, factors[-1] * ramp().clean)
        assert_close(sample.degraded, factors[-1] * ramp().degraded)
    assert 1 / 1.25 - 1e-6 < min(factors) < 0.83
    assert 1.2 < max(factors) < 1.25 + 1e-6
    assert abs(np.log(factors).mean()) < 0.03


def test_levels_keep_the_noise_of_what_was_recorded():
    sample = SensorDefects(white_jitter=0.5)(flat(0.5), generator(1))
    gain = sample.clean[0, 0, 0].item() / 0.5
    assert abs(gain - 1) > 0.01
    assert_close(sample.metadata.noise.shot, gain * SHOT)
    assert_close(sample.metadata.noise.read, gain**2 * READ)


def test_row_noise_is_common_to_red_and_green_of_a_row_and_is_told():
    before = flat(0.2)
    sample = SensorDefects(row_noise=(2, 2))(before, generator())
    assert torch.equal(sample.clean, before.clean)
    rows = sample.degraded - before.degraded
    assert_close(rows, rows.mean(dim=2, keepdim=True).expand_as(rows), rtol=0, atol=1e-6)
    rows = rows.mean(dim=2) / READ.sqrt()[:, None]
    assert_close(rows[0], rows[1], rtol=0, atol=1e-4)
    assert_close(rows[2], rows[3], rtol=0, atol=1e-4)
    assert abs(torch.corrcoef(rows[[1, 2]])[0, 1]) < 0.15
    assert rows.std().item() == pytest.approx(2, rel=0.1)
    assert_close(sample.metadata.noise.read, 5 * READ)
    assert_close(sample.metadata.noise.shot, SHOT)


def test_the_strength_of_row_noise_is_drawn_from_its_range():
    model = SensorDefects(row_noise=(0.1, 0.3))
    ratios = [(model(flat(0, 4, 4), generator(seed)).metadata.noise.read / READ - 1).sqrt()[0] for seed in range(100)]
    assert 0.1 <= min(ratios) < 0.12
    assert 0.28 < max(ratios) <= 0.3


def test_hot_pixels_are_brighter_up_to_white_in_the_degraded_image_alone():
    before = flat(0.3)
    sample = SensorDefects(hot_pixels=0.01)(before, generator())
    hot = sample.degraded != before.degraded
    assert hot.float().mean().item() == pytest.approx(0.01, rel=0.05)
    assert (sample.degraded >= before.degraded).all()
    assert sample.degraded.max() <= 1
    share = (sample.degraded - before.degraded)[hot] / (1 - before.degraded[hot])
    assert share.mean().item() == pytest.approx(0.5, abs=0.03)
    assert share.max() > 0.99
    assert torch.equal(sample.clean, before.clean)
    assert torch.equal(torch.stack(sample.metadata.noise), torch.stack(before.metadata.noise))


def test_the_same_state_makes_the_same_defects_and_the_sample_that_came_is_left_alone():
    model, before = SensorDefects(**{**ALL, "hot_pixels": 0.01, "row_noise": (0, 1)}), flat(0.1, 32, 32)
    kept = before.degraded.clone(), before.clean.clone()
    one, two, other = (model(before, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.degraded, two.degraded)
    assert torch.equal(one.clean, two.clean)
    assert not torch.equal(one.degraded, other.degraded)
    assert torch.equal(before.degraded, kept[0])
    assert torch.equal(before.clean, kept[1])


def test_an_image_without_noise_has_no_row_noise():
    clean = [{**TO_RAW, "clean_share": 1}]
    plain = transforms.build([*clean, TO_TENSOR])(data.cat(), generator())
    sample = transforms.build([*clean, defects(row_noise=[1, 1]), TO_TENSOR])(data.cat(), generator())
    assert torch.equal(sample.degraded, plain.degraded)
    assert not torch.stack(sample.metadata.noise).any()


def pair(known):
    values = np.full((16, 16), 0.25, np.float32)
    noise = NoiseProfile(SHOT, READ) if known else NoiseProfile.unknown()
    degraded, clean = (Mosaic(image, told(noise)) for image in (values, values / 2))
    return Pair(degraded, clean, recorded=True)


def test_recorded_pairs_get_the_defects_and_unknown_noise_stays_unknown():
    chain = transforms.build([TO_RAW, defects(**LEVELS, hot_pixels=0.1), TO_TENSOR])
    sample = chain(pair(known=False), generator())
    assert sample.degraded.isfinite().all()
    assert not sample.metadata.noise.known
    assert not torch.allclose(sample.clean, torch.full((4, 8, 8), 0.125))
    chain = transforms.build([TO_RAW, defects(**ALL), TO_TENSOR])
    assert chain(pair(known=True), generator()).metadata.noise.known
    with pytest.raises(UserError, match="SensorDefects needs the noise level, and this pair's file has none; remove"):
        chain(pair(known=False), generator())


@pytest.mark.parametrize("conditioning", [STABILIZE, MAP])
def test_it_stands_between_the_raw_image_and_its_conditioning(conditioning):
    sample = transforms.build([TO_RAW, defects(**ALL), conditioning, TO_TENSOR])(data.cat(), generator())
    assert sample.degraded.isfinite().all()
    for chain, line in (
        ([defects(**ALL), TO_RAW, conditioning], "transforms.0: SensorDefects works on the raw image; put it behind a"),
        (
            [TO_RAW, conditioning, defects(**ALL)],
            rf"transforms.2: SensorDefects works on raw values, after {conditioning['class_name']} at transforms.1, "
            "which changes them; move it before",
        ),
    ):
        with pytest.raises(UserError, match=line):
            transforms.build([*chain, TO_TENSOR])


def test_a_model_that_restores_whole_photographs_keeps_the_defects_and_drops_the_conditioning():
    chain = transforms.build([TO_RAW, defects(**LEVELS), MAP, TO_TENSOR]).for_whole_images()
    assert [step.class_name for step in chain.transforms] == ["RgbToRawTransform", "SensorDefects", "ToTensor2"]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, r"no defect given; give black_jitter, white_jitter, hot_pixels or row_noise above 0, or remove Sens"),
        ({"black_jitter": 0, "row_noise": [0, 0]}, r"no defect given"),
        ({"black_jitter": -0.1}, r"black_jitter: -0.1 given; .*greater than or equal to 0"),
        ({"black_jitter": 64}, r"black_jitter: 64 given; .*less than or equal to 0.1"),
        ({"white_jitter": 2}, r"white_jitter: 2 given; .*less than or equal to 1"),
        ({"hot_pixels": 0.5}, r"hot_pixels: 0.5 given; .*less than or equal to 0.1"),
        ({"row_noise": 0.1}, r"row_noise: 0.1 given; give a list"),
        ({"row_noise": [0.2, 0.1]}, r"row_noise: \[0.2, 0.1\] given; give the lower end first"),
        ({"hot_pixel": 0.1}, r'hot_pixel: unknown key .*did you mean "hot_pixels"\?'),
    ],
)
def test_a_mistake_is_one_line_with_its_place_and_the_remedy(fields, line):
    with pytest.raises(UserError, match=rf"^transforms: 1[.:] ?{line}") as mistake:
        transforms.build([TO_RAW, defects(**fields), TO_TENSOR])
    assert len(str(mistake.value).splitlines()) == 1
