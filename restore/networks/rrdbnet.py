"""RRDBNet: the network of ESRGAN and Real-ESRGAN, residual blocks of densely connected convolutions.

Source: Wang et al., ESRGAN, 2018 (arXiv 1809.00219); below scale 4 as in Wang et al., Real-ESRGAN, 2021 (arXiv
2107.10833). Names, shapes and outputs are those that BasicSR publishes, so the weights of all of them load unchanged;
those of the two older namings are renamed when they are loaded.
"""

import re
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from restore.networks.base import Generator, NetworkOptions, StateDict
from restore.networks.padding import mirror_to_multiple

SHARE = 0.2
"""What each block adds of what it computed to the image that it got."""
OLDER_NAMES = {
    r"^(RRDB_trunk|model\.1\.sub)\.(\d+)\.RDB(\d)\.conv(\d)(\.0)?\.": r"body.\2.rdb\3.conv\4.",
    r"^(trunk_conv|model\.1\.sub\.\d+)\.": "conv_body.",
    r"^model\.0\.": "conv_first.",
    r"^(upconv1|model\.3)\.": "conv_up1.",
    r"^(upconv2|model\.6)\.": "conv_up2.",
    r"^(HRconv|model\.8)\.": "conv_hr.",
    r"^model\.10\.": "conv_last.",
}
"""The names in BSRGAN's and RealSR's files, and in those of ESRGAN's first version, as most of the community has it."""


class RRDBNetOptions(NetworkOptions):
    """RRDBNet (Wang et al. 2018, ESRGAN): dense residual blocks at one resolution; slow and thorough."""

    class_name: Literal["RRDBNet"] = "RRDBNet"
    scale: Literal[1, 2, 4] = 4
    """Side of the restored image / side of the degraded one. The network always enlarges by 4: below that, pixels of
    the degraded image become planes of a smaller one first, so scale 1 and 2 are faster than 4."""
    num_feat: Annotated[PositiveInt, Field(le=4096)] = 64
    """Channels between the blocks."""
    num_block: Annotated[PositiveInt, Field(le=256)] = 23
    """Blocks, of 15 convolutions each: 23 in ESRGAN and RealESRGAN_x4plus, 6 in RealESRGAN_x4plus_anime_6B."""
    num_grow_ch: Annotated[PositiveInt, Field(le=4096)] = 32
    """Channels that each convolution of a block adds to those that the next one sees."""
    checkpointing: bool = False
    """Keeps only what goes into and out of each block for the gradient, and computes the rest a second time: less
    memory and longer updates. To fit a larger batch alone, accumulation costs less time."""
    use_sigmoid: Literal[False] = False
    """Not here: the published network ends without one."""

    def build(self) -> "RRDBNet":
        return RRDBNet(self)


class RRDBNet(Generator):
    """The published network."""

    channels_last = True
    half_precision_safe = True
    pad = staticmethod(mirror_to_multiple)
    first_layer = "conv_first.weight"
    last_layers = ("conv_last.",)

    def __init__(self, options: RRDBNetOptions):
        self.unshuffle = 4 // options.scale
        """Side of the square of pixels that becomes planes."""
        super().__init__(options.n_channels, options.in_channels, options.scale, size_multiple=self.unshuffle)
        self.checkpointing = options.checkpointing
        width = options.num_feat
        self.conv_first = nn.Conv2d(self.in_channels * self.unshuffle**2, width, 3, padding=1)
        self.body = nn.Sequential(
            *(ResidualInResidualDenseBlock(width, options.num_grow_ch) for _ in range(options.num_block))
        )
        self.conv_body = nn.Conv2d(width, width, 3, padding=1)
        self.conv_up1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_up2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_hr = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, self.n_channels, 3, padding=1)

    def core(self, degraded: Tensor) -> Tensor:
        shallow = self.conv_first(functional.pixel_unshuffle(degraded, self.unshuffle))
        features = shallow
        for block in self.body:
            features = self.part(block, features)
        features = shallow + self.conv_body(features)
        for convolution in (self.conv_up1, self.conv_up2):
            features = _activated(convolution(functional.interpolate(features, scale_factor=2, mode="nearest")))
        return self.conv_last(_activated(self.conv_hr(features))).to(degraded.dtype)

    def own_names(self, state_dict: StateDict) -> StateDict:
        renamed = {_renamed(name): weights for name, weights in state_dict.items()}
        # Of another scale the first layer has other pixels for planes, as their number alone tells.
        other_scales = {self.n_channels * side**2 for side in (1, 2, 4)} - {self.conv_first.in_channels}
        if self.first_layer in renamed and renamed[self.first_layer].shape[1] in other_scales:
            del renamed[self.first_layer]
        return renamed


class ResidualInResidualDenseBlock(nn.Module):
    """Three dense blocks. (B, width, H, W) -> the same shape."""

    def __init__(self, width: int, growth: int):
        super().__init__()
        self.rdb1 = ResidualDenseBlock(width, growth)
        self.rdb2 = ResidualDenseBlock(width, growth)
        self.rdb3 = ResidualDenseBlock(width, growth)

    def forward(self, features: Tensor) -> Tensor:
        return features + SHARE * self.rdb3(self.rdb2(self.rdb1(features)))


class ResidualDenseBlock(nn.Module):
    """Five convolutions, each of which sees what all before it gave. (B, width, H, W) -> the same shape.

    They begin at a tenth of He's initial weights, as published, which keeps a deep network's first updates stable.
    """

    def __init__(self, width: int, growth: int):
        super().__init__()
        for number in range(1, 6):
            channels = width if number == 5 else growth
            convolution = nn.Conv2d(width + (number - 1) * growth, channels, 3, padding=1)
            nn.init.kaiming_normal_(convolution.weight).data.mul_(0.1)
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
            self.add_module(f"conv{number}", convolution)

    def forward(self, features: Tensor) -> Tensor:
        *convolutions, last = self.children()
        seen = [features]
        for convolution in convolutions:
            seen.append(_activated(convolution(torch.cat(seen, dim=1))))
        return features + SHARE * last(torch.cat(seen, dim=1))


def _activated(features: Tensor) -> Tensor:
    return functional.leaky_relu(features, 0.2, inplace=True)


def _renamed(name: str) -> str:
    for older, own in OLDER_NAMES.items():
        name, found = re.subn(older, own, name)
        if found:
            break
    return name
