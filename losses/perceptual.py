"""Terms that compare two images by what a network trained on photographs sees in them.

All of them are called with (restored, clean), both (B, 3, H, W) sRGB float32 in 0..1, and return a scalar. Their
networks are frozen and stay in evaluation mode: gradients reach the restored image and nothing else.
"""

import warnings
from typing import ClassVar, Literal, get_args

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from losses.backbones import convolution_weights
from losses.term import TermOptions, Weight
from options.base import PathText

# The convolutions of VGG19, counted by block and within it.
VggLayer = Literal[
    "conv1_1", "conv1_2",
    "conv2_1", "conv2_2",
    "conv3_1", "conv3_2", "conv3_3", "conv3_4",
    "conv4_1", "conv4_2", "conv4_3", "conv4_4",
    "conv5_1", "conv5_2", "conv5_3", "conv5_4",
]  # fmt: skip
# Their places in torchvision's list of layers, where a ReLU follows each and a pooling each block.
VGG19_PLACES = dict(zip(get_args(VggLayer), (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34), strict=True))

# Means and standard deviations of ImageNet's sRGB in 0..1: what torchvision's networks were trained on.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FeatureOptions(TermOptions):
    """What the perceptual terms have in common."""

    family: ClassVar = "feature"
    weights_path: PathText | None = None
    """File with the network's weights as torchvision publishes them; null: from torchvision's cache or by download."""


class LpipsVgg(FeatureOptions):
    """LPIPS through VGG16 (Zhang et al. 2018)."""

    class_name: Literal["lpips_vgg"] = "lpips_vgg"

    def build(self) -> nn.Module:
        return LpipsTerm("vgg", convolution_weights("vgg16", self.weights_path))


class LpipsAlex(FeatureOptions):
    """LPIPS through AlexNet (Zhang et al. 2018)."""

    class_name: Literal["lpips_alex"] = "lpips_alex"

    def build(self) -> nn.Module:
        return LpipsTerm("alex", convolution_weights("alexnet", self.weights_path))


class LpipsSqueeze(FeatureOptions):
    """LPIPS through SqueezeNet 1.1 (Zhang et al. 2018)."""

    class_name: Literal["lpips_squeeze"] = "lpips_squeeze"

    def build(self) -> nn.Module:
        return LpipsTerm("squeeze", convolution_weights("squeezenet1_1", self.weights_path))


class Vgg(FeatureOptions):
    """Mean absolute difference of VGG19's features before their ReLU (Wang et al. 2018)."""

    class_name: Literal["vgg"] = "vgg"
    layers: dict[VggLayer, Weight] = Field(
        default={"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}, min_length=1
    )
    """Weight of each layer's difference [1]; the default is that of Real-ESRGAN (Wang et al. 2021)."""

    def build(self) -> nn.Module:
        return VggTerm(self.layers, convolution_weights("vgg19", self.weights_path))


class FrozenTerm(nn.Module):
    """A term whose network never learns and never leaves evaluation mode."""

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(False)

    def freeze(self) -> None:
        self.requires_grad_(False).eval()


class LpipsTerm(FrozenTerm):
    """The learned perceptual distance, mean over the batch.

    Source: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, 2018, version 0.1.

    backbone      the lpips package's name of the network
    convolutions  its weights, as convolution_weights gives them; the calibrated layers come with the package
    """

    def __init__(self, backbone: str, convolutions: dict[str, Tensor]):
        super().__init__()
        import lpips

        # The package fills the backbone with random numbers first: not at the expense of the run's own.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it calls torchvision by a deprecated argument
            self.network = lpips.LPIPS(net=backbone, pnet_rand=True, verbose=False)
        # The package cuts torchvision's list of layers into slices, and keeps the numbers: slice2.5.weight is 5.weight.
        backbone_names = self.network.net.state_dict()
        self.network.net.load_state_dict({name: convolutions[name.split(".", 1)[1]] for name in backbone_names})
        self.freeze()

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        with torch.no_grad():
            aims = self.directions(clean)
        pairs = zip(self.network.lins, self.directions(restored), aims, strict=True)
        return sum(calibrated((seen - aim).square()).mean() for calibrated, seen, aim in pairs)

    def directions(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in 0..1 -> (B, C, h, w) of each layer: its features at each place, scaled to the length 1."""
        layers = self.network.net(self.network.scaling_layer(2 * image - 1))  # the package's networks expect -1..1
        # The package takes the root of a sum of squares, whose gradient is NaN where no feature of a place is active.
        return [features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + 1e-10) for features in layers]


class VggTerm(FrozenTerm):
    """Sum over layers of weight * mean |features(restored) - features(clean)|, features before the ReLU.

    Source: Wang et al., ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks, 2018, section 3.3.

    layers        weight of each layer by its name
    convolutions  their weights, as convolution_weights gives them
    """

    def __init__(self, layers: dict[str, float], convolutions: dict[str, Tensor]):
        super().__init__()
        from torchvision.models import vgg19

        self.weights = {VGG19_PLACES[name]: weight for name, weight in layers.items()}
        with torch.random.fork_rng(devices=[]):  # as above
            self.network = vgg19(weights=None, init_weights=False).features[: max(self.weights) + 1]
        for layer in self.network:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False  # it would overwrite the features before it
        self.network.load_state_dict({name: convolutions[name] for name in self.network.state_dict()})
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.freeze()

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        with torch.no_grad():
            aim = self.features(clean)
        seen = self.features(restored)
        return sum(weight * functional.l1_loss(seen[place], aim[place]) for place, weight in self.weights.items())

    def features(self, image: Tensor) -> dict[int, Tensor]:
        """(B, 3, H, W) in 0..1 -> (B, C, h, w) by the place of each layer asked for."""
        seen = {}
        features = (image - self.mean) / self.std
        for place, layer in enumerate(self.network):
            features = layer(features)
            if place in self.weights:
                seen[place] = features
        return seen
