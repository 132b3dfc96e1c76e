"""The device that a command computes on."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from options.errors import UserError
from restore.compute.process import Process


def choose_device(name: str | torch.device | None = None, process: Process = Process()) -> torch.device:
    """The device of this name ("cpu", "cuda", "cuda:1", "mps"); None: the best there is. UserError if not usable.

    Of several processes on a machine each gets the GPU of its own number.
    """
    several = process.count > 1
    if name is None:
        mps = torch.backends.mps.is_available() and not several  # gloo cannot read its memory
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        device = torch.device(name)
        if several and (device.index is not None or device.type == "mps"):
            raise NotImplementedError("one device for several processes")
        if several and device.type == "cuda":
            if process.local_count > torch.cuda.device_count():
                raise NotImplementedError(
                    f"{process.local_count} processes on a machine with {torch.cuda.device_count()} GPUs"
                )
            device = torch.device("cuda", process.local_rank)
            torch.cuda.set_device(device)  # where nccl and what names no device work
        if device.type not in ("cpu", "cuda", "mps"):
            raise NotImplementedError(f"{device.type} devices are not supported")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        remedy = "leave it out, or give cpu or cuda" if several else "leave it out, or give cpu, cuda or mps"
        raise UserError(f'device: "{name}" cannot be used ({reason}); {remedy}') from None
    return device


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Inside the block, CUDA computes float32 matrix products and convolutions in TF32, or does not.

    TF32 has the range of float32 and 10 bits of mantissa. torch's default allows it in convolutions only.
    """
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def describe_device(device: torch.device) -> str:
    """A line for the user: the device and its size."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"device: {properties.name}, {properties.total_memory / 2**30:.0f} GiB (cuda, torch {torch.__version__})"
    cores = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return f"device: {device.type}{cores} (torch {torch.__version__})"


def wait_for_device(device: torch.device) -> None:
    """Waits until the device has finished its queue of work, as timing needs."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
