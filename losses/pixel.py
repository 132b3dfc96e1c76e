"""Terms that compare two images pixel by pixel, or window by window.

All of them are called with (restored, clean), both (B, C, H, W) float32 and nominally 0..1, and return a scalar: 0 for
equal images, the mean over batch, channels and pixels otherwise.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from losses.structural import MultiScaleStructuralLoss, StructuralLoss
from losses.term import TermOptions


class DifferenceOptions(TermOptions):
    """A term of the differences of single pixels."""

    family: ClassVar = "pixel"
    noise_units: bool = False
    """Counts each difference in units of the noise's standard deviation at that pixel, so that every ISO speed, and
    shadows and highlights, weigh alike. For raw images whose noise is known. Use it with a network that has
    noise_residual, and Charbonnier with an epsilon of 1: like a mean square it leaves no cast, and it is not ruled by
    single pixels. A weight near 0.1 keeps the usual learning rates."""


class L1(DifferenceOptions):
    """Mean absolute difference."""

    class_name: Literal["L1"] = "L1"

    def build(self) -> nn.Module:
        return nn.L1Loss()


class L2(DifferenceOptions):
    """Mean squared difference."""

    class_name: Literal["L2"] = "L2"

    def build(self) -> nn.Module:
        return nn.MSELoss()


class Charbonnier(DifferenceOptions):
    """Mean absolute difference, rounded off near 0: mean of sqrt(difference^2 + epsilon^2) (Lai et al. 2017)."""

    class_name: Literal["Charbonnier"] = "Charbonnier"
    epsilon: Annotated[PositiveFloat, Field(le=1)] = 1e-3
    """Difference below which the term grows as a square [of the white level; with noise_units, of the noise's standard
    deviation]; also its value for equal images."""

    def build(self) -> nn.Module:
        return CharbonnierLoss(self.epsilon)


class Ssim(TermOptions):
    """1 - SSIM (Wang et al. 2004). It hardly reacts to shifts of brightness or colour: use it beside L1."""

    family: ClassVar = "pixel"
    class_name: Literal["ssim"] = "ssim"

    @property
    def smallest_side(self) -> int:
        return StructuralLoss.smallest_side

    def build(self) -> nn.Module:
        return StructuralLoss()


class MsSsim(TermOptions):
    """1 - multi-scale SSIM (Wang et al. 2003), for images above 160 pixels: use it beside a term such as L1."""

    family: ClassVar = "pixel"
    class_name: Literal["ms_ssim"] = "ms_ssim"

    @property
    def smallest_side(self) -> int:
        return MultiScaleStructuralLoss.smallest_side

    def build(self) -> nn.Module:
        return MultiScaleStructuralLoss()


class CharbonnierLoss(nn.Module):
    """Mean of sqrt(difference^2 + epsilon^2). Source: Lai et al., Deep Laplacian Pyramid Networks, 2017, equation 4."""

    def __init__(self, epsilon: float):
        super().__init__()
        self.epsilon = epsilon

    def forward(self, restored: Tensor, clean: Tensor) -> Tensor:
        return ((restored - clean).square() + self.epsilon**2).sqrt().mean()
