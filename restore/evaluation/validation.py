"""What a generator does on photographs that it was not trained on."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from losses import WeightedLoss
from restore.compute.device import tf32
from restore.data.batches import Batch
from restore.evaluation.metrics import MeanMetrics, measure
from restore.evaluation.strips import stack, strip
from restore.networks.tiles import restore_tiled
from transforms import unconditioned, unconditioned_degraded

PICTURES = 4  # photographs in the strip
LARGEST = 384  # pixels of a picture's side in the strip
TILE, OVERLAP = 1024, 32  # [pixels] of the network's input: a larger photograph is restored in tiles


class ValidationReport(NamedTuple):
    """Means over the validation photographs."""

    loss: float
    """Weighted sum of the terms that compare with the clean image: what the scheduler and best.pth go by."""
    restored: dict[str, float]
    """Metrics of the restored images, by name."""
    degraded: dict[str, float]
    """The same of the images as they went in."""
    pictures: Tensor
    """(3, H, W) sRGB 0..1: degraded | restored | clean of the first photographs."""
    not_finite: tuple[str, ...]
    """The photographs whose own loss is not finite."""


@tf32(allowed=False)
def validate(generator: nn.Module, loss: WeightedLoss, batches: Iterable[Batch]) -> ValidationReport:
    """Restores every validation photograph, in float32, and measures it. The generator is left in training mode.

    batches  of one photograph each
    """
    values: list[float] = []
    not_finite: list[str] = []
    restored_metrics, degraded_metrics = MeanMetrics(), MeanMetrics()
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
            restored, clean = unconditioned(restored, metadata), unconditioned(batch.clean, metadata)
            restored_metrics.add(measure(restored, clean, metadata, layout))
            degraded_metrics.add(measure(degraded, clean, metadata, layout))
            if len(strips) < PICTURES:
                shown = [layout.render(image, metadata)[0] for image in (degraded, restored, clean)]
                strips.append(strip(shown, LARGEST))
    generator.train()
    return ValidationReport(
        sum(values) / len(values), restored_metrics.mean(), degraded_metrics.mean(), stack(strips), tuple(not_finite)
    )
