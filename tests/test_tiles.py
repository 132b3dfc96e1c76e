"""An image restored tile by tile is the image restored whole."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from skimage import data
from torch import Tensor, nn
from torch.nn import functional

from options.errors import UserError
from restore.evaluation.metrics import psnr
from restore.networks.base import Generator
from restore.networks.scunet import SCUNetOptions
from restore.networks.tiles import restore_tiled


class Identity(Generator):
    """Gives back its input, or each of its pixels scale x scale times."""

    def __init__(self, size_multiple: int, n_channels: int = 4, scale: int = 1):
        super().__init__(n_channels, scale=scale, size_multiple=size_multiple)
        self.sizes: list[tuple[int, int]] = []

    def forward(self, image: Tensor) -> Tensor:
        self.sizes.append(tuple(image.shape[-2:]))
        return super().forward(image)

    def core(self, image: Tensor) -> Tensor:
        return repeated(image, self.scale)


def repeated(image: Tensor, scale: int) -> Tensor:
    return image.repeat_interleave(scale, -2).repeat_interleave(scale, -1)


class Pointwise(Generator):
    """Enlarges each pixel by itself, so that no tile lacks context."""

    def __init__(self, scale: int):
        super().__init__(3, scale=scale)
        self.layers = nn.Sequential(nn.Conv2d(3, 3 * scale**2, 1), nn.PixelShuffle(scale))

    def core(self, image: Tensor) -> Tensor:
        return self.layers(image)


class SmallUNet(Generator):
    """Two levels down and up, like the networks that restore."""

    def __init__(self, width: int = 16):
        super().__init__(n_channels=3, size_multiple=4)
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.down1 = nn.Conv2d(width, 2 * width, 3, padding=1, stride=2)
        self.down2 = nn.Conv2d(2 * width, 4 * width, 3, padding=1, stride=2)
        self.body = nn.Conv2d(4 * width, 4 * width, 3, padding=1)
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.tail = nn.Conv2d(width, 3, 3, padding=1)

    def core(self, image: Tensor) -> Tensor:
        full = self.head(image).relu()
        half = self.down1(full).relu()
        quarter = self.body(self.down2(half).relu()).relu()
        half = half + self.up2(quarter).relu()
        full = full + self.up1(half).relu()
        return image + self.tail(full)


class AddsItsOutput(Generator):
    """A network of random weights as a residual of a chosen rms."""

    def __init__(self, network: Generator, rms: float, image: Tensor):
        super().__init__(network.n_channels, scale=network.scale, size_multiple=network.size_multiple)
        self.network = network
        with torch.inference_mode():
            self.gain = rms / network(image[None]).square().mean().sqrt().item()

    def core(self, image: Tensor) -> Tensor:
        return repeated(image, self.scale) + self.gain * self.network(image)


def photograph(name: str) -> Tensor:
    return torch.from_numpy(getattr(data, name)().copy()).permute(2, 0, 1) / 255


def add_noise(clean: Tensor, seed: int) -> Tensor:
    return clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def denoiser() -> SmallUNet:
    torch.manual_seed(0)
    network = SmallUNet()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    clean = photograph("coffee").unfold(1, 64, 64).unfold(2, 64, 64).permute(1, 2, 0, 3, 4).reshape(-1, 3, 64, 64)
    for step in range(100):
        batch = clean[step % 9 :: 9]
        loss = functional.l1_loss(network(add_noise(batch, step)), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


@settings(max_examples=150, deadline=None)
@given(some.data())
def test_the_identity_returns_its_input_on_any_tile_overlap_and_size(choose):
    multiple = choose.draw(some.sampled_from([1, 2, 8]), "multiple")
    overlap = choose.draw(some.integers(0, 40), "overlap")
    tile = choose.draw(some.integers(-(-overlap // multiple) * multiple + multiple, 120), "tile")
    scale = choose.draw(some.sampled_from([1, 2, 3]), "scale")
    height, width = (choose.draw(some.integers(1, 100), side) for side in ("height", "width"))
    image = torch.rand(4, height, width, generator=torch.Generator().manual_seed(height * width)) * 1.5 - 0.25
    network = Identity(multiple, scale=scale)
    restored = restore_tiled(network, image, tile, overlap)
    assert (restored - repeated(image, scale)).abs().max() < 1e-6
    assert restored.dtype == torch.float32
    assert max(side for size in network.sizes for side in size) <= tile


def test_a_constant_image_has_no_seams_and_no_black_first_row():
    constant = torch.full((3, 150, 203), 0.7)
    for tile, overlap in [(64, 0), (64, 1), (64, 16), (64, 63), (17, 5)]:
        restored = restore_tiled(Identity(1, n_channels=3), constant, tile, overlap)
        assert restored.min().item() == pytest.approx(0.7, abs=1e-6)
        assert restored.max().item() == pytest.approx(0.7, abs=1e-6)


@pytest.mark.parametrize(("tile", "overlap"), [(64, 16), (96, 32), (48, 40), (150, 8)])
def test_a_denoiser_gives_the_whole_image_to_a_hundredth_of_a_decibel(denoiser, tile, overlap):
    clean = photograph("chelsea")
    noisy = add_noise(clean, seed=1)
    with torch.inference_mode():
        whole = denoiser(noisy[None])[0]
    tiled = restore_tiled(denoiser, noisy, tile, overlap)
    assert psnr(whole, clean) > psnr(noisy, clean) + 5  # [dB]
    assert abs(psnr(tiled, clean) - psnr(whole, clean)) < 0.01
    assert psnr(tiled, whole.clamp(0, 1)) > 60


@pytest.mark.parametrize("scale", [1, 2])
def test_tiles_keep_to_the_windows_of_a_transformer(scale):
    clean = photograph("chelsea")[:, :200, :270]
    noisy = add_noise(clean, seed=1)
    clean = repeated(clean, scale)
    torch.manual_seed(0)
    scunet = SCUNetOptions(n_channels=3, config=(2, 2, 2, 2, 2, 2, 2), scale=scale).build().eval()
    if scale > 1:  # at the start its tail adds nothing to the enlarged image
        nn.init.normal_(scunet.m_up_tail.x2.weight)
    network = AddsItsOutput(scunet, 0.1, noisy)
    with torch.inference_mode():
        whole = network(noisy[None])[0]
    tiled = restore_tiled(network, noisy, tile=128, overlap=32)
    assert abs(psnr(tiled, clean) - psnr(whole, clean)) < 0.01
    assert psnr(tiled, whole.clamp(0, 1)) > 60  # [dB]; 30 where tiles begin anywhere


def test_an_image_that_fits_passes_whole_and_unchanged():
    image = torch.rand(1, 4, 150, 139)
    network = Identity(64)
    assert torch.equal(restore_tiled(network, image, tile=150, overlap=32), image)
    assert network.sizes == [(150, 139)]


def test_a_24_megapixel_raw_frame_costs_less_than_a_third_more():
    network = Identity(64, n_channels=1)
    restore_tiled(network, torch.zeros(1, 2000, 3000), tile=512, overlap=32)
    padded = [-(-height // 64) * -(-width // 64) * 64**2 for height, width in network.sizes]
    assert sum(padded) / (2000 * 3000) < 1.34
    assert max(padded) == 512 * 512


def test_a_batch_of_one_and_a_single_image_keep_their_dimensions_and_other_channel_counts_pass():
    class FourToThree(Generator):
        def __init__(self):
            super().__init__(n_channels=3, in_channels=4)
            self.mixing = nn.Conv2d(4, 3, 1)

        def core(self, image: Tensor) -> Tensor:
            return self.mixing(image)

    network = FourToThree()
    image = torch.rand(4, 40, 50)
    single, batch = restore_tiled(network, image, 16, 4), restore_tiled(network, image[None], 16, 4)
    assert single.shape == (3, 40, 50)
    assert torch.equal(batch, single[None])
    assert not single.requires_grad


def test_half_precision_tiles_are_blended_in_full_precision():
    class Half(Generator):
        def core(self, image: Tensor) -> Tensor:
            return image.bfloat16()

    image = torch.rand(3, 60, 60)
    restored = restore_tiled(Half(n_channels=3), image, 16, 8)
    assert restored.dtype == torch.float32
    assert (restored - image.bfloat16().float()).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("tile", "overlap", "multiple", "line"),
    [
        (64, -1, 1, "overlap: -1 given; 0 or more pixels are wanted"),
        (32, 32, 1, "tile: 32 given with an overlap of 32; give a tile of at least 33 pixels"),
        (100, 32, 64, "tile: 100 given with an overlap of 32; give a tile of at least 128 pixels"),
        (0, 0, 1, "tile: 0 given with an overlap of 0; give a tile of at least 1 pixels"),
    ],
)
def test_a_tile_without_room_is_a_mistake_that_says_what_would_do(tile, overlap, multiple, line):
    with pytest.raises(UserError) as caught:
        restore_tiled(Identity(multiple), torch.zeros(1, 8, 8), tile, overlap)
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_tiles_without_overlap_are_the_whole_for_a_network_that_sees_single_pixels(scale):
    network, image = Pointwise(scale), torch.rand(1, 3, 37, 29)
    with torch.inference_mode():
        whole = network(image)
    torch.testing.assert_close(restore_tiled(network, image, tile=8, overlap=0), whole, atol=1e-6, rtol=0)
