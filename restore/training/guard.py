"""What a run does when a loss or a gradient is not finite: it skips the update.

Ten skipped updates in a row mean that the run has diverged: it goes back to the last saved state, with half the
learning rate. After going back three times it ends with an error.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from options.errors import Diverged

IN_A_ROW = 10
RETURNS = 3
NAMED_FILES = 4  # most files named in a message


class Guard:
    """Counts the skipped updates, and raises Diverged if there are too many."""

    def __init__(self) -> None:
        self.skipped = 0
        """Updates skipped since the command was started."""
        self.in_a_row = 0
        self.returns = 0
        self.first: str | None = None
        """The first fault: what was not finite, at which iteration, on which photographs."""
        self.notices: list[str] = []
        self.named: set[str] = set()

    def passed(self) -> None:
        """Records an update that was finite."""
        self.in_a_row = 0

    def failed(self, name: str, iteration: int, files: Sequence[str], layer: str | None) -> None:
        """Records an update that was skipped. Raises Diverged after ten in a row.

        name   what was not finite: a term of the loss, or a gradient's norm
        files  the photographs that the batch was made from
        layer  the layer in which the fault arose, if known
        """
        self.skipped += 1
        self.in_a_row += 1
        where = f"{f', arising in {layer}' if layer else ''} (photographs: {name_some(files)})"
        fault = f"{name} at iteration {iteration}{where}"
        self.first = self.first or fault
        if name not in self.named:
            self.named.add(name)
            self.notices.append(
                f"warning: not finite: {fault}; this update is skipped; later ones with the same fault are skipped "
                f"silently"
            )
        if self.in_a_row >= IN_A_ROW:
            raise Diverged(f"{IN_A_ROW} updates in a row were not finite")

    def take_notices(self) -> list[str]:
        """New messages for the user: one for each name that was not finite."""
        notices, self.notices = self.notices, []
        return notices

    def refuse_another_return(self, reason: Diverged) -> None:
        """Raises Diverged, with the first fault, if the run has gone back three times already."""
        if self.returns == RETURNS:
            raise Diverged(
                f"diverged: {reason}, after going back {RETURNS} times; first not finite: {self.first or reason}. "
                f"The last saved state is good: look at the photographs named, or lower "
                f"optimizer.initial_learning_rate or the weight of that term"
            )

    def went_back(self) -> None:
        """Records that the run has gone back to a saved state."""
        self.returns += 1
        self.in_a_row = 0

    def state_dict(self) -> dict[str, int]:
        return {"in_a_row": self.in_a_row, "returns": self.returns}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.in_a_row, self.returns = state["in_a_row"], state["returns"]


def name_some(files: Sequence[str]) -> str:
    """The first few files, for a message."""
    return ", ".join(files[:NAMED_FILES]) + (" ..." if len(files) > NAMED_FILES else "")


def all_finite(values: Mapping[str, Tensor]) -> Tensor:
    """Whether all values are finite: a bool tensor on their device, without waiting for the device."""
    return torch.stack([value.float() for value in values.values()]).isfinite().all()


def first_non_finite(values: Mapping[str, Tensor]) -> str | None:
    """The name of the first value that is not finite; None: all are. If all are, it waits for the device only once."""
    if all_finite(values):
        return None
    return next(name for name, value in values.items() if not value.isfinite())


def non_finite_part(state: Mapping[Any, Any]) -> str | None:
    """Where in a state, of nested mappings and lists, a tensor has a value that is not finite; None: nowhere."""
    for name, value in state.items():
        if isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all():
            return str(name)
        inside = dict(enumerate(value)) if isinstance(value, list) else value
        if isinstance(inside, Mapping) and (place := non_finite_part(inside)):
            return f"{name}, {place}"
    return None


def first_non_finite_layer(network: nn.Module, image: Tensor) -> str | None:
    """The name of the layer in which a number that is not finite arose; None if none is found.

    It is the first layer of the forward pass whose output is not finite. If all outputs are finite, it is the layer
    nearest to the network's output whose parameters have a gradient that is not finite. The network runs once more; the
    random generators keep their state.
    """
    found: list[str] = []

    def record(name: str, output: Tensor) -> None:
        if isinstance(output, Tensor) and not output.isfinite().all():
            found.append(name)

    handles = [
        layer.register_forward_hook(lambda _, __, output, name=name: record(name, output))
        for name, layer in network.named_modules()
        if name
    ]
    try:
        with torch.no_grad(), torch.random.fork_rng([image.device] if image.device.type == "cuda" else []):
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return found[0]
    gradients = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    return next((name for name in reversed(gradients) if not gradients[name].isfinite().all()), None)
