"""SPAN: a small network whose blocks weigh their features by an attention that has no parameters of its own.

Source: Wan et al., Swift Parameter-free Attention Network for Efficient Super-Resolution, 2023 (arXiv 2311.12770), and
the network that its authors publish: names, shapes and outputs are theirs, so their weights load unchanged.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from options.errors import UserError
from restore.networks.base import Generator, NetworkOptions, StateDict

RGB_MEAN = (0.4488, 0.4371, 0.4040)
"""Taken from sRGB images before the first layer: the mean of DIV2K."""
RANGE = 255
"""What sRGB images are multiplied by before the first layer; the output is in 0..1 again by what is learnt."""
GAIN = 2
"""Channels inside a trainable convolution / its channels outside."""
BLOCKS = 6


class SPANOptions(NetworkOptions):
    """SPAN (Wan et al. 2023), of the NTIRE challenges for efficient super-resolution: small, fast, for any scale."""

    class_name: Literal["SPAN"] = "SPAN"
    feature_channels: Annotated[PositiveInt, Field(le=4096)] = 48
    """Channels between the layers: 48 and 52 in the paper, 28 in the NTIRE challenges."""
    fused: bool = False
    """Whether each convolution is one of 3x3, as in files for use, of a quarter of the size; else it is the product of
    three and a shortcut, as it is trained. The output is the same, and weights of the second form load into the first.
    Leave it out to train, and give it to load a file without "sk" in its names."""
    use_sigmoid: Literal[False] = False
    """Not here: the published network ends without one."""

    def build(self) -> "SPAN":
        return SPAN(self)


class SPAN(Generator):
    """The published network. Images of other planes than sRGB's come in as they are: the published mean is sRGB's."""

    channels_last = True
    half_precision_safe = True
    last_layers = ("upsampler.",)
    mean: Tensor

    def __init__(self, options: SPANOptions):
        super().__init__(options.n_channels, options.in_channels, options.scale)
        width = options.feature_channels
        convolution = FusedConvolution if options.fused else TrainableConvolution
        if self.in_channels == len(RGB_MEAN):
            self.register_buffer("mean", torch.tensor(RGB_MEAN)[:, None, None], persistent=False)
        else:
            self.register_buffer("no_norm", torch.zeros(1))  # tells spandrel that nothing is subtracted
        self.conv_1 = convolution(self.in_channels, width)
        for number in range(1, BLOCKS + 1):
            self.add_module(f"block_{number}", AttentionBlock(width, convolution))
        self.conv_cat = nn.Conv2d(4 * width, width, 1)
        self.conv_2 = convolution(width, width)
        self.upsampler = nn.Sequential(
            nn.Conv2d(width, self.n_channels * self.scale**2, 3, padding=1), nn.PixelShuffle(self.scale)
        )

    def core(self, degraded: Tensor) -> Tensor:
        image = (degraded - self.mean) * RANGE if self.in_channels == len(RGB_MEAN) else degraded
        shallow = self.conv_1(image)
        features, first = shallow, shallow
        for number in range(1, BLOCKS + 1):
            # The last block's inner features go on activated, as the published network's activation works in place.
            features, inner = self.get_submodule(f"block_{number}")(features)
            first = features if number == 1 else first
        gathered = self.conv_cat(torch.cat([shallow, self.conv_2(features), first, inner], dim=1))
        return self.upsampler(gathered).to(degraded.dtype)

    def own_names(self, state_dict: StateDict) -> StateDict:
        as_trained = "conv_1.sk.weight" in state_dict
        if isinstance(self.conv_1, TrainableConvolution):
            if not as_trained and "conv_1.eval_conv.weight" in state_dict:
                raise UserError("the file's convolutions are fused, and generator.fused is false; set it to true")
            return state_dict
        if not as_trained:
            return state_dict
        # Weights as trained, for a network whose convolutions are fused.
        places = [name.removesuffix(".sk.weight") for name in state_dict if name.endswith(".sk.weight")]
        kept = {
            name: value for name, value in state_dict.items() if not name.startswith(tuple(f"{p}." for p in places))
        }
        for place in places:
            weight, bias = _product({name: state_dict[f"{place}.{name}"] for name in TRAINED})
            kept |= {f"{place}.eval_conv.weight": weight, f"{place}.eval_conv.bias": bias}
        return kept


class FusedConvolution(nn.Module):
    """A 3x3 convolution. (B, channels_in, H, W) -> (B, channels_out, H, W)."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        self.eval_conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        return self.eval_conv(features)


TRAINED = tuple(f"{layer}.{kind}" for layer in ("sk", "conv.0", "conv.1", "conv.2") for kind in ("weight", "bias"))


class TrainableConvolution(nn.Module):
    """The same map as the sum of a 1x1 convolution and a 1x1, 3x3 and 1x1 one in a row, which trains better.

    It is multiplied out before it meets the image, in training too: the gradients are those of the four convolutions
    one by one, in a fraction of the time and memory.
    """

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        self.sk = nn.Conv2d(channels_in, channels_out, 1)
        self.conv = nn.Sequential(
            nn.Conv2d(channels_in, GAIN * channels_in, 1),
            nn.Conv2d(GAIN * channels_in, GAIN * channels_out, 3),
            nn.Conv2d(GAIN * channels_out, channels_out, 1),
        )
        # In the files beside what it is the product of; it is brought up to date when a file is written.
        self.eval_conv = nn.Module()
        self.eval_conv.register_buffer("weight", torch.zeros(channels_out, channels_in, 3, 3))
        self.eval_conv.register_buffer("bias", torch.zeros(channels_out))
        self.register_state_dict_pre_hook(_bring_up_to_date)

    def forward(self, features: Tensor) -> Tensor:
        return functional.conv2d(features, *self.product(), padding=1)

    def product(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one 3x3 convolution."""
        with torch.autocast(self.sk.weight.device.type, enabled=False):  # a product of rounded weights is rounded twice
            return _product(dict(self.named_parameters()))


class AttentionBlock(nn.Module):
    """Three convolutions; what they give decides by its own size how much of itself is kept.

    (B, C, H, W) -> the block's output and its first layer's activated features, both of the same shape.
    """

    def __init__(self, width: int, convolution: type[FusedConvolution | TrainableConvolution]):
        super().__init__()
        self.c1_r = convolution(width, width)
        self.c2_r = convolution(width, width)
        self.c3_r = convolution(width, width)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        inner = functional.silu(self.c1_r(features))
        found = self.c3_r(functional.silu(self.c2_r(inner)))
        return (found + features) * (found.sigmoid() - 0.5), inner


def _product(trained: StateDict) -> tuple[Tensor, Tensor]:
    """The 3x3 convolution that gives what the trained ones give, also at the image's border: weight and bias.

    The 3x3 one sees the first one's bias beyond the border, as the image is padded with zeros before the first.
    """
    first, middle, last = (trained[f"conv.{number}.weight"] for number in range(3))
    weight = torch.einsum("om,mnyx,ni->oiyx", last[..., 0, 0], middle, first[..., 0, 0])
    weight = weight + functional.pad(trained["sk.weight"], (1, 1, 1, 1))
    inside = middle.sum((2, 3)) @ trained["conv.0.bias"] + trained["conv.1.bias"]
    return weight, last[..., 0, 0] @ inside + trained["conv.2.bias"] + trained["sk.bias"]


def _bring_up_to_date(convolution: nn.Module, prefix: str, keep_vars: bool) -> None:
    assert isinstance(convolution, TrainableConvolution)
    with torch.no_grad():
        for held, value in zip(convolution.eval_conv.buffers(), convolution.product(), strict=True):
            held.copy_(value)
