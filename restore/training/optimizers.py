"""Optimisers, as the option file writes them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from options.base import Options
from options.choices import Choices

LearningRate = Annotated[PositiveFloat, Field(le=10)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Decay = Annotated[NonNegativeFloat, Field(le=1)]


class Optimizer(Options):
    """What every optimiser has."""

    class_name: str
    initial_learning_rate: LearningRate = 1e-4
    """Learning rate of the first update, or, with OneCycle or a warm-up, the one that it rises from or to. `python -m
    restore.train -opt FILE --find-lr` suggests one."""
    scale_learning_rate: Annotated[PositiveInt, Field(le=65536)] | None = None
    """The batch size that the learning rates of this file are meant for: they are all multiplied by batch_size divided
    by this (the linear rule). Use it to change batch_size alone, with SGD and a warm-up above all. Not with Adam over a
    wide range, where the right rate grows more slowly. null: the rates are taken as they are."""
    weight_decay: Decay = 0.0
    """Pull of every weight towards 0, added to its gradient. Use it where training photographs are few. Not with Adam,
    which divides it by the gradient's size: take AdamW."""
    decay_all: bool = False
    """Whether biases, normalisation layers and position tables decay as well. Only to repeat a training that did so."""

    def build(self, network: nn.Module) -> torch.optim.Optimizer:
        """An optimiser of the network's parameters."""
        raise NotImplementedError

    def scale(self, batch_size: int) -> float:
        """What the learning rates of the file are multiplied by."""
        return batch_size / self.scale_learning_rate if self.scale_learning_rate else 1.0

    def groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """The network's parameters: those that decay, then those that do not; one group where all are treated alike.

        Biases and the parameters of normalisation layers have one dimension; other parameters that should not decay
        are named in the attribute `no_weight_decay` of the module that holds them.
        """
        parameters = list(network.parameters())
        if self.decay_all or self.weight_decay == 0:
            return [{"params": parameters}]
        named = {
            id(getattr(module, name)) for module in network.modules() for name in getattr(module, "no_weight_decay", ())
        }
        kept = [parameter.ndim <= 1 or id(parameter) in named for parameter in parameters]
        groups: list[dict[str, Any]] = [
            {"params": [parameter for parameter, still in zip(parameters, kept, strict=True) if not still]},
            {"params": [parameter for parameter, still in zip(parameters, kept, strict=True) if still]},
        ]
        groups[1]["weight_decay"] = 0.0
        return [group for group in groups if group["params"]]


class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    Use it with OneCycle, or to repeat a training that did. Not for transformers and GANs, which it trains badly; and it
    wants a learning rate some 100 times Adam's.
    """

    class_name: Literal["SGD"] = "SGD"
    initial_learning_rate: LearningRate = 1e-2
    """Learning rate of the first update, or, with OneCycle or a warm-up, the one that it rises from or to."""
    momentum: Momentum = 0.9
    """Memory of the gradients before. 0: none."""
    nesterov: bool = False
    """Whether the gradient counts as if the momentum's step were made already. Usually a little better."""

    @model_validator(mode="after")
    def _check_nesterov(self) -> "SGD":
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: true given, but momentum is 0, and there is nothing to look ahead by; raise it")
        return self

    def build(self, network: nn.Module) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(
            self.groups(network),
            lr=self.initial_learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            fused=True,
        )
        # Torch would make the momentum in the first update, and leave it undefined where that one is left out. Begun at
        # 0, it is the gradient after the first update, as torch has it.
        for parameter in network.parameters():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimizer


class AdamOptions(Optimizer):
    """What Adam and AdamW have in common."""

    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    """Memory of the mean and of the mean square of the gradient. A first one of 0 to 0.5 is usual with GANs."""

    def settings(self) -> dict[str, Any]:
        # fused: one kernel for all parameters, 2.8 times the plain loop on two CPU cores.
        return {
            "lr": self.initial_learning_rate,
            "betas": self.betas,
            "weight_decay": self.weight_decay,
            "fused": True,
        }


class Adam(AdamOptions):
    """Adam (Kingma and Ba 2015). Use it where no weight decay is wanted, as in most restoration and GAN training."""

    class_name: Literal["Adam"] = "Adam"

    def build(self, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.groups(network), **self.settings())


class AdamW(AdamOptions):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019). Use it for transformers, such as SCUNet."""

    class_name: Literal["AdamW"] = "AdamW"
    weight_decay: Decay = 0.01
    """Pull of every weight towards 0, apart from its gradient. More against overfitting to few photographs."""

    def build(self, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.groups(network), **self.settings())


OPTIMIZERS = Choices(Optimizer, SGD, Adam, AdamW)
OptimizerOptions = Annotated[Optimizer, OPTIMIZERS]


RATE_FACTOR = "rate_factor"
"""The key of a group of parameters with what its learning rate is multiplied by; a group without it has the rate."""
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


def set_rate(optimizer: torch.optim.Optimizer, rate: float, momentum: float | None) -> None:
    """Sets the learning rate of the next update and, unless it is None, SGD's momentum or Adam's first beta."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(RATE_FACTOR, 1.0)
        if momentum is not None and "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        elif momentum is not None:
            group["momentum"] = momentum


def set_rate_factors(optimizer: torch.optim.Optimizer, factors: Mapping[nn.Parameter, float]) -> None:
    """Divides the groups so that the parameters of each have one factor of the learning rate. Before the first update.

    factors  of some parameters; that of the others is 1
    """
    divided = []
    for group in optimizer.param_groups:
        members: dict[float, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            members.setdefault(factors.get(parameter, 1.0), []).append(parameter)
        divided += [group | {"params": parameters, RATE_FACTOR: factor} for factor, parameters in members.items()]
    optimizer.param_groups[:] = divided
