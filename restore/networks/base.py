"""The base of every generator: the options of its section, and the properties that other code reads."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from options.base import Options
from restore.networks.padding import crop, pad_to_multiple
from transforms.conditioning import LEAST_DEVIATION, Conditioning
from transforms.sensor.layout import LAYOUTS, Layout

StateDict = Mapping[str, Tensor]
"""The weights of a network by their names."""
Planes = Annotated[PositiveInt, Field(le=1024)]


class NetworkOptions(Options):
    """The section "generator" of an option file; each network adds its own options to these."""

    class_name: str
    needed_conditioning: ClassVar[type[Conditioning] | None] = None
    """The conditioning that the chains must have, of a network that cannot do without it; None: any, or none."""
    n_channels: Planes
    """Planes of the image: 4 for packed raw (R, G1, G2, B), 3 for sRGB."""
    in_channels: Planes | None = None
    """Planes of the network's input, the image's first; null: n_channels. 8 for packed raw with a NoiseLevelMap,
    or with a VarianceStabilization that has noise_level."""
    scale: int = Field(default=1, ge=1, le=4)
    """Side of the restored image / side of the degraded one."""
    use_sigmoid: bool = False
    """Ends with a sigmoid, so that the output lies in 0..1."""

    @property
    def layout(self) -> Layout | None:
        """What the image's planes are: of the known layouts the one with n_channels planes; None: there is none."""
        return next((layout for layout in LAYOUTS.values() if layout.channels == self.n_channels), None)

    @property
    def stages(self) -> tuple[int, ...]:
        """One number for each stage of the network, if it has stages; the information file has them as "config"."""
        return ()

    @property
    def file(self) -> str | None:
        """The model's file that describes the network and holds its weights; None: the options describe it."""
        return None

    def build(self) -> "Generator":
        """A network with random weights, or those of its file."""
        raise NotImplementedError


class DenoiserOptions(NetworkOptions):
    """A network that may be told how strong the noise is."""

    noise_residual: bool = False
    """What the network computes is multiplied by the noise's standard deviation and added to the degraded image: it
    learns the noise in units of its strength, so that one model serves all ISO speeds, and an image without noise
    passes unchanged. Use it for every new raw denoiser, with a NoiseLevelMap or a VarianceStabilization with
    noise_level, and with losses with noise_units. Not for pairs whose noise is not known."""

    @model_validator(mode="after")
    def _knows_the_noise(self) -> Self:
        if not self.noise_residual:
            return self
        if self.in_channels != 2 * self.n_channels:
            raise ValueError(
                f"noise_residual: true given with in_channels {json.dumps(self.in_channels)}; the noise's standard "
                f"deviation comes in a further plane for each: set in_channels to {2 * self.n_channels}"
            )
        if self.scale > 1 or self.use_sigmoid:
            raise ValueError(
                "noise_residual: true given with a scale above 1 or use_sigmoid, which it excludes; leave one out"
            )
        return self


class Generator(nn.Module, ABC):
    """Restores (B, in_channels, H, W) -> (B, n_channels, scale * H, scale * W) of the same dtype, for any H and W.

    The network computes in `core`, on images whose sides are multiples of size_multiple; forward pads and crops.
    Both images show the same area: pixel i of a side of the degraded one has the light around pixel
    scale * i + (scale - 1) / 2 of the restored one. For packed raw these are pixels of the mosaics, not of the planes.
    """

    channels_last: bool = False
    """Whether weights and images in channels-last memory are faster."""
    half_precision_safe: bool = False
    """Whether it trains and restores under autocast to float16 and bfloat16."""
    checkpointing: bool = False
    """Whether `part` keeps little for the gradient."""
    pad = staticmethod(pad_to_multiple)
    """What makes the sides multiples of size_multiple."""
    margin: int = 0
    """When whole images are restored, they go on so far beyond their edges as their own mirror image [pixels of the
    degraded image]: there the convolutions see zeros instead, as they do at the edges of training crops."""
    first_layer: ClassVar[str] = ""
    """The name of the weights of the convolution that all planes go into, the only one that knows their number;
    weights for another number can be adapted to it. Empty: none can."""
    last_layers: tuple[str, ...] = ()
    """What the names of the last layer's weights begin with, in networks of any scale: these alone depend on the planes
    that come out, and on the scale."""

    def __init__(
        self,
        n_channels: int,
        in_channels: int | None = None,
        scale: int = 1,
        size_multiple: int = 1,
        noise_residual: bool = False,
    ):
        super().__init__()
        self.n_channels = n_channels
        """Planes of the restored image."""
        self.in_channels = in_channels or n_channels
        """Planes of the input: those of the degraded image, then others, such as a noise level map."""
        self.scale = scale
        """Side of the restored image / side of the degraded one."""
        self.size_multiple = size_multiple
        """H and W are padded to a multiple of this [pixels of the degraded image]."""
        self.noise_residual = noise_residual
        """Whether core gives not the restored image but what to add to the degraded one, in units of the noise's
        standard deviation, and how certain that is, before a sigmoid: a factor near 0 leaves a strong texture alone,
        which is easier to learn than a sum that cancels."""
        self.core_channels = self.in_channels + (n_channels if noise_residual else 0)
        """Planes that core takes."""
        self.core_outputs = n_channels * (2 if noise_residual else 1)
        """Planes that core gives."""

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout in memory in which weights and images are fastest."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def forward(self, degraded: Tensor) -> Tensor:
        height, width = degraded.shape[-2:]
        padded = self.pad(degraded, self.size_multiple)
        restored = self._denoised(padded) if self.noise_residual else self.core(padded)
        return crop(restored, self.scale * height, self.scale * width)

    def _denoised(self, degraded: Tensor) -> Tensor:
        image, deviation = degraded.split(self.n_channels, dim=1)
        noise, certainty = self.core(torch.cat([image, *in_noise_units(image, deviation)], dim=1)).chunk(2, dim=1)
        return image + deviation * certainty.sigmoid() * noise

    def part(self, layers: nn.Module, image: Tensor) -> Tensor:
        """layers(image), for a subclass that has the option `checkpointing`: with it, a training keeps no more than the
        image that goes in, and computes the layers anew, with the same random numbers, when the gradient is asked for.
        """
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(layers, image, use_reentrant=False)
        return layers(image)

    def own_names(self, state_dict: StateDict) -> StateDict:
        """Weights from a file under the names of this network, where its authors publish them under others too.

        Raises UserError, without naming the file, for weights of another form that would not serve.
        """
        return state_dict

    @abstractmethod
    def core(self, degraded: Tensor) -> Tensor:
        """As forward, for H and W that are multiples of size_multiple: (B, core_channels, H, W) ->
        (B, core_outputs, scale * H, scale * W)."""


def in_noise_units(image: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """What a network is shown of an image's fine detail and of the strength of its noise; both (B, C, H, W).

    image      (B, C, H, W)
    deviation  the noise's standard deviation in each pixel, of the same shape and unit
    Returns the difference from the mean of 5 x 5 pixels in units of the noise, compressed so that edges do not drown
    it (asinh), and ln(deviation) / 5 + 1. In half precision the image itself has 8 bits, fewer than the detail between
    them that weak noise leaves.
    """
    deviation = deviation.clamp(min=LEAST_DEVIATION)
    mean = functional.avg_pool2d(image, 5, stride=1, padding=2, count_include_pad=False)
    return ((image - mean) / deviation).asinh(), deviation.log() / 5 + 1
