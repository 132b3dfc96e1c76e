"""Raw made visible: packing, demosaicing, and photographs that come back from raw."""

import pytest
import torch
from skimage import data
from torch.testing import assert_close

import transforms
from restore.data.batches import collate
from transforms import RGGB, SRGB, demosaic, pack, unpack
from transforms.sensor.cameras import Camera, rgb_to_camera
from transforms.sensor.rendering import develop
from transforms.sensor.unprocessing import unprocess

CAMERA = Camera(
    rgb_to_camera=torch.tensor(rgb_to_camera([1, 1, 1, 1]), dtype=torch.float32),
    white_balance=1.25 * torch.tensor([2.15, 1, 1.7]),
)


def mosaic_of(colour):
    """(..., 3, H, W) -> RGGB mosaic (..., H, W)."""
    mosaic = colour[..., 1, :, :].clone()
    mosaic[..., 0::2, 0::2] = colour[..., 0, 0::2, 0::2]
    mosaic[..., 1::2, 1::2] = colour[..., 2, 1::2, 1::2]
    return mosaic


def as_raw(photograph):
    """(..., 3, H, W) sRGB -> its packed raw under CAMERA."""
    return pack(mosaic_of(unprocess(photograph, *CAMERA)))


def tensor_of(array):
    return torch.from_numpy(array).permute(2, 0, 1).float() / 255


def psnr(one, other):
    return float(-10 * torch.log10((one - other).square().mean()))


def test_packing_takes_r_g1_g2_b_and_unpacking_undoes_it():
    mosaic = torch.arange(2 * 4 * 6.0).view(2, 4, 6)
    packed = pack(mosaic)
    assert packed[0, :, 0, 0].tolist() == [0, 1, 6, 7]
    assert packed[1, :, 1, 2].tolist() == [40, 41, 46, 47]
    assert torch.equal(unpack(packed), mosaic)
    assert torch.equal(pack(mosaic[0]), packed[0])


@pytest.mark.parametrize("size", [(4, 4), (4, 10), (12, 6)])
def test_a_flat_colour_is_demosaiced_to_itself_up_to_the_edges(size):
    colour = torch.tensor([0.7, 0.2, 0.4])[:, None, None].expand(3, *size)
    assert_close(demosaic(mosaic_of(colour)), colour)


def test_a_linear_ramp_is_demosaiced_exactly():
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(14.0), indexing="ij")
    ramps = torch.stack([0.3 + 0.01 * rows, 0.1 + 0.02 * columns, 0.5 - 0.01 * rows + 0.01 * columns])
    assert_close(demosaic(mosaic_of(ramps))[:, 2:-2, 2:-2], ramps[:, 2:-2, 2:-2])


@pytest.mark.parametrize(
    ("site", "colour", "eighths"),
    [
        ((6, 6), 1, {(6, 6): 4, (6, 7): 2, (5, 6): 2, (4, 6): -1, (6, 8): -1}),
        ((7, 7), 1, {(7, 7): 4, (7, 6): 2, (8, 7): 2, (9, 7): -1, (7, 5): -1}),
        ((6, 7), 0, {(6, 7): 5, (6, 6): 4, (5, 6): -1, (6, 5): -1, (4, 7): 0.5, (8, 7): 0.5}),
        ((7, 6), 0, {(7, 6): 5, (6, 6): 4, (6, 5): -1, (5, 6): -1, (9, 6): -1, (7, 4): 0.5}),
        ((6, 7), 2, {(6, 7): 5, (7, 7): 4, (5, 6): -1, (4, 7): -1, (6, 5): 0.5}),
        ((7, 7), 0, {(7, 7): 6, (6, 6): 2, (8, 8): 2, (5, 7): -1.5, (7, 9): -1.5, (6, 7): 0}),
        ((6, 6), 2, {(6, 6): 6, (5, 5): 2, (4, 6): -1.5, (6, 8): -1.5}),
        ((6, 6), 0, {(6, 6): 8, (6, 7): 0, (4, 6): 0}),
    ],
)
def test_demosaicing_weighs_its_neighbours_as_malvar_he_and_cutler_publish(site, colour, eighths):
    for (row, column), weight in eighths.items():
        impulse = torch.zeros(14, 14)
        impulse[row, column] = 8
        assert float(demosaic(impulse)[(colour, *site)]) == weight


@pytest.mark.parametrize("colour", [(0.5, 0.5, 0.5), (0.98, 0.98, 0.98), (1, 1, 1), (0.8, 0.3, 0.2), (0.2, 0.4, 0.7)])
def test_a_flat_patch_comes_back_in_every_pixel_without_frame_or_cast(colour):
    patch = torch.tensor(colour, dtype=torch.float32)[:, None, None].expand(3, 10, 12)
    assert_close(develop(as_raw(patch), CAMERA), patch, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "floor", "edge_floor"), [("astronaut", 30.5, 32), ("coffee", 29, 26), ("cat", 35, 38)]
)
def test_a_photograph_comes_back_from_raw_its_edges_too(name, floor, edge_floor):
    photograph = tensor_of(getattr(data, name)())
    photograph = photograph[:, : photograph.shape[1] // 2 * 2, : photograph.shape[2] // 2 * 2]
    rendered = develop(as_raw(photograph), CAMERA)
    edge = torch.ones(photograph.shape[1:], dtype=torch.bool)
    edge[2:-2, 2:-2] = False
    assert psnr(rendered, photograph) > floor
    assert psnr(rendered[:, edge], photograph[:, edge]) > edge_floor
    assert (rendered - photograph).mean(dim=(1, 2)).abs().max() < 0.01


def test_a_photograph_goes_through_the_chain_and_comes_back_in_a_batch():
    noise = {"class_name": "dng", "shot": 0, "read": 0}
    chain = [{"class_name": "RgbToRawTransform", "noise_model": noise}, {"class_name": "ToTensor2"}]
    pipeline, image = transforms.build(chain), data.cat()[:300, :400]
    samples = [pipeline(image, torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    batch = collate([(sample, "") for sample in samples])
    rendered = RGGB.render(batch.degraded, batch.metadata)
    assert rendered.shape == (2, 3, 300, 400)
    for number in (0, 1):
        assert psnr(rendered[number], tensor_of(image)) > 34.5
        assert_close(rendered[number], RGGB.render(samples[number].clean, samples[number].metadata), rtol=0, atol=1e-5)


def test_noise_is_rendered_without_a_cast():
    grey = torch.full((3, 400, 400), 0.5)
    raw = as_raw(grey)
    noisy = raw + 0.02 * torch.randn(raw.shape, generator=torch.Generator().manual_seed(0))
    means = develop(noisy, CAMERA).mean(dim=(1, 2))
    assert_close(means, torch.full((3,), 0.5), rtol=0, atol=0.02)


def test_an_srgb_image_is_only_clipped():
    image = torch.tensor([-0.5, 0.25, 1.5]).view(3, 1, 1)
    assert SRGB.render(image, None).flatten().tolist() == [0, 0.25, 1]


def test_rendering_passes_gradients_to_the_raw_image():
    raw = (0.9 * as_raw(tensor_of(data.cat()[:8, :8])) + 0.01).double().requires_grad_()
    develop(raw, Camera(*(numbers.double() for numbers in CAMERA))).sum().backward()
    assert (raw.grad != 0).all()
    assert raw.grad.isfinite().all()


def test_rendering_keeps_full_precision_under_autocast():
    raw = as_raw(tensor_of(data.cat()[:32, :32]))
    with torch.autocast("cpu", torch.bfloat16):
        rendered = develop(raw, CAMERA)
    assert rendered.dtype == torch.float32
    assert torch.equal(rendered, develop(raw, CAMERA))
