"""SCUNet: a UNet whose blocks pass half of their channels through convolutions and half through windowed attention.

Source: Zhang et al., Practical Blind Denoising via Swin-Conv-UNet and Data Synthesis, 2022 (arXiv 2203.13278), and the
network that its authors publish: names, shapes and outputs are theirs, so their weights load unchanged.
Feature maps are (B, H, W, C) between the layers, which is channels-last memory: convolutions use it without a copy, and
a 1x1 convolution is a linear layer on it.
"""

from collections.abc import Callable
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional

from restore.networks.base import DenoiserOptions, Generator
from restore.networks.random_layers import StochasticDepth
from restore.networks.upsampling import BicubicUpsampling, UpsamplingTail
from restore.networks.window_attention import WINDOW, WindowAttention, from_windows, shift_mask, to_windows

Blocks = Annotated[PositiveInt, Field(le=64)]


class SCUNetOptions(DenoiserOptions):
    """SCUNet (Zhang et al. 2022): convolutions and windowed attention side by side."""

    class_name: Literal["SCUNet"] = "SCUNet"
    config: tuple[Blocks, Blocks, Blocks, Blocks, Blocks, Blocks, Blocks] = (4, 4, 4, 4, 4, 4, 4)
    """Blocks of each stage: three on the way down, the body, three on the way up."""
    dim: int = Field(default=64, gt=0, le=1024, multiple_of=64)
    """Channels at full resolution, doubled at each halving: a multiple of 64, as half of them go in heads of 32."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Stochastic depth: probability that the last block skips a branch in training. It rises linearly from 0 at the
    first block. Use 0.1 where a large network learns few photographs by heart, seen by a validation loss that rises
    while the training loss falls; leave it at 0 where data is plenty or the run short, as it slows learning down."""
    checkpointing: bool = False
    """Keeps only what goes into each block for the gradient, and computes the rest a second time: the same updates with
    a ninth of the activations held and a quarter of the memory at its peak, in 1.4 times the time (config [2] * 7 on 2
    crops of 128 x 128, CPU). Use it where memory is short, for larger crops or networks; leave it off where there is
    enough. To fit a larger batch alone, accumulation costs less time."""

    @model_validator(mode="after")
    def _one_ending(self) -> Self:
        if self.scale > 1 and self.use_sigmoid:
            raise ValueError("a scale above 1 adds the enlarged image, which may leave 0..1; turn use_sigmoid off")
        return self

    @property
    def stages(self) -> tuple[int, ...]:
        return self.config

    def build(self) -> "SCUNet":
        return SCUNet(self)


class PointwiseConv(nn.Conv2d):
    """A 1x1 convolution as a linear layer. (B, H, W, C) both ways."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        return functional.linear(image, self.weight.flatten(1), self.bias)


class TransformerBlock(nn.Module):
    """Attention within windows, then a perceptron, each as a residual. (B, H, W, C) both ways.

    shifted  moves the windows by half their side, so that information crosses the window borders of the block before.
    """

    def __init__(self, channels: int, shifted: bool, drop_path: float):
        super().__init__()
        self.shift = WINDOW // 2 if shifted else 0
        self.ln1 = nn.LayerNorm(channels)
        self.msa = WindowAttention(channels)
        self.ln2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, image: Tensor) -> Tensor:
        _, height, width, _ = image.shape
        mask = shift_mask(height, width, self.shift, image.device) if self.shift else None
        windows = to_windows(image, self.shift)
        windows = windows + self.drop_path(self.msa(self.ln1(windows), mask))
        windows = windows + self.drop_path(self.mlp(self.ln2(windows)))
        return from_windows(windows, height, width, self.shift)


class ConvTransformerBlock(nn.Module):
    """Half of the channels through two 3x3 convolutions, half through a transformer. (B, H, W, C) both ways."""

    def __init__(self, channels: int, shifted: bool, drop_path: float):
        super().__init__()
        half = channels // 2
        self.trans_block = TransformerBlock(half, shifted, drop_path)
        self.conv1_1 = PointwiseConv(channels)
        self.conv1_2 = PointwiseConv(channels)
        self.conv_block = nn.Sequential(
            nn.Conv2d(half, half, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, half, 3, padding=1, bias=False),
        )

    def forward(self, image: Tensor) -> Tensor:
        local, distant = self.conv1_1(image).chunk(2, dim=-1)
        local = local + as_planes(self.conv_block, local)
        distant = self.trans_block(distant)
        return image + self.conv1_2(torch.cat((local, distant), dim=-1))


class Halving(nn.Conv2d):
    """Twice the channels at half the resolution. (B, H, W, C) -> (B, H/2, W/2, 2C)."""

    def __init__(self, channels: int):
        super().__init__(channels, 2 * channels, kernel_size=2, stride=2, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        return as_planes(super().forward, image)


class Doubling(nn.Module):
    """Half the channels at twice the resolution, by a transposed convolution. (B, H, W, C) -> (B, 2H, 2W, C/2)."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.ConvTranspose2d(channels, channels // 2, kernel_size=2, bias=False).weight

    def forward(self, image: Tensor) -> Tensor:
        return as_planes(lambda planes: functional.conv_transpose2d(planes, self.weight, stride=2), image)


def as_planes(layer: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """Applies a layer for (B, C, H, W) to an image (B, H, W, C), without copying it."""
    return layer(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class SCUNet(Generator):
    """The published network at scale 1. At larger scales its output is added to the image enlarged by interpolation.

    In each stage every second block has shifted windows, for any size of the image. The published code leaves the shift
    out on levels no larger than a window, but its nominal 256x256 input has no such level.
    """

    channels_last = True
    half_precision_safe = True
    first_layer = "m_head.0.weight"
    last_layers = ("m_tail.", "m_up_tail.")

    def __init__(self, options: SCUNetOptions):
        # Sides are halved three times, then cut into windows.
        size_multiple = 2**3 * WINDOW
        super().__init__(options.n_channels, options.in_channels, options.scale, size_multiple, options.noise_residual)
        self.checkpointing = options.checkpointing
        self.ending = nn.Sigmoid() if options.use_sigmoid else nn.Identity()
        dim = options.dim
        drop_paths = iter(torch.linspace(0, options.drop_path, sum(options.config)).tolist())

        def blocks(stage: int, channels: int) -> list[nn.Module]:
            return [
                ConvTransformerBlock(channels, shifted=block % 2 == 1, drop_path=next(drop_paths))
                for block in range(options.config[stage])
            ]

        self.m_head = nn.Sequential(nn.Conv2d(self.core_channels, dim, 3, padding=1, bias=False))
        self.m_down1 = nn.Sequential(*blocks(0, dim), Halving(dim))
        self.m_down2 = nn.Sequential(*blocks(1, 2 * dim), Halving(2 * dim))
        self.m_down3 = nn.Sequential(*blocks(2, 4 * dim), Halving(4 * dim))
        self.m_body = nn.Sequential(*blocks(3, 8 * dim))
        self.m_up3 = nn.Sequential(Doubling(8 * dim), *blocks(4, 4 * dim))
        self.m_up2 = nn.Sequential(Doubling(4 * dim), *blocks(5, 2 * dim))
        self.m_up1 = nn.Sequential(Doubling(2 * dim), *blocks(6, dim))
        if self.scale == 1:
            self.m_tail = nn.Sequential(nn.Conv2d(dim, self.core_outputs, 3, padding=1, bias=False))
        else:
            self.m_up_tail = UpsamplingTail(dim, self.n_channels, self.scale)
            self.upsampling = BicubicUpsampling(self.n_channels, options.layout, self.scale)

    def core(self, degraded: Tensor) -> Tensor:
        full = as_planes(self.m_head, degraded.permute(0, 2, 3, 1).contiguous())
        half = self.stage(self.m_down1, full)
        quarter = self.stage(self.m_down2, half)
        eighth = self.stage(self.m_down3, quarter)
        x = self.stage(self.m_body, eighth)
        x = self.stage(self.m_up3, x + eighth)
        x = self.stage(self.m_up2, x + quarter)
        x = self.stage(self.m_up1, x + half)
        features = (x + full).permute(0, 3, 1, 2)
        if self.scale == 1:
            return self.ending(self.m_tail(features).to(degraded.dtype))
        return self.upsampling(degraded[:, : self.n_channels]) + self.m_up_tail(features).to(degraded.dtype)

    def stage(self, layers: nn.Sequential, image: Tensor) -> Tensor:
        for layer in layers:
            image = self.part(layer, image)
        return image
