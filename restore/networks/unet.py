"""A plain UNet: convolutions at several resolutions, each reached by halving the one above."""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from restore.networks.base import DenoiserOptions, Generator
from restore.networks.random_layers import ChannelDropout
from restore.networks.upsampling import BicubicUpsampling, UpsamplingTail

Width = Annotated[PositiveInt, Field(le=4096)]


class UNetOptions(DenoiserOptions):
    """Plain UNet (after Ronneberger et al. 2015): 3x3 convolutions on levels of halved resolution, no normalisation."""

    class_name: Literal["UNet"] = "UNet"
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=10)] = (16, 32, 64, 128)
    """Channels of each level, from full resolution down; each level has half the height and width of the one before."""
    depth: Annotated[PositiveInt, Field(le=64)] = 2
    """3x3 convolutions of each level, on the way down and again on the way up."""
    blocks: Literal["plain", "residual"] = "plain"
    """plain: the convolutions of a level follow one another. residual: they go in pairs, and what a pair computes is
    added to what went into it (He et al. 2016), with one convolution more at the beginning; depth is even. A raw
    denoiser of widths 32 to 128 was 0.3 dB better by it at ISO 6400 and 0.5 dB at ISO 25600 after 1,000 updates, in 1.1
    times the time."""
    residual: bool = True
    """Adds the degraded image to the output, so that the network learns the difference alone. A scale above 1 needs it:
    then the degraded image is enlarged by bicubic interpolation first."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """In training, each channel that goes into the last convolution is set to 0 with this chance, and the others are
    scaled up. There, and by whole channels, since Kong et al. 2022 (Reflash Dropout in Image Super-Resolution) found it
    best at the end of the network, where it helps to restore degradations that were not trained on. Use it, from 0.1
    on, with chains that degrade in many ways, as RealEsrganDegradation; leave it at 0 where the degradation in use is
    the one trained on, as a camera's noise, and with few channels (widths)."""
    checkpointing: bool = False
    """Keeps only what goes into and out of each level for the gradient, and computes the rest a second time: the same
    updates with two thirds of the activations held and four fifths of the memory at its peak, in 1.3 times the time
    (widths 32 to 256, 2 crops of 128 x 128, CPU). Use it as the last resort where memory is short. To fit a larger
    batch alone, accumulation costs less time."""
    use_sigmoid: bool = False
    """Ends with a sigmoid, so that the output lies in 0..1; not together with residual."""

    @model_validator(mode="after")
    def _one_ending(self) -> Self:
        if self.residual and self.use_sigmoid:
            raise ValueError("residual and use_sigmoid exclude each other: a sum may leave 0..1; turn one of them off")
        if self.blocks == "residual" and self.depth % 2:
            raise ValueError(f"depth: {self.depth} given, but residual blocks take two convolutions each; make it even")
        if self.noise_residual and not self.residual:
            raise ValueError(
                "residual: false given, but noise_residual adds the degraded image in any case; leave residual out"
            )
        if self.scale > 1 and not self.residual:
            raise ValueError("a scale above 1 needs residual: the enlarged image is added; leave residual true")
        return self

    @property
    def stages(self) -> tuple[int, ...]:
        return self.widths

    def build(self) -> "UNet":
        return UNet(self)


class UNet(Generator):
    """A plain UNet, whose sides are halved once for each level but the first.

    On the way up, what a level computed on the way down is added, rather than stacked: half the work at each level.
    """

    channels_last = True
    half_precision_safe = True
    first_layer = "down_levels.0.0.weight"
    last_layers = ("tail.", "up_tail.")
    margin = 16

    def __init__(self, options: UNetOptions):
        widths, depth = options.widths, options.depth
        layers = residual_blocks if options.blocks == "residual" else convolutions
        size_multiple = 2 ** (len(widths) - 1)
        super().__init__(options.n_channels, options.in_channels, options.scale, size_multiple, options.noise_residual)
        self.residual = options.residual and not options.noise_residual
        self.checkpointing = options.checkpointing
        steps = list(pairwise(widths))  # (fine, coarse) channels of each halving
        self.down_levels = nn.ModuleList(
            layers(width if level else self.core_channels, width, depth) for level, width in enumerate(widths)
        )
        self.halvings = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.doublings = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps)
        self.up_levels = nn.ModuleList(layers(fine, fine, depth) for fine, _ in steps)
        self.upsampling: nn.Module = nn.Identity()
        if self.scale == 1:
            self.tail = nn.Conv2d(widths[0], self.core_outputs, 3, padding=1)
        else:
            self.up_tail = UpsamplingTail(widths[0], self.n_channels, self.scale)
            self.upsampling = BicubicUpsampling(self.n_channels, options.layout, self.scale)
        self.dropout = ChannelDropout(options.dropout)
        self.ending = nn.Sigmoid() if options.use_sigmoid else nn.Identity()

    def core(self, degraded: Tensor) -> Tensor:
        finest, *coarser = self.down_levels
        kept = [self.part(finest, degraded)]
        for halving, level in zip(self.halvings, coarser, strict=True):
            kept.append(self.part(level, halving(kept[-1])))
        features = kept.pop()
        for doubling, level in zip(reversed(self.doublings), reversed(self.up_levels), strict=True):
            features = self.part(level, doubling(features) + kept.pop())
        tail = self.tail if self.scale == 1 else self.up_tail
        # In the image's own precision: under autocast the tail gives 8 or 11 bits, too few for an image.
        restored = self.ending(tail(self.dropout(features)).to(degraded.dtype))
        return self.upsampling(degraded[:, : self.n_channels]) + restored if self.residual else restored


def convolutions(channels_in: int, channels_out: int, depth: int) -> nn.Sequential:
    """3x3 convolutions, each with a ReLU behind it. (B, channels_in, H, W) -> (B, channels_out, H, W)."""
    layers: list[nn.Module] = []
    for channels in [channels_in] + [channels_out] * (depth - 1):
        layers += [nn.Conv2d(channels, channels_out, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a ReLU between them, added to what goes in. (B, channels, H, W) both ways.

    The second begins at 0, so that a new network is as shallow as its other layers, and trains at high learning rates
    (Zhang et al., Fixup Initialization, 2019).
    """

    def __init__(self, channels: int):
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        for parameter in second.parameters():
            nn.init.zeros_(parameter)
        self.layers = nn.Sequential(first, nn.ReLU(inplace=True), second)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.layers(features)


def residual_blocks(channels_in: int, channels_out: int, depth: int) -> nn.Sequential:
    """As convolutions: depth / 2 residual blocks, behind a convolution where the channels change."""
    entry = [nn.Conv2d(channels_in, channels_out, 3, padding=1)] if channels_in != channels_out else []
    return nn.Sequential(*entry, *(ResidualBlock(channels_out) for _ in range(depth // 2)))
