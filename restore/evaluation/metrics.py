"""PSNR, SSIM and bias of each image, in raw and in sRGB, and what a restored image is compared with."""

from collections import defaultdict
from collections.abc import Mapping
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from options.errors import UserError
from restore.networks.upsampling import REACH, BicubicUpsampling
from transforms import LAYOUTS, Layout, RawMetadata

HIGHEST_PSNR = 100.0
"""Upper limit of PSNR [dB], also for identical images, so that means and JSON files stay finite. It is an rms error of
1e-5, less than one step of 16-bit numbers."""

SSIM_WINDOW = 11
"""Side [pixels] of the Gaussian window with a standard deviation of 1.5 pixels."""

PLANES = {plane for layout in LAYOUTS.values() for plane in layout.planes}
"""Names of planes, which end the names of their metrics."""
BIAS = "bias_"
"""Begins the names of the biases; the plane's name follows."""
DARKEST = 1e-4
"""Mean below which bias is no longer relative to the plane's own [of the white level]: black has none."""

ROWS = 256
"""Rows processed at a time: SSIM needs about twelve times their memory."""
MARGIN = 2
"""Rows of packed raw above and below those that demosaicing needs."""


def psnr(estimate: Tensor, clean: Tensor) -> Tensor:
    """Peak signal-to-noise ratio for a peak of 1 [dB]: -10 log10(mean squared error), at most HIGHEST_PSNR.

    estimate  (..., C, H, W), any float type and device; clipped to 0..1 first
    clean     the same shape, taken as it is
    Returns one value for each image, (...) float64 on the CPU: its tolist() is a number, or a list for a batch.
    """
    error = torch.clamp(estimate, 0, 1).float().sub_(clean)
    mean_squared_error = error.square_().mean(dim=(-3, -2, -1)).cpu().double()
    return -10 * torch.log10(mean_squared_error.clamp(min=10 ** (-HIGHEST_PSNR / 10)))


def ssim(estimate: Tensor, clean: Tensor) -> Tensor:
    """Structural similarity: the mean over pixels and channels, 1 for identical images. Shapes are those of psnr.

    Raises UserError for images smaller than its window of 11 x 11 pixels.
    Source: Wang et al., Image quality assessment: from error visibility to structural similarity, 2004.
    """
    height, width = clean.shape[-2:]
    if min(height, width) < SSIM_WINDOW:
        raise UserError(
            f"an image of {width} x {height} pixels is too small for SSIM; "
            f"measure images of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels"
        )
    values = [_ssim(*pair) for pair in zip(_images(estimate), _images(clean), strict=True)]
    return torch.tensor(values, dtype=torch.float64).reshape(clean.shape[:-3])


def bias(estimate: Tensor, clean: Tensor) -> Tensor:
    """How much brighter each plane is on average, relative to the plane: (mean - clean mean) / clean mean [1].

    estimate, clean  (..., C, H, W), linear
    Returns (..., C) float64 on the CPU. 0.002 in one plane and not in the others is a visible cast in shadows, which
    PSNR hides.
    """
    before, after = (image.float().mean(dim=(-2, -1)).cpu().double() for image in (clean, estimate))
    return (after - before) / before.clamp(min=DARKEST)


def measure(
    estimate: Tensor, clean: Tensor, metadata: RawMetadata | None, layout: Layout, scale: int = 1
) -> dict[str, Tensor]:
    """PSNR and SSIM of an image or a batch: {"psnr_srgb", "ssim_srgb"}, for raw also {"psnr_raw", "ssim_raw"} and the
    bias of each plane, {"bias_R", "bias_G1", "bias_G2", "bias_B"}.

    estimate  (..., channels, H, W), of the layout
    clean     the same shape
    metadata  for rendering, with the same leading shape; None for sRGB
    scale     side of the restored image / side of the degraded one. In super-resolution of sRGB, {"psnr_y", "ssim_y"}
              follow: of luma(), `scale` pixels of the border being left out, as the field's tables have it
    """
    if not layout.raw:
        measured = {"psnr_srgb": psnr(estimate, clean), "ssim_srgb": ssim(estimate, clean)}
        if scale > 1:
            estimate, clean = (luma(image)[..., scale:-scale, scale:-scale] for image in (estimate, clean))
            measured |= {"psnr_y": psnr(estimate, clean), "ssim_y": ssim(estimate, clean)}
        return measured
    seen, meant = rendered(estimate, metadata, layout), rendered(clean, metadata, layout)
    return {
        "psnr_raw": psnr(estimate, clean),
        "ssim_raw": ssim(estimate, clean),
        "psnr_srgb": psnr(seen, meant),
        "ssim_srgb": ssim(seen, meant),
        **{
            f"{BIAS}{plane}": values
            for plane, values in zip(layout.planes, bias(estimate, clean).unbind(-1), strict=True)
        },
    }


def measure_planes(estimate: Tensor, clean: Tensor, layout: Layout) -> dict[str, Tensor]:
    """PSNR and SSIM of each plane of an image: {"psnr_R": ..., "ssim_R": ..., "psnr_G1": ...}; shapes as in measure."""
    return {
        f"{name}_{plane}": metric(estimate[..., n, None, :, :], clean[..., n, None, :, :])
        for n, plane in enumerate(layout.planes)
        for name, metric in (("psnr", psnr), ("ssim", ssim))
    }


def is_of_a_plane(name: str) -> bool:
    """Whether a metric of this name is that of a single plane: a detail, beside those of the image."""
    return name.partition("_")[2] in PLANES


def changes(before: Mapping[str, float | None], after: Mapping[str, float | None]) -> str:
    """Metrics of two images by name, for a person: "psnr_raw 34.48 -> 39.32, ..., bias R +0.01% G1 -0.02% ...", where
    the bias is that of the second; "-" for a number that is not known. PSNR and SSIM of single planes are left out."""
    parts = [
        f"{name} {short(name, before.get(name))} -> {short(name, value)}"
        for name, value in after.items()
        if not is_of_a_plane(name)
    ]
    biases = [
        f"{name.removeprefix(BIAS)} {short(name, value)}" for name, value in after.items() if name.startswith(BIAS)
    ]
    return ", ".join([*parts, *([f"bias {' '.join(biases)}"] if biases else [])])


def short(name: str, value: float | None) -> str:
    """A metric's value for a person."""
    if value is None:
        return "-"
    if name.startswith(BIAS):
        return f"{value:+.2%}"
    return f"{value:.2f}" if name.startswith("psnr") else f"{value:.4f}"


def luma(srgb: Tensor) -> Tensor:
    """Y of ITU-R BT.601 as MATLAB's rgb2ycbcr has it, over 255: 16/255 for black and 235/255 for white.

    srgb  (..., 3, H, W), 0..1; rounded to 8 bits first, as the pictures are that others measure
    Returns (..., 1, H, W) float32.
    """
    red, green, blue = (srgb.float().clamp(0, 1) * 255).round().unbind(-3)
    return ((65.481 * red + 128.553 * green + 24.966 * blue) / 255 + 16).unsqueeze(-3) / 255


def smallest_side(layout: Layout, scale: int) -> int:
    """Of a clean image that can be measured [pixels of the layout]."""
    return SSIM_WINDOW + (2 * scale if scale > 1 and not layout.raw else 0)


def baseline_name(scale: int) -> str:
    """What baseline() is called in logs and results."""
    return "degraded" if scale == 1 else "bicubic"


def baseline(degraded: Tensor, layout: Layout, scale: int) -> Tensor:
    """What a restored image is compared with: the degraded image, in super-resolution enlarged by interpolation.

    degraded  (..., channels, h, w), of the layout
    Returns (..., channels, scale * h, scale * w): of sRGB what MATLAB's imresize(..., "bicubic") gives, which sees the
    image mirrored at its border; of raw the same for each plane, at the places of its colour.
    """
    if scale == 1:
        return degraded
    rows, columns = (_mirrored(side) for side in degraded.shape[-2:])
    padded = degraded[..., rows, :][..., columns].float()
    upsampling = BicubicUpsampling(layout.channels, layout, scale).to(degraded.device)
    margin = scale * REACH
    enlarged = upsampling(padded.reshape(-1, *padded.shape[-3:]))[..., margin:-margin, margin:-margin]
    return enlarged.reshape(*degraded.shape[:-2], *enlarged.shape[-2:])


def rendered(image: Tensor, metadata: RawMetadata | None, layout: Layout) -> Tensor:
    """layout.render(image), for a large image ROWS at a time: rendering needs several times its result's memory."""
    height, width = image.shape[-2:]
    if height <= ROWS:
        return layout.render(image, metadata)
    cell = layout.cell
    result = image.new_empty(*image.shape[:-3], 3, cell * height, cell * width, dtype=torch.float32)
    for top in range(0, height, ROWS):
        bottom = min(top + ROWS, height)
        first, last = max(0, top - MARGIN), min(height, bottom + MARGIN)
        part = layout.render(image[..., first:last, :], metadata)
        result[..., cell * top : cell * bottom, :] = part[..., cell * (top - first) : cell * (bottom - first), :]
    return result


class MeanMetrics:
    """Means over images. Every image counts once, whatever the size of its batch."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = defaultdict(list)
        """By the metric's name, one number for each image, in the order added."""

    def add(self, measured: dict[str, Tensor]) -> None:
        """measured  result of measure() for one image or one batch"""
        for name, values in measured.items():
            self.values[name] += values.flatten().tolist()

    def mean(self) -> dict[str, float]:
        """The mean by name; empty before the first image."""
        return {name: fmean(values) for name, values in self.values.items()}


def _mirrored(length: int) -> Tensor:
    """The pixels of a side, and REACH more at either end: the outermost pixel twice, then the one beside it."""
    return torch.from_numpy(np.pad(np.arange(length), REACH, mode="symmetric"))


def _ssim(estimate: np.ndarray, clean: np.ndarray) -> float:
    """SSIM of two images (C, H, W), computed in strips to save memory. Strips overlap by the pixels of a window."""
    from skimage.metrics import structural_similarity

    windows = clean.shape[-2] - SSIM_WINDOW + 1
    total = 0.0
    for top in range(0, windows, ROWS):
        count = min(ROWS, windows - top)
        rows = slice(top, top + count + SSIM_WINDOW - 1)
        total += count * structural_similarity(
            estimate[:, rows].clip(0, 1),
            clean[:, rows],
            channel_axis=0,
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    return total / windows


def _images(batch: Tensor) -> np.ndarray:
    return batch.float().reshape(-1, *batch.shape[-3:]).cpu().numpy()
