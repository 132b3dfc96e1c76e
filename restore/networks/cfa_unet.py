"""CfaUNet: the network that the raw editor Ansel runs, on the mosaic at full resolution with its colours beside it.

Source: Ansel (github.com/aurelienpierreeng/ansel), src/common/nn_model.c, architecture "unet". Layers, their order and
the names of the weights are Ansel's, so that restore/export/ansel.py writes them as they are.
"""

from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from restore.networks.base import Generator, NetworkOptions
from transforms import NoiseLevelMap, pack, unpack
from transforms.sensor.cameras import COLOUR_OF_SITE

COLOURS = 3
WIDEST = 8192
"""Channels at the lowest resolution at most: Ansel can index 2^31 - 1 weights, and such networks have 1.9e9."""


class CfaUNetOptions(NetworkOptions):
    """UNet of the raw editor Ansel, for packed raw with a NoiseLevelMap: it sees the mosaic at full resolution."""

    class_name: Literal["CfaUNet"] = "CfaUNet"
    needed_conditioning: ClassVar = NoiseLevelMap
    n_channels: Literal[4] = 4
    """Planes of the image, packed raw: R, G1, G2, B."""
    in_channels: Literal[8] = 8
    """Planes of the network's input: the image's, and those of a NoiseLevelMap, which the chains must have."""
    scale: Literal[1] = 1
    """Side of the restored image / side of the degraded one."""
    use_sigmoid: Literal[False] = False
    """Not here: what the network takes for noise is subtracted from the mosaic, so the rest may leave 0..1."""
    base: int = Field(default=32, ge=1, le=512)
    """Channels at full resolution, doubled at each halving: 32 in Ansel's large models, 16 in the half ones."""
    depth: int = Field(default=4, ge=1, le=8)
    """How often height and width of the mosaic are halved: 4 in Ansel's models. base * 2**depth is at most 8192."""

    @model_validator(mode="after")
    def _not_too_wide(self) -> Self:
        if (width := self.base * 2**self.depth) > WIDEST:
            raise ValueError(
                f"base {self.base} and depth {self.depth} given, which makes {width} channels at the lowest resolution "
                f"and more weights than Ansel can index; lower one of them, to at most {WIDEST} channels"
            )
        return self

    def build(self) -> "CfaUNet":
        return CfaUNet(self)


class CfaUNet(Generator):
    """Restores packed raw, R, G1, G2, B and the standard deviation of the noise of each: (B, 8, H, W) -> (B, 4, H, W).

    The network inside, `unet`, works on the unpacked mosaic. It is told the colour of each pixel and so takes mosaics
    of any CFA; but what this suite trains are Bayer mosaics, RGGB, as its chains make no others. Of X-Trans a trained
    network has seen nothing.
    """

    channels_last = True
    half_precision_safe = True
    margin = 16
    colours: Tensor

    def __init__(self, options: CfaUNetOptions):
        # The sides of the planes are half of the mosaic's.
        super().__init__(options.n_channels, options.in_channels, size_multiple=2 ** (options.depth - 1))
        self.unet = MosaicUNet(options.base, options.depth)
        colours = functional.one_hot(torch.tensor(COLOUR_OF_SITE), COLOURS).T.float()
        self.register_buffer("colours", colours[..., None, None], persistent=False)  # (3, 4, 1, 1)

    def core(self, degraded: Tensor) -> Tensor:
        mosaic, sigma = (unpack(planes) for planes in degraded.split(self.n_channels, dim=1))
        one_hot = unpack(self.colours.expand(-1, -1, *degraded.shape[-2:]))
        return pack(self.unet(mosaic, one_hot, sigma))


class MosaicUNet(nn.Module):
    """Restores mosaics of any CFA (Bayer, X-Trans), whose sides are multiples of 2**depth.

    mosaic   (B, H, W) linear, 0 = black level, 1 = white level, negative values kept
    one_hot  (3, H, W) the mosaic's colours: 1 in the plane R, G or B that a pixel records, 0 in the two others
    sigma    (B, H, W) standard deviation of the noise, in the unit of the mosaic
    Returns (B, H, W), the mosaic less the noise that the network sees in it.
    """

    def __init__(self, base: int, depth: int):
        super().__init__()
        self.base, self.depth = base, depth
        widths = [base * 2**level for level in range(depth)]
        self.enc = nn.ModuleList(
            convolutions(width // 2 if level else 1 + COLOURS + 1, width) for level, width in enumerate(widths)
        )
        self.down = nn.ModuleList(nn.Conv2d(width, width, 2, stride=2) for width in widths)
        self.bottleneck = convolutions(widths[-1], 2 * widths[-1])
        self.up = nn.ModuleList(nn.Conv2d(2 * width, width, 1) for width in reversed(widths))
        self.dec = nn.ModuleList(convolutions(2 * width, width) for width in reversed(widths))
        self.head = nn.Conv2d(base, 1, 3, padding=1)

    def forward(self, mosaic: Tensor, one_hot: Tensor, sigma: Tensor) -> Tensor:
        colours = one_hot.expand(len(mosaic), -1, -1, -1)
        features = torch.cat([mosaic[:, None], colours, sigma[:, None]], dim=1)
        kept = []
        for level, halving in zip(self.enc, self.down, strict=True):
            kept.append(level(features))
            features = halving(kept[-1])
        features = self.bottleneck(features)
        for narrowing, level in zip(self.up, self.dec, strict=True):
            # Ansel's order is the other one: pixels repeated, then a 1x1 convolution. The result is the same, and this
            # convolution has a quarter of the pixels.
            enlarged = functional.interpolate(narrowing(features), scale_factor=2, mode="nearest")
            features = level(torch.cat([kept.pop(), enlarged], dim=1))
        # In the mosaic's own precision: under autocast the head gives 8 or 11 bits, too few for an image.
        return mosaic - self.head(features).squeeze(1).to(mosaic.dtype)


def convolutions(channels_in: int, channels_out: int) -> nn.Sequential:
    """Two 3x3 convolutions with a GELU behind each. (B, channels_in, H, W) -> (B, channels_out, H, W)."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        nn.GELU(),
    )
