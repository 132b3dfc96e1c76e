"""The floating-point formats of training: TF32, and half precision as the option `amp` says."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

import torch

from options.errors import UserError
from restore.compute.device import tf32

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@contextmanager
def training_arithmetic() -> Iterator[None]:
    """Inside the block, CUDA computes float32 in TF32, and cuDNN measures which convolution algorithm is fastest."""
    benchmark = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        with tf32(allowed=True):
            yield
    finally:
        torch.backends.cudnn.benchmark = benchmark


class Precision(NamedTuple):
    """The format of the generator's forward pass in training."""

    dtype: torch.dtype
    why: str
    """The format and the reason for it, for the user."""

    def autocast(self, device: torch.device) -> AbstractContextManager:
        return torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """Scales the loss so that float16 can hold its gradients; bfloat16 has float32's range and needs no scaling."""
        return torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)


def choose_precision(amp: str, device: torch.device, half_precision_safe: bool, pixel_terms_only: bool) -> Precision:
    """The precision that the option `amp` selects.

    amp                  auto | off | fp16 | bf16
    half_precision_safe  whether the network can be trained in half precision
    pixel_terms_only     whether the loss has no adversarial and no perceptual term
    Raises UserError if fp16 or bf16 is given and cannot be used.
    """
    if amp == "off":
        return Precision(torch.float32, "float32, as amp says")
    if amp in ("fp16", "bf16"):
        if not half_precision_safe:
            raise UserError(f'amp: "{amp}" given, but this network cannot be trained in it; give "off" or "auto"')
        if not _has(amp, device):
            raise UserError(f'amp: "{amp}" given, but {device.type} here cannot train in it; give "off" or "auto"')
        return Precision(DTYPES[amp], f"{amp}, as amp says")
    if not pixel_terms_only:
        return Precision(torch.float32, "float32: amp auto uses it with adversarial and perceptual losses")
    fast = _fast_half(device)
    if fast is None or not half_precision_safe:
        return Precision(
            torch.float32, "float32: amp auto uses it, as half precision is not faster for this network on this device"
        )
    return Precision(
        DTYPES[fast], f"{fast}: amp auto uses it, as all losses are pixel losses and it is faster on this device"
    )


def _has(half: str, device: torch.device) -> bool:
    if device.type == "cuda":
        with torch.cuda.device(device):
            return half == "fp16" or torch.cuda.is_bf16_supported(including_emulation=False)
    # The CPU and MPS can train in bfloat16 even without instructions for it. float16 is not tested there.
    return half == "bf16"


def _fast_half(device: torch.device) -> str | None:
    """The half precision that is faster than float32 on this device; None: neither."""
    if device.type == "cuda":
        if _has("bf16", device):
            return "bf16"
        return "fp16" if torch.cuda.get_device_capability(device) >= (7, 0) else None  # tensor cores
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") else None
    return None
