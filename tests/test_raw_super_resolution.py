"""Raw images of a sensor with larger pixels: what it records lies where the light fell, in every plane."""

import numpy as np
import pytest
import torch
from skimage import data

import transforms
from options.errors import UserError
from transforms.degradations.bicubic import BicubicDownsample
from transforms.rgb_to_raw import RgbToRawTransform
from transforms.sensor.cameras import draw_camera
from transforms.sensor.metadata import NoiseProfile, RawMetadata
from transforms.sensor.mosaic import Mosaic
from transforms.sensor.pooling import pooled_light, pooled_planes, pooled_sites
from transforms.sensor.rendering import pack, unpack
from transforms.sensor.unprocessing import linear_to_srgb

NOISELESS = {"class_name": "dng", "shot": 0, "read": 0}
TO_RAW, TO_TENSOR = {"class_name": "RgbToRawTransform"}, {"class_name": "ToTensor2"}
SIDE = 96


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def to_raw(**options):
    return RgbToRawTransform(**{"noise_model": NOISELESS, "wb_gains_mode": "none", **options})


def raw(values):
    camera = draw_camera("fixed", generator())
    return Mosaic(np.asarray(values, np.float32), RawMetadata(camera, NoiseProfile.unknown()))


def ramps():
    """Brightness (SIDE, SIDE) from 0.1 to 0.8, once down and once across."""
    rising = np.linspace(0.1, 0.8, SIDE).repeat(SIDE).reshape(SIDE, SIDE)
    return [rising, rising.T]


def photograph_of(light):
    """The sRGB image, uint16, behind this brightness."""
    srgb = linear_to_srgb(torch.from_numpy(light)).numpy()
    return np.rint(srgb * 65535).astype(np.uint16)[..., None].repeat(3, 2)


def displacement(packed, scale, axis):
    """How far [px of the clean image] each plane's values (4, h, w) lie from where the ramp has them."""
    mosaic = unpack(packed).double().numpy()
    places = scale * np.arange(SIDE // scale) + (scale - 1) / 2
    places = places[:, None] if axis == 0 else places[None]
    off = (mosaic - 0.1) / 0.7 * (SIDE - 1) - places
    inner = pack(torch.from_numpy(off))[:, 16 // scale : -16 // scale, 16 // scale : -16 // scale]
    return inner.numpy()


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("psf", [None, (0.5, 0.5)], ids=["sharp", "blurred"])
@pytest.mark.parametrize("source", ["photograph", "mosaic"])
def test_every_plane_of_a_ramp_lies_where_the_light_fell(scale, psf, source):
    for axis, light in enumerate(ramps()):
        image = photograph_of(light) if source == "photograph" else raw(light)
        sample = to_raw(scale=scale, psf_sigma=psf)(image, generator())
        assert sample.degraded.shape == (4, SIDE // scale // 2, SIDE // scale // 2)
        assert sample.clean.shape == (4, SIDE // 2, SIDE // 2)
        assert np.abs(displacement(sample.degraded, scale, axis)).max() < 0.02  # 16 bits of sRGB, and float32
        assert np.abs(displacement(sample.clean, 1, axis)).max() < 0.02


def test_packed_pooling_moves_red_against_blue_by_half_a_pixel_of_the_result():
    sample = to_raw(scale=2, pooling="packed")(photograph_of(ramps()[0]), generator())
    red, _, _, blue = displacement(sample.degraded, 2, 0).mean((1, 2))
    assert (red, blue) == (pytest.approx(0.5, abs=0.01), pytest.approx(-0.5, abs=0.01))


def test_the_degraded_image_is_the_light_averaged_and_then_recorded_by_the_same_camera():
    image = data.astronaut()[:64, 100:164]
    sample = RgbToRawTransform(noise_model=NOISELESS, scale=2)(image, generator())
    plain = RgbToRawTransform(noise_model=NOISELESS)(image, generator())
    assert torch.equal(sample.clean, plain.clean)
    assert torch.equal(sample.metadata.camera.white_balance, plain.metadata.camera.white_balance)
    one_colour = image[:2, :2].repeat(32, 0).repeat(32, 1)  # each pixel a block of 32 x 32, whose light is one
    blocks = RgbToRawTransform(noise_model=NOISELESS, scale=2)(one_colour, generator())
    assert torch.equal(blocks.degraded, blocks.clean[:, ::2, ::2])
    assert not torch.equal(sample.degraded, sample.clean[:, ::2, ::2])


def test_light_is_averaged_before_it_is_clipped_and_before_the_tone_curve():
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[::2] = 255
    sample = to_raw(scale=2)(stripes, generator())
    torch.testing.assert_close(sample.degraded, torch.full((4, 8, 8), 0.5), rtol=0, atol=1e-3)


def test_noise_comes_after_the_pixels_were_enlarged():
    sample = to_raw(scale=2, noise_model={"class_name": "gaussian", "sigma": 0.05})(
        np.full((256, 256, 3), 120, np.uint8), generator()
    )
    assert (sample.degraded - sample.clean[:, ::2, ::2]).std() == pytest.approx(0.05, rel=0.02)


def test_the_optics_blur_by_pixels_of_the_degraded_image():
    edge = np.full((128, 128), 0.2)
    edge[:, 64:] = 0.6
    for scale in (1, 2, 4):
        profile = to_raw(scale=scale, psf_sigma=(2.0, 2.0))(photograph_of(edge), generator()).degraded
        slope = np.diff(unpack(profile)[0].double().numpy())
        position = np.arange(slope.size)
        mean = (slope * position).sum() / slope.sum()
        deviation = np.sqrt((slope * (position - mean) ** 2).sum() / slope.sum())
        assert deviation == pytest.approx(2, abs=0.1)
    for pool in (pooled_sites, pooled_planes):
        flat = pool(torch.full((4, 24, 24), 0.3), 2, 1.5)
        torch.testing.assert_close(flat, torch.full((4, 12, 12), 0.3))


def test_the_optics_blur_is_drawn_for_each_image():
    transform, rng = to_raw(scale=2, psf_sigma=(0, 1.5)), generator()
    image = data.astronaut()[:64, 100:164]
    sharpness = [transform(image, rng).degraded.diff().abs().mean().item() for _ in range(12)]
    assert max(sharpness) > 1.2 * min(sharpness)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_from_raw_files_colours_stay_apart_and_the_result_is_near_that_of_the_light(scale):
    labels = np.tile([[0.1, 0.2], [0.2, 0.4]], (24 * scale // 2, 24 * scale // 2))
    sample = to_raw(scale=scale)(raw(labels), generator())
    expected = torch.tensor([0.1, 0.2, 0.2, 0.4])[:, None, None].expand(4, 12, 12)
    torch.testing.assert_close(sample.degraded, expected)
    side = 24 * 2 * scale
    photograph = to_raw(scale=scale)(data.astronaut()[:side, 60 : 60 + side], generator())
    mosaic = to_raw(scale=scale)(raw(unpack(photograph.clean)), generator())
    pooled = pooled_planes(photograph.clean, scale, 0)
    near, far = ((other - photograph.degraded).square().mean() for other in (mosaic.degraded, pooled))
    assert near < 0.5 * far


def test_a_weighted_mean_sees_beyond_the_edge_a_mirrored_mosaic_of_the_same_colours():
    values = np.random.default_rng(0).random((24, 32)).astype(np.float32)
    padded = np.pad(values, 8, mode="reflect")
    inside = unpack(pooled_sites(pack(torch.from_numpy(padded)), 2, 0.7))[4:-4, 4:-4]
    torch.testing.assert_close(unpack(pooled_sites(pack(torch.from_numpy(values)), 2, 0.7)), inside)


def test_pooled_light_is_the_mean_of_the_pixels():
    light = np.random.default_rng(0).random((12, 18, 3)).astype(np.float32)
    expected = light.reshape(4, 3, 6, 3, 3).mean((1, 3))
    np.testing.assert_allclose(pooled_light(light, 3, 0), expected, atol=1e-6)


@pytest.mark.parametrize(("height", "width", "scale"), [(65, 83, 2), (50, 71, 3), (47, 33, 4)])
@pytest.mark.parametrize("first", [False, True], ids=["alone", "after another"])
def test_sides_are_cut_to_whole_cells_of_the_degraded_image(height, width, scale, first):
    image = np.random.default_rng(0).integers(0, 256, (2 * height, 2 * width, 3), np.uint8)
    steps = [BicubicDownsample(scale=2)] if first else []
    chain = transforms.build([*steps, {**TO_RAW, "scale": scale}, TO_TENSOR])
    sample = chain(image, generator())
    total = scale * 2 if first else scale
    assert chain.scale == total
    assert sample.degraded.shape[1:] == (2 * height // (2 * total), 2 * width // (2 * total))
    assert sample.clean.shape[1:] == tuple(total * side for side in sample.degraded.shape[1:])


def test_a_crop_is_a_multiple_of_two_degraded_pixels():
    with pytest.raises(UserError, match=r"62 x 64 given .*multiples of 8; make both multiples of 8"):
        transforms.build([{"class_name": "RandomCrop", "h": 62, "w": 64}, {**TO_RAW, "scale": 4}, TO_TENSOR])
