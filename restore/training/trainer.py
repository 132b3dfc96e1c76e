"""The trainer: one update of the networks is its method step."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from losses import WeightedLoss
from options.errors import Diverged
from restore.compute.process import Process, exchanging
from restore.data.batches import Batch
from restore.networks.base import Generator
from restore.networks.random_layers import RandomLayer
from restore.training.averaging import EMA, Average
from restore.training.guard import RETURNS, Guard, all_finite, first_non_finite, first_non_finite_layer
from restore.training.optimizers import Optimizer, set_rate, set_rate_factors, step_if
from restore.training.precision import Precision
from restore.training.rates import Schedule

Values = dict[str, Tensor]
Terms = dict[str, Tensor | float]


class NonFinite(ArithmeticError):
    """Ends an update early: the value of this name is not finite."""

    def __init__(self, name: str):
        self.name = name


class HasState(Protocol):
    """A part whose state an identical continuation needs: plain data and tensors."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


@dataclass
class Progress:
    """How far the training is."""

    iteration: int = 0
    """Updates made, including those that were skipped."""
    validated: int = 0
    """The iteration of the last savepoint."""
    best_loss: float = float("inf")
    """Lowest validation loss."""
    seconds: float = 0.0
    """Time spent on training [s]."""
    brake: float = 1.0
    """Factor on the schedule's learning rate: halved each time the run goes back after it has diverged."""

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if not isinstance(state["iteration"], int) or state["iteration"] < 0:
            raise ValueError(f"its iteration is {state['iteration']!r}, which is not a count of updates")
        for name in asdict(self):
            setattr(self, name, state[name])


class RandomState:
    """The state of torch's global random generators after the last update.

    A step may draw from them: stochastic depth and the gradient penalty do.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.remember()

    def remember(self) -> None:
        """Keeps the present state. What is drawn later, before the next update, does not enter a saved state."""
        self.state = {"cpu": torch.get_rng_state()}
        if self.device.type != "cpu":
            self.state["device"] = getattr(torch, self.device.type).get_rng_state(self.device)

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        torch.set_rng_state(state["cpu"])
        if self.device.type != "cpu" and "device" in state:  # none if the state was saved on another device
            getattr(torch, self.device.type).set_rng_state(state["device"], self.device)
        self.remember()


class Trainer:
    """The networks in training, their optimisers, and everything else that an identical continuation needs.

    discriminator  needed if the loss has an adversarial term, else None
    optimizer      the options of the optimisers; each network has its own
    schedule       the learning rate of both networks
    precision      of the generator's forward pass
    grad_clip      largest norm of a network's gradient, over all its parameters; None: no limit
    rate_factors   what the learning rate is multiplied by, of some of the generator's parameters; frozen ones have no
                   gradient
    ema            options of a moving average of the generator's weights, which becomes the model; None: no average
    compile        compile the generator, anew for each size of its input
    anomaly        name the layer in which a loss or gradient that is not finite arose (slower then)
    process        which process of the run this is; several share each batch, and make the same update from it

    A batch may be computed in several parts (gradient accumulation), which needs less memory, and by several processes.
    The losses of what is computed at once are weighted by its share of the samples, so the gradient equals that of the
    whole batch up to rounding. It differs if an image's loss depends on the other images of the batch: with ragan, with
    batch normalisation, and, in several parts, slightly with the UNetDiscriminator, whose spectral norms are estimated
    again at each forward pass. With a discriminator and several parts the generator runs twice on each part, and random
    layers such as stochastic depth draw twice.
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
        rate_factors: Mapping[nn.Parameter, float] | None = None,
        ema: EMA | None = None,
        compile: bool = False,
        anomaly: bool = False,
        process: Process = Process(),
    ):
        self.generator = generator.to(device).to(memory_format=generator.memory_format).train()
        self.average = Average(self.generator, ema.decay) if ema else None
        self.random_layers = [layer for layer in self.generator.modules() if isinstance(layer, RandomLayer)]
        self.discriminator = discriminator and discriminator.to(device).train()
        self.process = process
        forward = process.parallel(self.generator)
        self.forward = compiled(forward) if compile else forward
        self.judge = self.discriminator and process.parallel(self.discriminator)
        """The discriminator in its own turn. In the generator's it has no gradients to exchange."""
        self.loss = loss.to(device)
        self.schedule = schedule
        self.precision = precision
        self.device = device
        self.grad_clip = grad_clip or float("inf")
        self.anomaly = anomaly
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        self.networks: dict[str, nn.Module] = {name: network for name, network in networks.items() if network}
        self.optimizers = {name: optimizer.build(net) for name, net in self.networks.items()}
        if rate_factors:
            set_rate_factors(self.optimizers["generator"], rate_factors)
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
    def model(self) -> Generator:
        """The network that is validated and saved: the generator, or its average."""
        return self.average.network if self.average else self.generator

    @property
    def iteration(self) -> int:
        return self.progress.iteration

    @property
    def learning_rate(self) -> float:
        """Learning rate of the last update; before the first update, that of the first."""
        return self._rate(max(self.iteration, 1))

    def _rate(self, iteration: int) -> float:
        return self.schedule.rate(iteration) * self.progress.brake

    def step(self, parts: Sequence[Batch]) -> Terms:
        """One update from a batch, given whole or in parts, on the device; returns the unweighted terms to log.

        An update whose loss or gradient is not finite is skipped and counted; ten in a row raise Diverged.
        """
        rate = self._rate(self.iteration + 1)
        momentum = self.schedule.momentum(self.iteration + 1)
        for optimizer in self.optimizers.values():
            set_rate(optimizer, rate, momentum)
        terms: Terms = {}
        try:
            terms |= self._update(parts)
            self.guard.passed()
            if self.average:
                self.average.update(self.generator)
        except NonFinite as fault:
            self._skip(fault.name, parts)
        self.progress.iteration += 1
        self.random_state.remember()
        now = time.monotonic()
        self.progress.seconds, self.clock = self.progress.seconds + now - self.clock, now
        if self.scaler.is_enabled():
            terms["amp/scale"] = self.scaler.get_scale()
        rates = {f"learning_rate/{name}": rate for name in self.optimizers}
        rates |= {} if momentum is None else {f"momentum/{name}": momentum for name in self.optimizers}
        return terms | {"skipped_updates": float(self.guard.skipped)} | rates

    def _update(self, parts: Sequence[Batch]) -> Values:
        size = sum(part.share.size for part in parts)
        shares = [len(part.degraded) / size for part in parts]
        whole = len(parts) == 1
        report: Values = {}
        restored: Iterable[Tensor] = ()
        if self.judge:
            with torch.set_grad_enabled(whole):  # the graphs of several parts would need the memory of the whole batch
                restored = [self._restore(part) for part in parts]
            for _ in range(self.loss.critic_steps):
                report |= self._update_discriminator(self.judge, parts, restored, shares)
        if not (self.discriminator and whole):
            restored = self._restored(parts)
        report |= self._generator_gradient(parts, restored, shares)
        fault = first_non_finite(report)
        if fault is None:
            self.scaler.step(self.optimizers["generator"])
        self.scaler.update()  # lowers the scale if float16's gradients were too large
        if fault:
            raise NonFinite(fault)
        return report

    def _generator_gradient(
        self, parts: Sequence[Batch], restored: Iterable[Tensor], shares: Sequence[float]
    ) -> Values:
        optimizer = self.optimizers["generator"]
        optimizer.zero_grad(set_to_none=True)
        values: Values = {}
        for part, image, share in zip(parts, restored, shares, strict=True):
            terms = self.loss.generator_terms(image, part.clean, part.metadata, self.discriminator)
            total = self.loss.total(terms)
            self.scaler.scale(total * self._in_mean(share)).backward()
            _add(values, terms | {"total": total}, share)
        values = self.process.sums(values)
        self.scaler.unscale_(optimizer)
        return _named("loss", values) | {"gradient_norm/generator": self._clip(self.generator)}

    def _update_discriminator(
        self, discriminator: nn.Module, parts: Sequence[Batch], restored: Iterable[Tensor], shares: Sequence[float]
    ) -> Values:
        optimizer = self.optimizers["discriminator"]
        discriminator.requires_grad_(True)
        optimizer.zero_grad(set_to_none=True)
        values: Values = {}
        for part, image, share in zip(parts, restored, shares, strict=True):
            with exchanging(discriminator, part is parts[-1]):
                terms = self.loss.discriminator_loss(discriminator, part.clean, image.detach(), part.share.uniform)
                (terms["loss"] * self._in_mean(share)).backward()
            _add(values, terms, share)
        values = self.process.sums(values)
        report = _named("discriminator", values) | {"gradient_norm/discriminator": self._clip(discriminator)}
        discriminator.requires_grad_(False)  # the generator's update needs gradients of its image alone
        step_if(all_finite(report), optimizer)
        self.loss.constrain(discriminator)
        return report

    def _in_mean(self, share: float) -> float:
        """The weight of a share in the gradient, of which all processes get the mean where they should get the sum."""
        return share * self.process.count

    def _restored(self, parts: Sequence[Batch]) -> Iterator[Tensor]:
        """The restored images part by part, as a loop asks for them. While the loop makes its backward pass of one,
        this waits inside the block, so that the pass of the last part exchanges the gradients."""
        for part in parts:
            with exchanging(self.forward, part is parts[-1]):
                yield self._restore(part)

    def _restore(self, part: Batch) -> Tensor:
        for layer in self.random_layers:
            layer.share = part.share
        with self.precision.autocast(self.device):
            restored = self.forward(part.degraded)
        return restored.float()  # the losses and the discriminator compute in float32

    def _skip(self, name: str, parts: Sequence[Batch]) -> None:
        """Reports to the guard that the value of this name was not finite. Raises Diverged after ten in a row."""
        layer = None
        if self.anomaly:
            layers = self.process.gather([self._first_non_finite_layer(parts)])
            layer = next((layer for layer in layers if layer), None)
        files = self.process.gather([file for part in parts for file in part.files])
        self.guard.failed(name, self.iteration + 1, files, layer)

    def _first_non_finite_layer(self, parts: Sequence[Batch]) -> str | None:
        for part in parts:
            for layer in self.random_layers:
                layer.share = part.share
            if found := first_non_finite_layer(self.generator, part.degraded):
                return found
        return None

    def _clip(self, network: nn.Module) -> Tensor:
        """Scales the network's gradient down to the norm grad_clip; returns the norm before."""
        return nn.utils.clip_grad_norm_(network.parameters(), self.grad_clip)

    def end_savepoint(self, validation_loss: float) -> None:
        """Gives the validation loss to the learning-rate schedule, and keeps the lowest."""
        self.schedule.after_validation(self.iteration, validation_loss)
        self.progress.validated = self.iteration
        self.progress.best_loss = min(self.progress.best_loss, validation_loss)

    def go_back(self, state: dict[str, Any], reason: Diverged) -> str:
        """Loads a saved state and halves its learning rate; returns a message that says so.

        The caller saves the new state at once, so that a killed process keeps the lower rate and the count of returns.
        Raises Diverged if the run has gone back too often.
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
        """All that an identical continuation needs, after the last update: plain data and tensors."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Loads a state; the networks, options and losses must be those of the trainer that it comes from."""
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


def compiled(generator: nn.Module) -> Callable[[Tensor], Tensor]:
    """The generator with torch.compile, with a graph for each image size: one graph for all takes much longer."""
    torch._dynamo.config.recompile_limit = 64  # with 8, the default, a run of several stages would not be compiled
    return torch.compile(generator, dynamic=False)


def _add(sums: Values, values: Values, share: float) -> None:
    for name, value in values.items():
        part = share * value.detach()
        sums[name] = sums[name] + part if name in sums else part


def _named(group: str, values: Values) -> Values:
    return {f"{group}/{name}": value for name, value in values.items()}
