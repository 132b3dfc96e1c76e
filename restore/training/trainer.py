"""One update of the networks: the step."""

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from losses import WeightedLoss
from options.errors import Diverged
from restore.data.batches import Batch
from restore.networks.base import Generator
from restore.training.guard import RETURNS, Guard, first_non_finite, first_non_finite_layer
from restore.training.option_file import TrainingOptions
from restore.training.precision import Precision


class NonFinite(ArithmeticError):
    """Cuts an update short: the value of this name is not finite."""

    def __init__(self, name: str):
        self.name = name


Terms = dict[str, Tensor | float]


class Trainer:
    """The networks in training, their optimisers, and everything else that an identical continuation needs."""

    def __init__(
        self,
        generator: Generator,
        discriminator: nn.Module | None,
        loss: WeightedLoss,
        options: TrainingOptions,
        precision: Precision,
        device: torch.device,
        anomaly: bool = False,
    ):
        self.generator = generator.to(device, memory_format=generator.memory_format).train()
        # The crops of a run have one size, and a graph for any size takes much longer to make.
        self.forward = torch.compile(self.generator, dynamic=False) if options.compile else self.generator
        self.discriminator = discriminator and discriminator.to(device).train()
        self.loss = loss.to(device)
        self.precision = precision
        self.device = device
        self.grad_clip = options.grad_clip or float("inf")
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        self.networks: dict[str, nn.Module] = {name: network for name, network in networks.items() if network}
        self.optimizers = {name: options.optimizer.build(net.parameters()) for name, net in self.networks.items()}
        self.schedulers = {name: options.scheduler.build(optimizer) for name, optimizer in self.optimizers.items()}
        self.scaler = precision.scaler(device)
        self.guard = Guard()
        self.anomaly = anomaly
        self.iteration = 0
        self.validated = 0
        self.best_loss = float("inf")
        self.random_state = _random_state(device)
        self.seconds = 0.0
        self.clock = time.monotonic()

    def step(self, batch: Batch) -> Terms:
        """One update from a batch on the device; returns the terms to log, unweighted, by their names.

        An update whose loss or gradient is not finite is left out and counted; ten in a row raise Diverged.
        """
        try:
            report = self._update(batch)
            self.guard.passed()
        except NonFinite as fault:
            layer = first_non_finite_layer(self.generator, batch.degraded) if self.anomaly else None
            self.guard.failed(fault.name, self.iteration + 1, batch, layer)
            report = {}
        self.iteration += 1
        self.random_state = _random_state(self.device)
        now = time.monotonic()
        self.seconds, self.clock = self.seconds + now - self.clock, now
        return report | {"skipped_updates": float(self.guard.skipped)} | self._learning_rates()

    def _update(self, batch: Batch) -> Terms:
        degraded, clean = batch.degraded, batch.clean
        with self.precision.autocast(self.device):
            restored = self.forward(degraded)
        restored = restored.float()  # the losses and the discriminator compute in float32
        report: Terms = {}
        for _ in range(self.loss.critic_steps):  # none without an adversarial term
            report |= self._train_discriminator(restored.detach(), clean)
        terms = self.loss.generator_terms(restored, clean, batch.metadata, self.discriminator)
        total = self.loss.total(terms)
        self.optimizers["generator"].zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizers["generator"])
        norm = self._clip(self.generator)
        report |= self._logged("loss", terms) | {"loss/total": total.detach(), "gradient_norm/generator": norm}
        fault = first_non_finite(report)
        if fault is None or self.scaler.is_enabled():  # float16's scaler leaves such an update out and scales lower
            self.scaler.step(self.optimizers["generator"])
            self.scaler.update()
        if fault:
            raise NonFinite(fault)
        return report | ({"amp/scale": self.scaler.get_scale()} if self.scaler.is_enabled() else {})

    def _train_discriminator(self, restored: Tensor, clean: Tensor) -> Terms:
        self.discriminator.requires_grad_(True)
        parts = self.loss.discriminator_loss(self.discriminator, clean, restored)
        self.optimizers["discriminator"].zero_grad(set_to_none=True)
        parts["loss"].backward()
        norm = self._clip(self.discriminator)
        self.discriminator.requires_grad_(False)  # in the generator's turn it only judges
        report = self._logged("discriminator", parts) | {"gradient_norm/discriminator": norm}
        if fault := first_non_finite(report):
            raise NonFinite(fault)
        self.optimizers["discriminator"].step()
        self.loss.constrain(self.discriminator)
        return report

    def _clip(self, network: nn.Module) -> Tensor:
        """Shortens the network's gradient to grad_clip; returns the norm that it had."""
        return nn.utils.clip_grad_norm_(network.parameters(), self.grad_clip)

    @property
    def learning_rate(self) -> float:
        return self.optimizers["generator"].param_groups[0]["lr"]

    def _learning_rates(self) -> Terms:
        return {f"learning_rate/{name}": optimizer.param_groups[0]["lr"] for name, optimizer in self.optimizers.items()}

    @staticmethod
    def _logged(group: str, terms: Mapping[str, Tensor]) -> Terms:
        return {f"{group}/{name}": value.detach() for name, value in terms.items()}

    def end_savepoint(self, validation_loss: float) -> None:
        """Lets the learning rates follow the validation loss, and remembers the lowest."""
        for scheduler in self.schedulers.values():
            scheduler.step(validation_loss)
        self.validated = self.iteration
        self.best_loss = min(self.best_loss, validation_loss)

    def go_back(self, state: dict[str, Any], reason: Diverged) -> str:
        """Takes back a good state with half of the present learning rates; returns a line that says so.

        Raises Diverged when it has gone back too often.
        """
        self.guard.go_back(reason)
        halved = {name: optimizer.param_groups[0]["lr"] / 2 for name, optimizer in self.optimizers.items()}
        self.load_state(state)
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = halved[name]
        return (
            f"{reason}: back to iteration {self.iteration} with the learning rate {self.learning_rate:.3g} "
            f"(return {self.guard.returns} of {RETURNS}; first not finite: {self.guard.first or reason})"
        )

    def state(self) -> dict[str, Any]:
        """All that an identical continuation needs, as of the end of the last update. Plain data and tensors."""
        return {
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "schedulers": {name: scheduler.state_dict() for name, scheduler in self.schedulers.items()},
            "scaler": self.scaler.state_dict(),
            "random_state": self.random_state,
            "iteration": self.iteration,
            "validated": self.validated,
            "best_loss": self.best_loss,
            "seconds": self.seconds,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes a state back; the networks, options and losses must be those that it was made with."""
        for parts, kind in (
            (self.networks, "networks"),
            (self.optimizers, "optimizers"),
            (self.schedulers, "schedulers"),
        ):
            for name, part in parts.items():
                part.load_state_dict(state[kind][name])
        self.scaler.load_state_dict(state["scaler"])
        self.random_state = state["random_state"]
        _set_random_state(self.random_state, self.device)
        self.iteration = state["iteration"]
        self.validated = state["validated"]
        self.best_loss = state["best_loss"]
        self.seconds = state["seconds"]


def _random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of the global generators that a step may draw from (stochastic depth, gradient penalty)."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state["device"] = getattr(torch, device.type).get_rng_state(device)
    return state


def _set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type != "cpu" and "device" in state:  # a run may go on where it was not begun
        getattr(torch, device.type).set_rng_state(state["device"], device)
