"""Layers that draw random numbers in training, for each sample of its own."""

from torch import Tensor, nn

from restore.compute.share import Share


class RandomLayer(nn.Module):
    """In training sets a part of each sample to zero and scales up what is left, so that the mean stays.

    probability  of being set to zero
    """

    share: Share | None = None
    """Which samples of a batch the layer gets; None: all of them."""

    def __init__(self, probability: float):
        super().__init__()
        self.probability = probability

    def dropped(self, features: Tensor, *drawn: int) -> Tensor:
        """features  (B, ...)
        drawn     the shape of the numbers that each sample draws, one for each part that is kept or not
        """
        if not (self.training and self.probability):
            return features
        share = self.share or Share(len(features))
        kept = share.uniform(*drawn, device=features.device) >= self.probability
        return features * (kept / (1 - self.probability)).to(features.dtype)


class StochasticDepth(RandomLayer):
    """Sets a residual branch (B, H, W, C) to zero for some of the samples.

    Source: Huang et al., Deep Networks with Stochastic Depth, 2016.
    """

    def forward(self, branch: Tensor) -> Tensor:
        return self.dropped(branch, 1, 1, 1)


class ChannelDropout(RandomLayer):
    """Sets some of the channels of each sample to zero, (B, C, H, W).

    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.
    """

    def forward(self, features: Tensor) -> Tensor:
        return self.dropped(features, features.shape[1], 1, 1)
