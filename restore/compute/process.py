"""Which process of a run this is, and what the processes of a run do together."""

import gc
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, zip_longest
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from options.errors import Failure, UserError
from restore.compute.share import Share

T = TypeVar("T")
PATIENCE = timedelta(days=365)
"""How long a process waits for the others, as while the first fills the store. One that dies is noticed at once."""
NOBODY = object()


@dataclass(frozen=True)
class Process:
    """One of the processes that train a network together.

    Each of its methods has to be called by all of them, in the same order. Where there is one process, they cost
    nothing.
    """

    rank: int = 0
    """This process's number, from 0."""
    count: int = 1
    """Number of processes. Each takes every count-th sample of a batch, so the batch is the same for any count."""
    local_rank: int = 0
    """Its number among the processes of its machine, from 0, which is the number of its GPU."""
    local_count: int = 1
    """Number of processes on its machine."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and messages."""
        return self.rank == 0

    def share(self, size: int) -> Share:
        """Its share of a batch of so many samples."""
        return Share(size, self.rank, self.count)

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network as it is to be called in training: a backward pass through it leaves the mean of all processes'
        gradients in each of them. Theirs travel while the pass goes on."""
        if self.count == 1:
            return network
        # Of 1x1 convolutions, whose gradients lie in memory as their weights do, whatever the strides are called.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        return DistributedDataParallel(network, forward_sync_buffers=False)

    def sums(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """The sum over the processes of each of these scalars, in float32."""
        if self.count == 1:
            return values
        row = torch.stack([value.float() for value in values.values()])
        distributed.all_reduce(row)
        return dict(zip(values, row.unbind(), strict=True))

    def highest(self, number: int) -> int:
        """The highest of the numbers that the processes give."""
        if self.count == 1:
            return number
        held = torch.tensor(number)
        distributed.all_reduce(held, distributed.ReduceOp.MAX)
        return int(held)

    def gather(self, values: Sequence[T]) -> list[T]:
        """The values of all processes in one order: of things that they took in turn, as samples, the order of those.

        values  that pickle can hold
        """
        if self.count == 1:
            return list(values)
        of_each: list[Any] = [None] * self.count
        distributed.all_gather_object(of_each, list(values))
        return [value for value in chain(*zip_longest(*of_each, fillvalue=NOBODY)) if value is not NOBODY]

    def from_first(self, action: Callable[[], T]) -> T:
        """What the action returns, which the first process calls. An error of it is one of all processes."""
        if self.count == 1:
            return action()
        held: list[Any] = [None]
        with self.together():
            if self.first:
                held = [action()]
        distributed.broadcast_object_list(held, src=0)
        return held[0]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Where a UserError or Failure ends the block in one process, it ends the block in all of them.

        All wait for one another at the end of the block.
        """
        own: UserError | Failure | None = None
        try:
            yield
        except (UserError, Failure) as error:
            own = error
        told = (UserError if isinstance(own, UserError) else Failure, str(own)) if own else None
        if found := [one for one in self.gather([told]) if one]:
            kind, text = found[0]
            of_all = own or kind(text)
            of_all.of_all = True
            raise of_all

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """The others run the block when the first has, and find what it made. Its error is one of all processes."""
        if not self.first:
            with self.together():
                pass
        with self.together():
            yield
        if self.first and self.count > 1:
            with self.together():
                pass


def exchanging(network: Callable, exchanges: bool) -> AbstractContextManager:
    """Inside the block a backward pass leaves the gradients of this process, unless it exchanges them.

    network  as Process.parallel gives it, or that compiled; the forward pass belongs into the block as well
    """
    alone = getattr(network, "no_sync", nullcontext)
    return nullcontext() if exchanges else alone()


@contextmanager
def joined_processes() -> Iterator[Process]:
    """Joins the processes that torchrun has started, and waits for them at the end; alone without torchrun.

    CUDA tensors travel by nccl and all others by gloo. An error that all processes have leaves the first alone; the
    others end with its exit status. Raises Failure where another process has died.
    """
    if os.environ.get("WORLD_SIZE", "1") in ("", "1"):
        yield Process()
        return
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    try:
        process = Process(*(int(os.environ[name]) for name in names))
    except (KeyError, ValueError) as error:
        raise UserError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']!r} in the environment, where {', '.join(names)} are not all "
            f"numbers ({error}); start several processes by torchrun, or unset WORLD_SIZE"
        ) from None
    distributed.init_process_group(timeout=PATIENCE)
    try:
        yield process
        _end(process)
    except (UserError, Failure) as error:
        if error.of_all:
            _end(process)
            if not process.first:
                raise SystemExit(error.exit_status) from None
        raise
    except RuntimeError as error:
        if "gloo/transport" in str(error) or isinstance(error, distributed.DistError):
            raise Failure(
                f"process {process.rank} of {process.count}: another one has ended, and this one ends with it; the "
                f"reason is among the messages of the other"
            ) from None
        raise
    finally:
        gc.collect()  # of DistributedDataParallel, which holds the group: threads of it that outlive Python abort
        distributed.destroy_process_group()


def _end(process: Process) -> None:
    """Waits until all processes have come to their end."""
    process.highest(0)
    # torchrun sends SIGTERM to those that end a moment later than the first, and would report that.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
