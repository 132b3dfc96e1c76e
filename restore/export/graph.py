"""A model as one module of torch, conditioning and its inverse included, for programs that know neither."""

from torch import Tensor, nn
from torch.nn import functional

from restore.inference.restorer import Restorer
from restore.networks.means import recorded
from transforms import NoiseProfile, RawMetadata
from transforms.sensor.cameras import NEUTRAL


class RestoringGraph(nn.Module):
    """Restores (1, channels, H, W) -> (1, channels, scale * H, scale * W), as the Restorer, without tiles.

    image       in the unit and the range of the model's layout, neither of which is clipped
    shot, read  (4,) of the noise's variance, shot * x + read; used by a model that has to know the noise
    H and W are multiples of the network's size_multiple, or padded by the network, and larger than its margin, by which
    the image is mirrored beyond its edges.
    """

    def __init__(self, restorer: Restorer):
        super().__init__()
        self.network = restorer.network
        self.chain = restorer.chain

    def forward(self, image: Tensor, shot: Tensor | None = None, read: Tensor | None = None) -> Tensor:
        if shot is None or read is None:
            return self._output(image)
        planes, metadata = self.chain.conditioned(image, RawMetadata(NEUTRAL, NoiseProfile(shot, read)))
        return recorded(self.network, self._output(planes), image, metadata)

    def _output(self, planes: Tensor) -> Tensor:
        """The network's output, as restore_tiled gives it."""
        if not (margin := self.network.margin):
            return self.network(planes)
        output = self.network(functional.pad(planes, (margin,) * 4, mode="reflect"))
        edge = self.network.scale * margin
        return output[..., edge:-edge, edge:-edge]
