"""Networks that enlarge: any scale and size, without shift or pattern, and from outside the package too."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from options.base import parse
from options.errors import UserError
from restore.evaluation.metrics import HIGHEST_PSNR, psnr
from restore.evaluation.strips import GAP, strip
from restore.networks import GeneratorOptions, build_generator
from restore.networks.base import Generator
from restore.networks.tiles import restore_tiled
from restore.networks.upsampling import BicubicUpsampling
from restore.networks.weights import load_weights
from transforms import RGGB, SRGB

UNET = {"class_name": "UNet", "n_channels": 3, "widths": [4, 8]}
SCUNET = {"class_name": "SCUNet", "n_channels": 3, "config": [1] * 7}
BORDER = 3  # pixels of the degraded image within which the interpolation sees repeated border pixels


def ramp(height: int, width: int, scale: int) -> tuple[Tensor, Tensor]:
    """An image (H, W) that rises along both sides by different steps, and itself `scale` times larger.

    Each of its pixels shows the mean of the scale x scale pixels beneath.
    """
    rows, columns = torch.arange(scale * height), torch.arange(scale * width)
    large = (0.003 * rows[:, None] + 0.002 * columns).double()
    return functional.avg_pool2d(large[None], scale)[0], large


def packed(mosaic: Tensor) -> Tensor:
    """(2 H, 2 W) RGGB -> (4, H, W): R, G1, G2, B."""
    return torch.stack([mosaic[row::2, column::2] for row in (0, 1) for column in (0, 1)])


def inner(image: Tensor, border: int) -> Tensor:
    return image[..., border:-border, border:-border]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 13), (32, 24)])
@pytest.mark.parametrize("n_channels", [3, 4])
def test_a_unet_restores_any_size_at_any_scale(scale, height, width, n_channels):
    network = build_generator(UNET | {"n_channels": n_channels, "scale": scale})
    restored = network(torch.rand(2, n_channels, height, width))
    assert restored.shape == (2, n_channels, scale * height, scale * width)


@pytest.mark.parametrize("scale", [2, 3])
def test_an_scunet_restores_any_size_at_any_scale(scale):
    network = build_generator(SCUNET | {"scale": scale})
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 5, 67)).shape == (1, 3, scale * 5, scale * 67)


@pytest.mark.parametrize("options", [UNET, SCUNET])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_ramp_comes_out_of_a_new_network_as_a_ramp(options, scale):
    small, large = ramp(20, 26, scale)
    network = build_generator(options | {"scale": scale}).double()
    with torch.inference_mode():
        restored = network(small.expand(1, 3, -1, -1))
    torch.testing.assert_close(*(inner(image, scale * BORDER) for image in (restored[0], large.expand(3, -1, -1))))


@pytest.mark.parametrize("options", [UNET, SCUNET])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_ramp_on_a_mosaic_comes_out_with_every_colour_at_its_place(options, scale):
    small, large = ramp(40, 52, scale)
    network = build_generator(options | {"scale": scale, "n_channels": 4}).double()
    with torch.inference_mode():
        restored = network(packed(small)[None])
    torch.testing.assert_close(*(inner(image, scale * BORDER) for image in (restored[0], packed(large))))


@pytest.mark.parametrize(("n_channels", "layout"), [(1, None), (3, SRGB), (4, RGGB)])
def test_a_flat_image_stays_flat_up_to_its_border(n_channels, layout):
    flat = torch.full((1, n_channels, 5, 6), 0.3)
    upsampled = BicubicUpsampling(n_channels, layout, scale=4)(flat)
    torch.testing.assert_close(upsampled, torch.full((1, n_channels, 20, 24), 0.3))


def test_interpolation_is_the_antialiased_bicubic_of_torch():
    image = torch.rand(1, 3, 12, 15)
    expected = functional.interpolate(image, scale_factor=3, mode="bicubic", antialias=True)  # a = -1/2, other borders
    torch.testing.assert_close(inner(BicubicUpsampling(3, SRGB, 3)(image), 9), inner(expected, 9))


def test_interpolation_keeps_float32_values_under_autocast():
    network = build_generator(UNET | {"scale": 2})
    image = torch.rand(1, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(image), network.upsampling(image))


@pytest.mark.parametrize("options", [UNET, SCUNET])
def test_a_map_beside_the_image_goes_in_and_the_image_alone_is_enlarged(options):
    image = torch.rand(1, 4, 16, 16)
    beside = torch.cat((image, torch.rand(1, 4, 16, 16)), dim=1)
    with torch.inference_mode():
        restored = build_generator(options | {"n_channels": 4, "in_channels": 8, "scale": 2})(beside)
    torch.testing.assert_close(restored, BicubicUpsampling(4, RGGB, 2)(image))


@pytest.mark.parametrize("options", [UNET, SCUNET])
def test_it_learns_from_the_start_and_every_weight_takes_part(options):
    torch.manual_seed(0)
    network = build_generator(options | {"scale": 2})
    before = {name: weights.clone() for name, weights in network.named_parameters()}
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    image, target = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 128, 128)
    losses = []
    for _ in range(3):  # the first update moves the tail alone, which begins at zero
        loss = (network(image) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(not torch.equal(weights, before[name]) for name, weights in network.named_parameters())


@pytest.mark.parametrize("options", [UNET, SCUNET])
@pytest.mark.parametrize(("trained", "wanted"), [(1, 2), (2, 3)])
def test_weights_of_another_scale_load_and_the_tail_is_reported_as_new(options, trained, wanted):
    torch.manual_seed(0)
    weights = build_generator(options | {"scale": trained}).state_dict()
    network = build_generator(options | {"scale": wanted})
    report = load_weights(network, weights, "model.pth")
    assert all("tail" in name for name in report.missing + report.unexpected)
    assert report.missing
    assert len(report.matched) == len(network.state_dict()) - len(report.missing)
    assert "tail" in str(report)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (UNET | {"scale": 0}, "generator: scale: 0 given"),
        (UNET | {"scale": 5}, "generator: scale: 5 given"),
        (UNET | {"scale": 2, "residual": False}, "generator: a scale above 1 needs residual"),
        (SCUNET | {"scale": 2, "use_sigmoid": True}, "generator: a scale above 1 adds the enlarged image"),
    ],
)
def test_what_excludes_a_scale_is_refused_in_one_line(options, words):
    with pytest.raises(UserError) as mistake:
        build_generator(options)
    assert words in str(mistake.value)
    assert len(str(mistake.value).splitlines()) == 1


@pytest.mark.parametrize(("options", "stages"), [(UNET, (4, 8)), (SCUNET, (1,) * 7)])
def test_a_section_tells_the_stages_that_the_information_file_shows(options, stages):
    assert parse(GeneratorOptions, options).stages == stages


def test_an_enlarging_network_compiles_as_one_graph():
    network = build_generator(UNET | {"scale": 2})
    nn.init.normal_(network.up_tail.x2.weight)
    image = torch.rand(1, 3, 15, 16)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(image), network(image))


class Sharpened(Generator):
    """A x2 network as a user would write it: interpolation and a 3x3 convolution, on sides that are multiples of 2."""

    channels_last = True

    def __init__(self):
        super().__init__(n_channels=3, scale=2, size_multiple=2)
        self.upsampling = BicubicUpsampling(3, SRGB, 2)
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def core(self, degraded: Tensor) -> Tensor:
        enlarged = self.upsampling(degraded)
        return enlarged + 0.05 * self.convolution(enlarged)


def test_a_network_from_outside_goes_through_tiles_strips_and_metrics():
    torch.manual_seed(0)
    network = Sharpened()
    assert network.memory_format == torch.channels_last
    assert (network.in_channels, network.half_precision_safe) == (3, False)
    degraded = torch.rand(3, 41, 55)
    with torch.inference_mode():
        whole = network(degraded[None])[0]
    assert whole.shape == (3, 82, 110)
    tiled = restore_tiled(network, degraded, tile=24, overlap=12)
    torch.testing.assert_close(tiled, whole)
    assert psnr(tiled, whole.clamp(0, 1)) == HIGHEST_PSNR
    assert strip([degraded, tiled, whole], largest=384).shape == (3, 82, 3 * 110 + 2 * GAP)
