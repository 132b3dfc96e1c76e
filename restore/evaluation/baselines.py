"""Classical denoisers of raw images, which show what a network is worth beside them.

Each makes the noise equally strong by the generalised Anscombe transform, denoises, and transforms back by its exact
unbiased inverse, so that the brightness is kept. Source: transforms/sensor/anscombe.py.
"""

from collections.abc import Callable
from math import sqrt

import numpy as np
import torch
from skimage.restoration import denoise_nl_means
from torch import Tensor

from options.errors import UserError
from transforms import NoiseProfile, RawMetadata
from transforms.conditioning import VarianceStabilization
from transforms.sensor.anscombe import anscombe, exact_unbiased_inverse
from transforms.sensor.cameras import NEUTRAL

HALF, ROOT = 1 / 2, 1 / sqrt(2)
COMBINATIONS = np.array(
    [[HALF, HALF, HALF, HALF], [ROOT, 0, 0, -ROOT], [HALF, -HALF, -HALF, HALF], [0, ROOT, -ROOT, 0]]
)
"""Of R, G1, G2, B: brightness, red against blue, green against both, green against green. They are orthonormal, so that
white noise stays white, and the detail that all planes share is in the first."""
SMALLEST_SIDE = 16
"""Of a plane [px]: below it there is nothing to compare a patch with."""
PATCH, REACH, STRENGTH = 3, 6, 0.5
"""Side of a patch [px], largest distance of another one [px], and how unlike patches may be [noise's deviations]. Of
patches of 3, 5 and 7, reaches of 6, 8 and 10 and strengths of 0.4 to 1 they have the best mean PSNR on six photographs
of CBSD68 at ISO 100 to 25600."""


def bm3d(raw: Tensor, noise: NoiseProfile) -> Tensor:
    """Block-matching and 3D filtering by its authors' package, of the four combinations of the planes.

    Blocks are matched by the first one, the brightness, and filtered in all.
    raw    (4, h, w) packed raw, linear, 0 black, 1 white; values below 0 count
    noise  of the image, (4,)
    Returns (4, h, w) float32, not below 0; without noise the image as it is. Raises UserError where the package is
    missing, or the image is smaller than 16 x 16. The package is free for non-commercial use alone:
    pip install 'restore[bm3d]'.
    Source: Makinen, Azzari and Foi, Collaborative filtering of correlated noise, IEEE Transactions on Image Processing
    29, 2020.
    """
    try:
        from bm3d import bm3d as denoise
    except ImportError:
        raise UserError(
            "bm3d: the package of BM3D's authors is missing; pip install 'restore[bm3d]', whose licence allows "
            "non-commercial use alone"
        ) from None

    def denoised(planes: np.ndarray) -> np.ndarray:
        combined = np.tensordot(planes.astype(np.float64), COMBINATIONS, (0, 1))  # (h, w, 4)
        width = max(float(np.ptp(combined)), 1.0)  # the package is made for images in 0..1
        return width * np.tensordot(COMBINATIONS.T, denoise(combined / width, 1 / width), (1, 2))

    return _stabilized(denoised, raw, noise)


def non_local_means(raw: Tensor, noise: NoiseProfile) -> Tensor:
    """Non-local means of the four planes together: patches are compared in all of them. As bm3d in all else."""

    def denoised(planes: np.ndarray) -> np.ndarray:
        return denoise_nl_means(
            planes, PATCH, REACH, STRENGTH, fast_mode=True, sigma=1.0, channel_axis=0, preserve_range=True
        )

    return _stabilized(denoised, raw, noise)


BASELINES: dict[str, Callable[[Tensor, NoiseProfile], Tensor]] = {"bm3d": bm3d, "nlm": non_local_means}


def _stabilized(denoise: Callable[[np.ndarray], np.ndarray], raw: Tensor, noise: NoiseProfile) -> Tensor:
    """Denoises planes (4, h, w) whose noise has the standard deviation 1."""
    height, width = raw.shape[-2:]
    if min(height, width) < SMALLEST_SIDE:
        raise UserError(
            f"raw: planes of {width} x {height} pixels given; give {SMALLEST_SIDE} x {SMALLEST_SIDE} or more"
        )
    if not noise.known:
        raise UserError("noise: not known; give shot and read of each plane")
    if not (noise.shot.any() or noise.read.any()):
        return raw.float()
    assumed = VarianceStabilization().metadata(RawMetadata(NEUTRAL, noise)).stabilization
    assert assumed is not None
    shot, read = (values[:, None, None].cpu() for values in (assumed.shot, assumed.read))
    stabilized = anscombe(raw.float().cpu(), shot, read)
    restored = torch.from_numpy(denoise(stabilized.numpy())).float()
    return exact_unbiased_inverse(restored, shot, read).to(raw.device)
