"""Terms that compare two images by the features of a network trained on photographs.

All of them are called with (restored, clean), both (B, 3, H, W) sRGB float32 in 0..1, and return a scalar. Their
networks are frozen and stay in evaluation mode: gradients reach the restored image and nothing else.
"""

import warnings
from collections.abc import Mapping
from typing import ClassVar, Literal, Self, get_args

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

    def train(self, mode: bool = True) -> Self:
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

        # The package first draws random weights. The fork keeps the random state of the run unchanged.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package uses a deprecated argument of torchvision
            self.network = lpips.LPIPS(net=backbone, pnet_rand=True, verbose=False)
        # The package splits torchvision's layers into slices but keeps their numbers: slice2.5.weight is 5.weight.
        backbone_names = self.network.net.state_dict()
        self.network.net.load_state_dict({name: convolutions[name.split(".", 1)[1]] for name in backbone_names})
        self.freeze()

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        with torch.no_grad():
            targets = self.unit_features(clean)
        layers = zip(self.network.lins, self.unit_features(restored), targets, strict=True)
        distances = (calibrated((features - target).square()).mean() for calibrated, features, target in layers)
        return sum(distances, torch.zeros(()))

    def unit_features(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in 0..1 -> (B, C, h, w) of each layer: at each pixel the vector of features has length 1."""
        layers = self.network.net(self.network.scaling_layer(2 * image - 1))  # the package's networks expect -1..1
        # Not the package's own normalisation: its gradient is NaN where all features of a pixel are 0.
        return [features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + 1e-10) for features in layers]


class VggTerm(FrozenTerm):
    """Sum over layers of weight * mean |features(restored) - features(clean)|, features before the ReLU.

    Source: Wang et al., ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks, 2018, section 3.3.

    layers        weight of each layer by its name
    convolutions  weights of the network, as convolution_weights gives them
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layers: Mapping[VggLayer, float], convolutions: dict[str, Tensor]):
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
            target = self.features(clean)
        features = self.features(restored)
        terms = (weight * functional.l1_loss(features[place], target[place]) for place, weight in self.weights.items())
        return sum(terms, torch.zeros(()))

    def features(self, image: Tensor) -> dict[int, Tensor]:
        """(B, 3, H, W) in 0..1 -> (B, C, h, w) for each layer with a weight, by its place."""
        selected = {}
        features = (image - self.mean) / self.std
        for place, layer in enumerate(self.network):
            features = layer(features)
            if place in self.weights:
                selected[place] = features
        return selected
