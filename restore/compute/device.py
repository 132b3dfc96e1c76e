"""The device that a command computes on, and how exactly it computes there."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from options.errors import UserError


def find_device(name: str | None = None) -> torch.device:
    """The device of this name ("cpu", "cuda", "cuda:1", "mps"), or the best one there is. UserError if not there."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise NotImplementedError(f"{device.type} is none that is known here")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f'device: "{name}" cannot be used ({reason}); leave it out, or give cpu, cuda or mps') from None
    return device


def choose_device(name: str | None = None) -> torch.device:
    """The same, set up for training, for the whole process: of float32 CUDA multiplies 10 bits of mantissa (TF32)."""
    device = find_device(name)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    return device


@contextmanager
def full_float32() -> Iterator[None]:
    """Within it float32 is multiplied with all 23 bits of mantissa, which for convolutions is not torch's default.

    The settings are the process's; behind it they are what they were.
    """
    matrices, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matrices)
        torch.backends.cudnn.allow_tf32 = convolutions


def describe_device(device: torch.device) -> str:
    """One line: which device, and how large."""
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        return f"device: {facts.name}, {facts.total_memory / 2**30:.0f} GiB (cuda, torch {torch.__version__})"
    cores = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return f"device: {device.type}{cores} (torch {torch.__version__})"
