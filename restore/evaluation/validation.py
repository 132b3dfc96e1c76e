"""Validation: measures a generator on the validation photographs."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from losses import WeightedLoss
from restore.compute.device import tf32
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


@tf32(allowed=False)
def validate(generator: Generator, loss: WeightedLoss, batches: Iterable[Batch]) -> ValidationReport:
    """Restores every validation photograph in float32 and measures it. Afterwards the generator is in training mode.

    batches  one photograph in each
    """
    values: list[float] = []
    not_finite: list[str] = []
    restored_metrics, baseline_metrics = MeanMetrics(), MeanMetrics()
    scale = generator.scale
    strips: list[Tensor] = []
    generator.eval()
    with torch.inference_mode():
        for batch in batches:
            metadata, layout = batch.metadata, batch.layout
            restored = restore_tiled(generator, batch.degraded, TILE, OVERLAP)
            values.append(float(loss.comparison(restored, batch.clean, metadata)))
            if not math.isfinite(values[-1]):
                not_finite += batch.files
            degraded = unconditioned_degraded(batch.degraded, metadata, layout)
            restored, clean = recorded(generator, restored, degraded, metadata), unconditioned(batch.clean, metadata)
            restored_metrics.add(measure(restored, clean, metadata, layout, scale))
            baseline_metrics.add(measure(baseline(degraded, layout, scale), clean, metadata, layout, scale))
            if len(strips) < PICTURES:
                shown = [layout.render(image, metadata)[0] for image in (degraded, restored, clean)]
                strips.append(strip(shown, LARGEST))
    generator.train()
    return ValidationReport(
        sum(values) / len(values),
        restored_metrics.mean(),
        baseline_metrics.mean(),
        baseline_name(scale),
        stack(strips),
        tuple(not_finite),
    )
