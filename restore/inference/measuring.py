"""The metrics of a restored image, of the image that it is compared with, and of classical denoisers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from options.errors import UserError
from restore.evaluation.baselines import BASELINES, SMALLEST_SIDE
from restore.evaluation.metrics import baseline, baseline_name, measure, measure_planes
from restore.evaluation.perceptual import Lpips
from restore.inference.inputs import Images
from restore.inference.restorer import Restorer
from restore.inference.results import RESTORED, Metrics
from transforms import RGGB, NoiseProfile


class Measuring:
    """Measures restored images against the clean ones.

    baselines  names of classical denoisers, which are measured on the same degraded images
    Raises UserError where these are not for the restorer's images.
    """

    def __init__(self, restorer: Restorer, baselines: Sequence[str] = ()):
        if baselines and (not restorer.layout.raw or restorer.scale > 1):
            raise UserError(
                f"baseline: {','.join(baselines)} given, for raw denoising alone, and {restorer.path} "
                f"{'enlarges' if restorer.layout.raw else f'restores {restorer.layout.name} pictures'}; leave it out"
            )
        self.baselines = {name: BASELINES[name] for name in baselines}
        for denoise in self.baselines.values():  # a package that is missing is told before the first file
            denoise(torch.zeros(RGGB.channels, *2 * [SMALLEST_SIDE]), NoiseProfile(*torch.zeros(2, RGGB.channels)))
        self.lpips = Lpips(restorer.device)
        self.images = [baseline_name(restorer.scale), *baselines, RESTORED]
        """Names of the images that are compared."""

    @torch.inference_mode()
    def __call__(self, images: Images) -> dict[str, Metrics]:
        """The metrics of each of them; empty ones without a clean image. Raises UserError for what is too small."""
        metrics: dict[str, Metrics] = {name: {} for name in self.images}
        if images.clean is None:
            return metrics
        metrics[self.images[0]] = self._of(baseline(images.degraded, images.layout, images.scale), images)
        for name, denoise in self.baselines.items():
            if images.noise is not None:
                metrics[name] = self._of(denoise(images.degraded, images.noise), images)
        metrics[RESTORED] = self._of(images.restored, images)
        return metrics

    def _of(self, image: Tensor, images: Images) -> Metrics:
        assert images.clean is not None
        clean, metadata, layout = images.clean, images.metadata, images.layout
        measured = measure(image, clean, metadata, layout, images.scale)
        if layout.raw:
            measured |= measure_planes(image, clean, layout)
        return {
            **{name: float(value) for name, value in measured.items()},
            **self.lpips(image, clean, metadata, layout),
        }
