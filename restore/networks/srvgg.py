"""SRVGGNetCompact: 3x3 convolutions at the degraded image's size, and a pixel shuffle.

Source: Wang et al., Real-ESRGAN, 2021 (arXiv 2107.10833), and the network that its authors publish: names, shapes and
outputs of ordinary pictures are theirs, so their weights and the many of others load unchanged.
"""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from restore.networks.base import Generator, NetworkOptions
from restore.networks.upsampling import BicubicUpsampling

ACTIVATIONS = {
    "prelu": lambda channels: nn.PReLU(channels),
    "relu": lambda channels: nn.ReLU(inplace=True),
    "leakyrelu": lambda channels: nn.LeakyReLU(0.1, inplace=True),
}


class SRVGGNetCompactOptions(NetworkOptions):
    """SRVGGNetCompact (Wang et al. 2021, Real-ESRGAN), also called Compact: a row of 3x3 convolutions, for speed."""

    class_name: Literal["SRVGGNetCompact"] = "SRVGGNetCompact"
    num_feat: Annotated[PositiveInt, Field(le=4096)] = 64
    """Channels between the convolutions."""
    num_conv: Annotated[PositiveInt, Field(le=256)] = 16
    """Convolutions between the first and the last one: 16 in realesr-animevideov3, 32 in realesr-general-x4v3."""
    act_type: Literal["prelu", "relu", "leakyrelu"] = "prelu"
    """Activation behind each convolution but the last one; those of PReLU are learnt for each channel."""
    use_sigmoid: Literal[False] = False
    """Not here: the degraded image is added to the output, so the sum may leave 0..1."""

    def build(self) -> "SRVGGNetCompact":
        return SRVGGNetCompact(self)


class SRVGGNetCompact(Generator):
    """The published network; its output is added to the image enlarged by repeating each pixel.

    In a plane of a mosaic the repeated pixels would lie off their place in the larger plane, so a mosaic is enlarged by
    interpolation instead (restore.networks.upsampling). No published weights are for mosaics.
    """

    channels_last = True
    half_precision_safe = True
    first_layer = "body.0.weight"

    def __init__(self, options: SRVGGNetCompactOptions):
        super().__init__(options.n_channels, options.in_channels, options.scale)
        width, activation = options.num_feat, ACTIVATIONS[options.act_type]
        layers: list[nn.Module] = [nn.Conv2d(self.in_channels, width, 3, padding=1), activation(width)]
        for _ in range(options.num_conv):
            layers += [nn.Conv2d(width, width, 3, padding=1), activation(width)]
        self.last_layers = (f"body.{len(layers)}.",)
        self.body = nn.Sequential(*layers, nn.Conv2d(width, self.n_channels * self.scale**2, 3, padding=1))
        self.upsampler = nn.PixelShuffle(self.scale)
        mosaic = options.layout is not None and options.layout.cell > 1
        self.upsampling: nn.Module = (
            BicubicUpsampling(self.n_channels, options.layout, self.scale)
            if mosaic
            else nn.UpsamplingNearest2d(scale_factor=self.scale)
        )

    def core(self, degraded: Tensor) -> Tensor:
        # In the image's own precision: under autocast the last layer gives 8 or 11 bits, too few for an image.
        learnt = self.upsampler(self.body(degraded)).to(degraded.dtype)
        return self.upsampling(degraded[:, : self.n_channels]) + learnt
