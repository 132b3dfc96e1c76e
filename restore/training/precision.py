"""What the option `amp` means for a device, a network and its losses."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

import torch

from options.errors import UserError
from restore.compute.device import tf32

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@contextmanager
def training_arithmetic() -> Iterator[None]:
    """On CUDA, for the time of a training: TF32 where float32 is computed in, and the fastest convolutions sought."""
    benchmark = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        with tf32(allowed=True):
            yield
    finally:
        torch.backends.cudnn.benchmark = benchmark


class Precision(NamedTuple):
    """What the generator's forward pass is computed in while training."""

    dtype: torch.dtype
    why: str

    def autocast(self, device: torch.device) -> AbstractContextManager:
        return torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """Keeps float16's gradients in its range; bfloat16 has float32's range and wants none."""
        return torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)


def choose_precision(amp: str, device: torch.device, half_precision_safe: bool, pixel_terms_only: bool) -> Precision:
    """What the option `amp` means for a device, a generator and its losses.

    amp                  auto | off | fp16 | bf16
    half_precision_safe  what the network says of itself
    pixel_terms_only     no adversarial and no perceptual term
    Raises UserError where fp16 or bf16 is asked for and not there: nothing else is taken in its place.
    """
    if amp == "off":
        return Precision(torch.float32, "float32, as amp asks")
    if amp in ("fp16", "bf16"):
        if not half_precision_safe:
            raise UserError(f'amp: "{amp}" given, but this network does not train in it; give "off" or "auto"')
        if not _has(amp, device):
            raise UserError(f'amp: "{amp}" given, but {device.type} here cannot train in it; give "off" or "auto"')
        return Precision(DTYPES[amp], f"{amp}, as amp asks")
    if not pixel_terms_only:
        return Precision(torch.float32, "float32: amp auto is off where an adversarial or perceptual term is present")
    fast = _fast_half(device)
    if fast is None or not half_precision_safe:
        return Precision(torch.float32, "float32: amp auto sees no gain by half precision for this network here")
    return Precision(DTYPES[fast], f"{fast}: amp auto is on, the losses are pixel terms and the device gains by it")


def _has(half: str, device: torch.device) -> bool:
    if device.type == "cuda":
        with torch.cuda.device(device):
            return half == "fp16" or torch.cuda.is_bf16_supported(including_emulation=False)
    # The CPU and MPS train in bfloat16, with or without instructions of its own; float16 needs a scaler proven there.
    return half == "bf16"


def _fast_half(device: torch.device) -> str | None:
    """The half precision that the device computes faster than float32, if any."""
    if device.type == "cuda":
        if _has("bf16", device):
            return "bf16"
        return "fp16" if torch.cuda.get_device_capability(device) >= (7, 0) else None  # tensor cores
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") else None
    return None
