"""One update of the networks: the step."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from losses import WeightedLoss
from options.errors import Diverged
from restore.data.batches import Batch
from restore.networks.base import Generator
from restore.training.averaging import EMA, Average
from restore.training.guard import RETURNS, Guard, all_finite, first_non_finite, first_non_finite_layer
from restore.training.optimizers import Optimizer, step_if
from restore.training.precision import Precision
from restore.training.schedules import Schedule

Terms = dict[str, Tensor | float]


class NonFinite(ArithmeticError):
    """Cuts an update short: the value of this name is not finite."""

    def __init__(self, name: str):
        self.name = name


class HasState(Protocol):
    """A part of a training that an identical continuation needs. Its state is plain data and tensors."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


@dataclass
class Progress:
    """How far a training has come."""

    iteration: int = 0
    """Updates made, those left out included."""
    validated: int = 0
    """The iteration of the last savepoint."""
    best_loss: float = float("inf")
    """Lowest validation loss."""
    seconds: float = 0.0
    """Time spent on training."""
    brake: float = 1.0
    """What the schedule's learning rate is multiplied by: halved at each return after a divergence."""

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if not isinstance(state["iteration"], int) or state["iteration"] < 0:
            raise ValueError(f"its iteration is {state['iteration']!r}")
        for name in asdict(self):
            setattr(self, name, state[name])


class RandomState:
    """The global random generators that a step may draw from (stochastic depth, gradient penalty), as it left them."""

    def __init__(self, device: torch.device):
        self.device = device
        self.remember()

    def remember(self) -> None:
        """Takes the generators' state of now: what draws before the next update, as validation may, changes nothing."""
        self.state = {"cpu": torch.get_rng_state()}
        if self.device.type != "cpu":
            self.state["device"] = getattr(torch, self.device.type).get_rng_state(self.device)

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        torch.set_rng_state(state["cpu"])
        if self.device.type != "cpu" and "device" in state:  # a run may go on where it was not begun
            getattr(torch, self.device.type).set_rng_state(state["device"], self.device)
        self.remember()


class Trainer:
    """The networks in training, their optimisers, and everything else that an identical continuation needs.

    optimizer  the section of which each network gets an optimiser of its own
    schedule   the learning rate of both
    grad_clip  longest gradient of a network, as the norm over all its parameters
    ema        the section of a moving average of the generator's weights, which becomes the model
    compile    whether the generator is compiled, anew for each size of its inputs
    anomaly    whether the layer is looked for where a loss or gradient ceases to be finite

    An update may be made in several parts, which takes less memory: the losses of a part count by its share of the
    samples, so that the gradient is that of one large batch, to rounding. Not so where an image's loss depends on the
    others of its batch: with ragan's means over the batch, with batch normalisation, and, a little, with the
    UNetDiscriminator, whose spectral norms are estimated anew at each look. What is drawn at random in the generator,
    as by stochastic depth, is drawn once more where a discriminator has to see the restored images first.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: nn.Module | None,
        loss: WeightedLoss,
        optimizer: Optimizer,
        schedule: Schedule,
        precision: Precision,
        device: torch.device,
        *,
        grad_clip: float | None = None,
        ema: EMA | None = None,
        compile: bool = False,
        anomaly: bool = False,
    ):
        self.generator = generator.to(device, memory_format=generator.memory_format).train()
        self.average = Average(self.generator, ema.decay) if ema else None
        self.forward = compiled(self.generator) if compile else self.generator
        self.discriminator = discriminator and discriminator.to(device).train()
        self.loss = loss.to(device)
        self.schedule = schedule
        self.precision = precision
        self.device = device
        self.grad_clip = grad_clip or float("inf")
        self.anomaly = anomaly
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        self.networks: dict[str, nn.Module] = {name: network for name, network in networks.items() if network}
        self.optimizers = {name: optimizer.build(net.parameters()) for name, net in self.networks.items()}
        self.scaler = precision.scaler(device)
        self.guard = Guard()
        self.progress = Progress()
        self.random_state = RandomState(device)
        self.parts: dict[str, HasState] = {
            **self.networks,
            **{f"optimizer/{name}": optimizer for name, optimizer in self.optimizers.items()},
            **({"average": self.average} if self.average else {}),
            "schedule": schedule,
            "scaler": self.scaler,
            "guard": self.guard,
            "progress": self.progress,
            "random_state": self.random_state,
        }
        self.clock = time.monotonic()

    @property
    def model(self) -> nn.Module:
        """What is validated and saved."""
        return self.average.network if self.average else self.generator

    @property
    def iteration(self) -> int:
        return self.progress.iteration

    @property
    def learning_rate(self) -> float:
        """That of the last update; before the first, that of the first."""
        return self._rate(max(self.iteration, 1))

    def _rate(self, iteration: int) -> float:
        return self.schedule.rate(iteration) * self.progress.brake

    def step(self, parts: Sequence[Batch]) -> Terms:
        """One update from the parts of a batch, on the device; returns the terms to log, unweighted, by their names.

        An update whose loss or gradient is not finite is left out and counted; ten in a row raise Diverged.
        """
        rate = self._rate(self.iteration + 1)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate
        try:
            report = self._update(parts)
            self.guard.passed()
            if self.average:
                self.average.update(self.generator)
        except NonFinite as fault:
            seen = (part.degraded for part in parts) if self.anomaly else ()
            layers = (first_non_finite_layer(self.generator, degraded) for degraded in seen)
            files = [file for part in parts for file in part.files]
            self.guard.failed(fault.name, self.iteration + 1, files, next(filter(None, layers), None))
            report = {}
        self.progress.iteration += 1
        self.random_state.remember()
        now = time.monotonic()
        self.progress.seconds, self.clock = self.progress.seconds + now - self.clock, now
        rates = {f"learning_rate/{name}": rate for name in self.optimizers}
        return report | {"skipped_updates": float(self.guard.skipped)} | rates

    def _update(self, parts: Sequence[Batch]) -> Terms:
        size = sum(len(part.degraded) for part in parts)
        shares = [len(part.degraded) / size for part in parts]
        restored: list[Tensor | None] = [None] * len(parts)
        report: Terms = {}
        if self.discriminator:
            with torch.set_grad_enabled(len(parts) == 1):  # of several parts no graph can be kept: restored again below
                restored = [self._restore(part) for part in parts]
            for _ in range(self.loss.critic_steps):
                report |= self._train_discriminator(parts, [image.detach() for image in restored], shares)
        self.optimizers["generator"].zero_grad(set_to_none=True)
        values: dict[str, Tensor] = {}
        for part, share, image in zip(parts, shares, restored, strict=True):
            image = image if len(parts) == 1 and image is not None else self._restore(part)
            terms = self.loss.generator_terms(image, part.clean, part.metadata, self.discriminator)
            total = self.loss.total(terms)
            self.scaler.scale(total * share).backward()
            _add(values, terms | {"total": total}, share)
        self.scaler.unscale_(self.optimizers["generator"])
        report |= _named("loss", values) | {"gradient_norm/generator": self._clip(self.generator)}
        fault = first_non_finite(report)
        if fault is None:
            self.scaler.step(self.optimizers["generator"])
        self.scaler.update()  # scales lower where float16's gradients were too large
        if fault:
            raise NonFinite(fault)
        return report | ({"amp/scale": self.scaler.get_scale()} if self.scaler.is_enabled() else {})

    def _restore(self, part: Batch) -> Tensor:
        with self.precision.autocast(self.device):
            restored = self.forward(part.degraded)
        return restored.float()  # the losses and the discriminator compute in float32

    def _train_discriminator(self, parts: Sequence[Batch], restored: list[Tensor], shares: list[float]) -> Terms:
        self.discriminator.requires_grad_(True)
        self.optimizers["discriminator"].zero_grad(set_to_none=True)
        values: dict[str, Tensor] = {}
        for part, image, share in zip(parts, restored, shares, strict=True):
            terms = self.loss.discriminator_loss(self.discriminator, part.clean, image)
            (terms["loss"] * share).backward()
            _add(values, terms, share)
        report = _named("discriminator", values) | {"gradient_norm/discriminator": self._clip(self.discriminator)}
        self.discriminator.requires_grad_(False)  # in the generator's turn it only judges
        step_if(all_finite(report), self.optimizers["discriminator"])
        self.loss.constrain(self.discriminator)
        return report

    def _clip(self, network: nn.Module) -> Tensor:
        """Shortens the network's gradient to grad_clip; returns the norm that it had."""
        return nn.utils.clip_grad_norm_(network.parameters(), self.grad_clip)

    def end_savepoint(self, validation_loss: float) -> None:
        """Lets the learning rate follow the validation loss, and remembers the lowest."""
        self.schedule.at(self.iteration).after_validation(validation_loss)
        self.progress.validated = self.iteration
        self.progress.best_loss = min(self.progress.best_loss, validation_loss)

    def go_back(self, state: dict[str, Any], reason: Diverged) -> str:
        """Takes back a good state with half of its learning rate; returns a line that says so.

        To be saved at once, so that the lower rate and the count of returns outlive the process.
        Raises Diverged when it has gone back too often.
        """
        self.guard.refuse_another_return(reason)
        self.load_state(state)
        self.guard.went_back()
        self.progress.brake /= 2
        return (
            f"{reason}: back to iteration {self.iteration} with the learning rate {self._rate(self.iteration + 1):.3g} "
            f"(return {self.guard.returns} of {RETURNS}; first not finite: {self.guard.first or reason})"
        )

    def state(self) -> dict[str, Any]:
        """All that an identical continuation needs, as of the end of the last update. Plain data and tensors."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes a state back; the networks, options and losses must be those that it was made with."""
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


def compiled(generator: Generator) -> Callable[[Tensor], Tensor]:
    """The generator as torch.compile makes it, with a graph for each size of image: one for all takes much longer."""
    torch._dynamo.config.recompile_limit = 64  # with 8, the default, a run of several stages would fall back to none
    return torch.compile(generator, dynamic=False)


def _add(sums: dict[str, Tensor], values: Mapping[str, Tensor], share: float) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + share * value.detach()


def _named(group: str, values: Mapping[str, Tensor]) -> Terms:
    return {f"{group}/{name}": value for name, value in values.items()}
