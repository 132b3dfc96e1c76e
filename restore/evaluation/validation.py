"""Validation: measures a generator on the validation photographs."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from losses import WeightedLoss
from restore.compute.device import tf32
from restore.compute.process import Process
from restore.data.batches import Batch
from restore.evaluation.metrics import MeanMetrics, baseline, baseline_name, measure
from restore.evaluation.strips import stack, strip
from restore.networks.base import Generator
from restore.networks.means import recorded
from restore.networks.tiles import restore_tiled
from transforms import unconditioned, unconditioned_degraded

PICTURES = 4  # photographs shown
LARGEST = 384  # [pixels] longest side of a picture shown
TILE, OVERLAP = 1024, 32  # [pixels] of the network's input: a larger photograph is restored in tiles


class ValidationReport(NamedTuple):
    """Means over the validation photographs."""

    loss: float
    """Weighted sum of the losses that compare with the clean image. The plateau schedule and best.pth follow it."""
    restored: dict[str, float]
    """Metrics of the restored images, by name."""
    baseline: dict[str, float]
    """Metrics of what they are compared with, by name."""
    baseline_name: str
    """What that is: the degraded images, or their bicubic enlargements."""
    pictures: Tensor
    """(3, H, W) sRGB 0..1: degraded | restored | clean of the first photographs."""
    not_finite: tuple[str, ...]
    """The photographs whose loss is not finite."""

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """All of them: {"restored": ..., the baseline's name: ...}."""
        return {"restored": self.restored, self.baseline_name: self.baseline}


class Measured(NamedTuple):
    """What validation finds out about one photograph."""

    file: str
    loss: float
    restored: dict[str, Tensor]
    """Metrics by name."""
    baseline: dict[str, Tensor]
    strip: Tensor | None
    """(3, H, W) sRGB 0..1: degraded | restored | clean; None of those that are not shown."""


@tf32(allowed=False)
def validate(
    generator: Generator, loss: WeightedLoss, batches: Iterable[Batch], process: Process = Process()
) -> ValidationReport:
    """Restores every validation photograph in float32 and measures it. Afterwards the generator is in training mode.

    batches  one photograph in each
    process  which process of the run this is: its batches are every count-th photograph, and each process gets the
             report on all of them, which is the same for any count
    """
    generator.eval()
    with torch.inference_mode():
        own = [
            _measured(generator, loss, batch, shown=process.rank + number * process.count < PICTURES)
            for number, batch in enumerate(batches)
        ]
    generator.train()
    measured = process.gather(own)
    restored, compared = MeanMetrics(), MeanMetrics()
    for photograph in measured:
        restored.add(photograph.restored)
        compared.add(photograph.baseline)
    return ValidationReport(
        sum(photograph.loss for photograph in measured) / len(measured),
        restored.mean(),
        compared.mean(),
        baseline_name(generator.scale),
        stack([photograph.strip for photograph in measured if photograph.strip is not None]),
        tuple(photograph.file for photograph in measured if not math.isfinite(photograph.loss)),
    )


def _measured(generator: Generator, loss: WeightedLoss, batch: Batch, shown: bool) -> Measured:
    metadata, layout, scale = batch.metadata, batch.layout, generator.scale
    restored = restore_tiled(generator, batch.degraded, TILE, OVERLAP)
    value = float(loss.comparison(restored, batch.clean, metadata))
    degraded = unconditioned_degraded(batch.degraded, metadata, layout)
    restored, clean = recorded(generator, restored, degraded, metadata), unconditioned(batch.clean, metadata)
    images = [layout.render(image, metadata)[0] for image in (degraded, restored, clean)] if shown else []
    return Measured(
        batch.files[0],
        value,
        measure(restored, clean, metadata, layout, scale),
        measure(baseline(degraded, layout, scale), clean, metadata, layout, scale),
        strip(images, LARGEST) if shown else None,
    )
