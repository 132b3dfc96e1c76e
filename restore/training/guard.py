"""What a run does when a loss or a gradient is not finite: leave the update out, count, and in the end go back.

Ten such updates in a row mean that the run has diverged: it goes back to the last state saved, with half the learning
rate. After three returns it gives up.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from options.errors import Diverged

IN_A_ROW = 10
RETURNS = 3
NAMED_FILES = 4  # of a batch, in a message


class Guard:
    """Counts the updates that were left out, and knows when there are too many of them."""

    def __init__(self) -> None:
        self.skipped = 0
        """Updates left out since the command was started."""
        self.in_a_row = 0
        self.returns = 0
        self.first: str | None = None
        """What was not finite first, where, and on which photographs."""
        self.notices: list[str] = []
        self.named: set[str] = set()

    def passed(self) -> None:
        """An update was finite."""
        self.in_a_row = 0

    def failed(self, name: str, iteration: int, files: Sequence[str], layer: str | None) -> None:
        """An update was left out. Raises Diverged after ten in a row.

        name   what was not finite: a term of the loss, or a gradient's norm
        files  the photographs that its samples were made from
        layer  where the first number that is not finite arose, if that was looked for
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
        """Lines for the user that were not taken yet: one for each name that was not finite."""
        notices, self.notices = self.notices, []
        return notices

    def refuse_another_return(self, reason: Diverged) -> None:
        """Raises Diverged, with all that is known, where the run has gone back three times."""
        if self.returns == RETURNS:
            raise Diverged(
                f"diverged: {reason}, after going back {RETURNS} times; first not finite: {self.first or reason}. "
                f"The last state saved is good: look at the photographs named, or lower "
                f"optimizer.initial_learning_rate or the weight of that term"
            )

    def went_back(self) -> None:
        """The run has gone back to a good state."""
        self.returns += 1
        self.in_a_row = 0

    def state_dict(self) -> dict[str, int]:
        return {"in_a_row": self.in_a_row, "returns": self.returns}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.in_a_row, self.returns = state["in_a_row"], state["returns"]


def name_some(files: Sequence[str]) -> str:
    """The first files, for a message."""
    return ", ".join(files[:NAMED_FILES]) + (" ..." if len(files) > NAMED_FILES else "")


def all_finite(values: Mapping[str, Tensor]) -> Tensor:
    """Whether all values are finite: a bool on their device. Nothing waits for it."""
    return torch.stack([value.float() for value in values.values()]).isfinite().all()


def first_non_finite(values: Mapping[str, Tensor]) -> str | None:
    """The name of the first value that is not finite. Waits for the device once, where all of them are finite."""
    if all_finite(values):
        return None
    return next(name for name, value in values.items() if not value.isfinite())


def non_finite_part(state: Mapping[str, Any]) -> str | None:
    """Where in a state, nested mappings and lists, a tensor holds a number that is not finite; None: nowhere."""
    for name, value in state.items():
        if isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all():
            return str(name)
        inside = dict(enumerate(value)) if isinstance(value, list) else value
        if isinstance(inside, Mapping) and (place := non_finite_part(inside)):
            return f"{name}, {place}"
    return None


def first_non_finite_layer(network: nn.Module, image: Tensor) -> str | None:
    """Where in a network numbers cease to be finite: the first layer that gives such an output, on the way forward.

    If the way forward is finite, the layer nearest to the output whose parameters have such a gradient; None if there
    is none either. The network runs once more, without changing the state of the random generators.
    """
    found: list[str] = []

    def look(name: str, output: Tensor) -> None:
        if isinstance(output, Tensor) and not output.isfinite().all():
            found.append(name)

    handles = [
        layer.register_forward_hook(lambda _, __, output, name=name: look(name, output))
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
