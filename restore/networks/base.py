"""The base of every generator: the options of its section, and the properties that other code reads."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from options.base import Options
from restore.networks.padding import crop, pad_to_multiple
from transforms.conditioning import Conditioning
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
    """Planes of the network's input, the image's first; null: n_channels. 8 for packed raw with a NoiseLevelMap."""
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
    first_layer: ClassVar[str] = ""
    """The name of the weights of the convolution that all planes go into, the only one that knows their number;
    weights for another number can be adapted to it. Empty: none can."""
    last_layers: tuple[str, ...] = ()
    """What the names of the last layer's weights begin with, in networks of any scale: these alone depend on the planes
    that come out, and on the scale."""

    def __init__(self, n_channels: int, in_channels: int | None = None, scale: int = 1, size_multiple: int = 1):
        super().__init__()
        self.n_channels = n_channels
        """Planes of the restored image."""
        self.in_channels = in_channels or n_channels
        """Planes of the input: those of the degraded image, then others, such as a noise level map."""
        self.scale = scale
        """Side of the restored image / side of the degraded one."""
        self.size_multiple = size_multiple
        """H and W are padded to a multiple of this [pixels of the degraded image]."""

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout in memory in which weights and images are fastest."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def forward(self, degraded: Tensor) -> Tensor:
        height, width = degraded.shape[-2:]
        restored = self.core(self.pad(degraded, self.size_multiple))
        return crop(restored, self.scale * height, self.scale * width)

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
        """As forward, for H and W that are multiples of size_multiple."""
