"""Networks that tell clean images from restored ones. A high logit means clean.

There is no sigmoid at the end. The losses run them in float32 on float32 images.
"""

from abc import ABC, abstractmethod
from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from options.base import Options
from options.errors import UserError

Width = Annotated[PositiveInt, Field(le=4096)]
SLOPE = 0.2  # of every LeakyReLU, as in both sources


class DiscriminatorBase(Options):
    """The section "discriminator" of an option file; each network adds its own options to these."""

    class_name: str

    @property
    @abstractmethod
    def smallest_side(self) -> int:
        """The shortest side of an image that it takes [pixels]."""

    @property
    def uses_batch_norm(self) -> bool:
        """Whether an image's logits depend on the other images of the batch; no gradient penalty allows that."""
        return False

    @abstractmethod
    def build(self, n_channels: int) -> "Discriminator":
        """A network with random weights, for images of n_channels planes."""


class Discriminator(nn.Module, ABC):
    """(B, C, H, W) -> logits (B, 1, h, w): high where the image looks clean. H and W are smallest_side or more."""

    def __init__(self, smallest_side: int):
        super().__init__()
        self.smallest_side = smallest_side

    def forward(self, image: Tensor) -> Tensor:
        """Raises UserError where a side is too short."""
        height, width = image.shape[-2:]
        side = self.smallest_side
        if min(height, width) < side:
            raise UserError(
                f"discriminator: images of {height} x {width} pixels given; it needs {side} x {side} or more: "
                "larger crops"
            )
        return self.logits(image)

    @abstractmethod
    def logits(self, image: Tensor) -> Tensor:
        """As forward, for images that are large enough."""


class PatchDiscriminatorOptions(DiscriminatorBase):
    """PatchGAN (Isola et al. 2017): a logit for every patch, 70 x 70 pixels with 3 layers."""

    class_name: Literal["PatchDiscriminator"] = "PatchDiscriminator"
    width: Width = 64
    """Channels of the first layer, doubled by each following one up to eight times."""
    n_layers: Annotated[PositiveInt, Field(le=8)] = 3
    """Layers that halve the image; a patch measures 16, 34, 70, 142 pixels with 1, 2, 3, 4."""
    norm: Literal["none", "instance", "batch"] = "none"
    """Normalisation between layers. "none" suits wgan best: "instance" divides by the contrast, small in smooth
    crops, so that a gradient penalty starts at hundreds, and "batch" can't be used with one."""

    @property
    def smallest_side(self) -> int:
        return 3 * 2**self.n_layers

    @property
    def uses_batch_norm(self) -> bool:
        return self.norm == "batch"

    def build(self, n_channels: int) -> "PatchDiscriminator":
        return PatchDiscriminator(self, n_channels)


class UNetDiscriminatorOptions(DiscriminatorBase):
    """UNet with spectral normalisation (Wang et al. 2021, Real-ESRGAN): a logit for every pixel."""

    class_name: Literal["UNetDiscriminator"] = "UNetDiscriminator"
    width: Width = 64
    """Channels at full resolution, doubled at each of the three halvings."""

    @property
    def smallest_side(self) -> int:
        return 2**3

    def build(self, n_channels: int) -> "UNetDiscriminator":
        return UNetDiscriminator(self, n_channels)


class PatchDiscriminator(Discriminator):
    """(B, C, H, W) -> (B, 1, h, w), a logit for each of the overlapping patches; h = H/8 - 2 with 3 layers.

    Source: Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, 2017, appendix 6.1.2;
    theirs gets the degraded image as well, this one does not. H and W are smallest_side or more: 24 with 3 layers.
    """

    def __init__(self, options: PatchDiscriminatorOptions, n_channels: int):
        super().__init__(options.smallest_side)
        layers = [nn.Conv2d(n_channels, options.width, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        channels = options.width
        for depth in range(1, options.n_layers + 1):
            wider = options.width * min(2**depth, 8)
            stride = 2 if depth < options.n_layers else 1
            # A normalisation has a bias of its own.
            layers.append(nn.Conv2d(channels, wider, 4, stride, padding=1, bias=options.norm == "none"))
            layers += [*_normalisation(options.norm, wider), nn.LeakyReLU(SLOPE)]
            channels = wider
        layers.append(nn.Conv2d(channels, 1, 4, padding=1))
        self.layers = nn.Sequential(*layers)
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.02)

    def logits(self, image: Tensor) -> Tensor:
        return self.layers(image)


class UNetDiscriminator(Discriminator):
    """(B, C, H, W) -> (B, 1, H, W), a logit for each pixel, computed from its surroundings. H and W are 8 or more.

    Source: Wang et al., Real-ESRGAN, 2021, section 3.3 and figure 6. Where theirs doubles the size on the way up, this
    one goes to the size that the way down had, so that sides need be no multiple of 8.
    """

    def __init__(self, options: UNetDiscriminatorOptions, n_channels: int):
        super().__init__(options.smallest_side)
        width = options.width
        self.head = nn.Conv2d(n_channels, width, 3, padding=1)
        self.down = nn.ModuleList(
            spectral_norm(nn.Conv2d(width * 2**level, width * 2 ** (level + 1), 4, 2, padding=1, bias=False))
            for level in range(3)
        )
        self.up = nn.ModuleList(
            spectral_norm(nn.Conv2d(width * 2 ** (level + 1), width * 2**level, 3, padding=1, bias=False))
            for level in reversed(range(3))
        )
        self.body = nn.ModuleList(spectral_norm(nn.Conv2d(width, width, 3, padding=1, bias=False)) for _ in range(2))
        self.tail = nn.Conv2d(width, 1, 3, padding=1)

    def logits(self, image: Tensor) -> Tensor:
        features = _activated(self.head(image))
        skipped = []
        for layer in self.down:
            skipped.append(features)
            features = _activated(layer(features))
        for layer in self.up:
            beside = skipped.pop()
            features = functional.interpolate(features, size=beside.shape[-2:], mode="bilinear", align_corners=False)
            features = _activated(layer(features)) + beside
        for layer in self.body:
            features = _activated(layer(features))
        return self.tail(features)


def _activated(features: Tensor) -> Tensor:
    return functional.leaky_relu(features, SLOPE)


def _normalisation(norm: str, channels: int) -> list[nn.Module]:
    match norm:
        case "instance":
            return [nn.InstanceNorm2d(channels, affine=True)]
        case "batch":
            return [nn.BatchNorm2d(channels)]
        case _:
            return []
