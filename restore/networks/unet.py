"""A plain UNet: convolutions at several resolutions, each reached by halving the one above."""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from options.base import Options
from restore.networks.padding import crop, pad_to_multiple

Planes = Annotated[PositiveInt, Field(le=1024)]
Width = Annotated[PositiveInt, Field(le=4096)]


class UNetOptions(Options):
    """Plain UNet (after Ronneberger et al. 2015): 3x3 convolutions on levels of halved resolution, no normalisation."""

    class_name: Literal["UNet"] = "UNet"
    n_channels: Planes
    """Planes of the image: 4 for packed raw (R, G1, G2, B), 3 for sRGB."""
    in_channels: Planes | None = None
    """Planes that go in, the image's first; null: the image's alone. 8 with a NoiseLevelMap."""
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=10)] = (16, 32, 64, 128)
    """Channels of each level, from full resolution down; each level has half the height and width of the one before."""
    depth: Annotated[PositiveInt, Field(le=64)] = 2
    """3x3 convolutions of each level, on the way down and again on the way up."""
    residual: bool = True
    """Adds the degraded image to the output, so that the network learns the difference alone."""
    use_sigmoid: bool = False
    """Ends with a sigmoid, so that the output lies in 0..1; not together with residual."""

    @model_validator(mode="after")
    def _one_ending(self) -> Self:
        if self.residual and self.use_sigmoid:
            raise ValueError("residual and use_sigmoid exclude each other: a sum may leave 0..1; turn one of them off")
        return self

    def build(self) -> nn.Module:
        """A network with random weights."""
        return UNet(self)


class UNet(nn.Module):
    """Restores (B, in_channels, H, W) -> (B, n_channels, H, W) of the same dtype, for any H and W.

    On the way up, what a level computed on the way down is added, rather than stacked: half the work at each level.
    """

    channels_last = True
    """Whether weights and images in channels-last memory are faster."""
    half_precision_safe = True
    """Whether it trains and restores under autocast to float16 and bfloat16."""

    def __init__(self, options: UNetOptions):
        super().__init__()
        self.n_channels = options.n_channels
        channels_in = options.in_channels or options.n_channels
        self.residual = options.residual
        widths, depth = options.widths, options.depth
        self.size_multiple = 2 ** (len(widths) - 1)
        """What H and W are padded to a multiple of inside [pixels]."""
        steps = list(pairwise(widths))  # (fine, coarse) channels of each halving
        self.down_levels = nn.ModuleList(
            convolutions(width if level else channels_in, width, depth) for level, width in enumerate(widths)
        )
        self.halvings = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.doublings = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps)
        self.up_levels = nn.ModuleList(convolutions(fine, fine, depth) for fine, _ in steps)
        self.tail = nn.Conv2d(widths[0], options.n_channels, 3, padding=1)
        self.ending = nn.Sigmoid() if options.use_sigmoid else nn.Identity()

    def forward(self, degraded: Tensor) -> Tensor:
        height, width = degraded.shape[-2:]
        finest, *coarser = self.down_levels
        kept = [finest(pad_to_multiple(degraded, self.size_multiple))]
        for halving, level in zip(self.halvings, coarser, strict=True):
            kept.append(level(halving(kept[-1])))
        features = kept.pop()
        for doubling, level in zip(reversed(self.doublings), reversed(self.up_levels), strict=True):
            features = level(doubling(features) + kept.pop())
        # In the image's own precision: under autocast the tail gives 8 or 11 bits, too few for an image.
        restored = self.ending(crop(self.tail(features), height, width).to(degraded.dtype))
        return degraded[:, : self.n_channels] + restored if self.residual else restored


def convolutions(channels_in: int, channels_out: int, depth: int) -> nn.Sequential:
    """3x3 convolutions, each with a ReLU behind it. (B, channels_in, H, W) -> (B, channels_out, H, W)."""
    layers: list[nn.Module] = []
    for channels in [channels_in] + [channels_out] * (depth - 1):
        layers += [nn.Conv2d(channels, channels_out, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
