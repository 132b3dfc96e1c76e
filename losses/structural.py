"""Structural similarity at one scale and at five, as losses.

Both use only windows that lie wholly inside the image, without padding.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from options.errors import UserError

WINDOW, SIGMA = 11, 1.5  # [pixels]
C1, C2 = 0.01**2, 0.03**2  # (K1 L)^2 and (K2 L)^2 for a data range L of 1
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # from fine to coarse, Wang et al. 2003, section 3.2
SMALLEST_SIMILARITY = 1e-6  # x^weight has no finite slope at 0, and no real value below


class StructuralLoss(nn.Module):
    """1 - SSIM, the mean over batch, channels and windows: 0 for equal images, at most 2.

    Source: Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, 2004: Gaussian
    windows of 11 x 11 pixels, sigma 1.5, K1 0.01, K2 0.03, data range 1, population covariance.
    """

    smallest_side = WINDOW

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        """Two (B, C, H, W), nominally 0..1 -> scalar. UserError where a side is below 11 pixels."""
        _require_side(restored, self.smallest_side, "ssim")
        luminance, contrast = _similarities(restored, clean)
        return 1 - (luminance * contrast).mean()


class MultiScaleStructuralLoss(nn.Module):
    """1 - MS-SSIM, the mean over batch and channels: 0 for equal images, at most 1.

    MS-SSIM = luminance_5^w_5 * product over the five scales j of contrast_j^w_j, each a mean over windows as in SSIM;
    from one scale to the next the images are averaged over 2 x 2 pixels. A negative mean counts as 1e-6.
    Source: Wang, Simoncelli and Bovik, Multi-Scale Structural Similarity for Image Quality Assessment, 2003.
    """

    smallest_side = (WINDOW - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        """Two (B, C, H, W), nominally 0..1 -> scalar. UserError where a side is not above 160 pixels."""
        _require_side(restored, self.smallest_side, "ms_ssim")
        similarity = restored.new_ones(())
        for scale, weight in enumerate(SCALE_WEIGHTS):
            if scale > 0:
                restored, clean = (_halve(image) for image in (restored, clean))
            luminance, contrast = _similarities(restored, clean)
            coarsest = scale == len(SCALE_WEIGHTS) - 1
            factor = (luminance * contrast if coarsest else contrast).mean(dim=(-2, -1))
            similarity = similarity * factor.clamp(min=SMALLEST_SIMILARITY) ** weight
        return 1 - similarity.mean()


def _similarities(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Similarity of luminance, and of contrast and structure, of two (B, C, H, W): each (B, C, H - 10, W - 10)."""
    # Second moments about the clean image's mean: about 0, their differences would lose digits in float32.
    centre = second.mean(dim=(-2, -1), keepdim=True)
    offset_1, offset_2 = first - centre, second - centre
    moments = torch.stack((offset_1, offset_2, offset_1 * offset_1, offset_2 * offset_2, offset_1 * offset_2))
    offset_1, offset_2, square_1, square_2, product = _local_means(moments)
    mean_1, mean_2 = offset_1 + centre, offset_2 + centre
    variances = (square_1 - offset_1**2) + (square_2 - offset_2**2)
    luminance = (2 * mean_1 * mean_2 + C1) / (mean_1**2 + mean_2**2 + C1)
    contrast = (2 * (product - offset_1 * offset_2) + C2) / (variances + C2)
    return luminance, contrast


def _local_means(images: Tensor) -> Tensor:
    """(..., H, W) -> (..., H - 10, W - 10): means under the Gaussian window, which is a column times a row."""
    position = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    weights = torch.softmax(-(position**2) / (2 * SIGMA**2), dim=0)
    planes = images.flatten(0, -3)  # channels of one image are 26 times as fast on a CPU as a batch of single planes
    column = weights.view(1, 1, -1, 1).expand(len(planes), 1, -1, 1)
    planes = functional.conv2d(planes[None], column, groups=len(planes))
    planes = functional.conv2d(planes, column.mT, groups=planes.shape[1])
    return planes.view(*images.shape[:-2], *planes.shape[-2:])


def _halve(image: Tensor) -> Tensor:
    """Means of 2 x 2 pixels. At an odd side the last row or column is averaged alone."""
    return functional.avg_pool2d(image, 2, ceil_mode=True)


def _require_side(image: Tensor, side: int, name: str) -> None:
    height, width = image.shape[-2:]
    if min(height, width) < side:
        raise UserError(
            f"{name}: images of {height} x {width} pixels given; it needs {side} x {side} or more; use larger crops"
        )
