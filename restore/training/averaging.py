"""The moving average of a network's weights over the updates, which restores better than the weights of any one."""

import copy
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from options.base import Options
from restore.networks.base import Generator


class EMA(Options):
    """Validates and saves the exponential moving average of the generator's weights instead of the weights themselves.

    Use it with an adversarial loss, with small batches and with a constant learning rate, where the weights of one
    update are as good as its batch happened to be. It gains little where the learning rate falls to nearly 0 by the
    end, as along a cosine. Leave it out of runs of a few hundred updates, which the average would lag behind. It
    takes the memory of one more generator.
    """

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """Share of the average that an update leaves: 0.999 averages over about the last thousand updates. In the first
    ones it is lower, (1 + n) / (10 + n) after n updates, so that the random weights of the beginning are forgotten."""


class Average:
    """The exponential moving average of a network's weights; buffers, such as running statistics, are the network's."""

    def __init__(self, network: Generator, decay: float):
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Takes in the network's weights after an update."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        get_ema_multi_avg_fn(decay)(list(self.network.parameters()), list(network.parameters()), self.updates)
        for mean, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            mean.copy_(buffer)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "network": self.network.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.updates = state["updates"]
