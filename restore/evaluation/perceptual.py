"""LPIPS, the distance of two pictures as people judge it, for results.

Source: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, 2018; version 0.1 with
AlexNet, as published tables have it.
"""

import torch

from losses.backbones import cache_file, url_of
from losses.perceptual import LpipsAlex
from restore.evaluation.metrics import rendered
from transforms import Layout, RawMetadata

BACKBONE = "alexnet"


class Lpips:
    """Measures where AlexNet's weights are in torchvision's cache; nothing is downloaded for a measurement."""

    def __init__(self, device: torch.device):
        file = cache_file(BACKBONE)
        self.term = LpipsAlex().build().to(device) if file.is_file() else None
        self.device = device
        self.note = None if self.term else f"lpips: not measured; put {url_of(BACKBONE)} into {file.parent} for it"
        """A line for the user where it cannot measure."""

    @torch.inference_mode()
    def __call__(
        self, estimate: torch.Tensor, clean: torch.Tensor, metadata: RawMetadata | None, layout: Layout
    ) -> dict[str, float]:
        """{"lpips": 0 for equal images, about 1 for very different ones}; empty without weights.

        estimate, clean, metadata, layout  as metrics.measure takes them, of one image
        """
        if self.term is None:
            return {}
        pictures = (rendered(image, metadata, layout)[None].to(self.device) for image in (estimate, clean))
        return {"lpips": float(self.term(*pictures))}
