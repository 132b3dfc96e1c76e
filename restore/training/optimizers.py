"""Optimisers, as the option file writes them."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor

from options.base import Options
from options.choices import Choices

LearningRate = Annotated[PositiveFloat, Field(le=10)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Decay = Annotated[NonNegativeFloat, Field(le=1)]


class Optimizer(Options):
    """What every optimiser has."""

    class_name: str
    initial_learning_rate: LearningRate = 1e-4
    """Learning rate of the first update; the schedule lowers it."""

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        raise NotImplementedError


class AdamOptions(Optimizer):
    """What Adam and AdamW have in common."""

    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    """Memory of the mean and of the mean square of the gradient."""
    weight_decay: Decay

    def settings(self) -> dict[str, Any]:
        # fused: one kernel for all parameters, 2.8 times the plain loop on two CPU cores.
        return {
            "lr": self.initial_learning_rate,
            "betas": self.betas,
            "weight_decay": self.weight_decay,
            "fused": True,
        }


class Adam(AdamOptions):
    """Adam (Kingma and Ba 2015)."""

    class_name: Literal["Adam"] = "Adam"
    weight_decay: Decay = 0.0
    """Pull of every weight towards 0, added to the gradient."""

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, **self.settings())


class AdamW(AdamOptions):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    class_name: Literal["AdamW"] = "AdamW"
    weight_decay: Decay = 0.01
    """Pull of every weight towards 0, apart from its gradient."""

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, **self.settings())


OPTIMIZERS = Choices(Optimizer, Adam, AdamW)
OptimizerOptions = Annotated[Optimizer, OPTIMIZERS]


FOUND_INF = "found_inf"
"""The attribute by which torch.amp.GradScaler tells a fused optimiser to leave an update out."""


def step_if(finite: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Makes the optimiser's update where `finite`, a bool on the device, is true.

    On CUDA and the CPU a fused optimiser leaves an update out by itself, and nothing waits for the device.
    """
    if finite.device.type in ("cuda", "cpu"):
        setattr(optimizer, FOUND_INF, (~finite).float())
        optimizer.step()
        delattr(optimizer, FOUND_INF)
    elif finite:
        optimizer.step()
