"""Blur with a kernel that is drawn anew for each image."""

from math import pi
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveFloat
from torch import Generator

from transforms.base import Degradation, unused
from transforms.degradations.kernels import blurred, gaussian, generalised_gaussian, plateau, sinc
from transforms.noise.draws import NumberOrRange, Probability, Range, Shares, choose_by_share, happens, one_of, uniform

Kernel = Literal[
    "isotropic",
    "anisotropic",
    "generalised_isotropic",
    "generalised_anisotropic",
    "plateau_isotropic",
    "plateau_anisotropic",
    "sinc",
]
SMALL = 13
"""Kernels with a side below this [px] do not hold the waves of a low cut-off."""


def _odd(sizes: tuple[int, int]) -> tuple[int, int]:
    if not all(size % 2 for size in sizes):
        raise ValueError(f"[{sizes[0]}, {sizes[1]}] given; a kernel's side is odd, so that it has a middle")
    return sizes


Sizes = Annotated[Range[Annotated[int, Field(ge=1, le=101)]], AfterValidator(_odd)]
Sigma = NumberOrRange[NonNegativeFloat]
Cutoff = Annotated[float, Field(gt=0, le=1)]


class Blur(Degradation):
    """Blurs the image with one of seven kinds of kernel. What is not given is as in the first stage of Real-ESRGAN.

    At the image's edges the blur sees the image mirrored. Source: transforms/degradations/kernels.py.
    """

    class_name: Literal["Blur"] = "Blur"
    probability: Probability = 1
    """Share of the images that are blurred."""
    kernels: Shares[Kernel] = Field(
        default={
            "isotropic": 0.405,
            "anisotropic": 0.225,
            "generalised_isotropic": 0.108,
            "generalised_anisotropic": 0.027,
            "plateau_isotropic": 0.108,
            "plateau_anisotropic": 0.027,
            "sinc": 0.1,
        }
    )
    """The kinds to draw from, and how often each is to come in relation to the others."""
    sizes: Sizes = (7, 21)
    """[smallest, largest] side of the kernel [px], both odd; each odd number between is equally likely."""
    sigma: Sigma = (0.2, 3)
    """Standard deviation [px], or [low, high] from which it is drawn uniformly; anisotropic kernels have two, and an
    angle, each being equally likely."""
    generalised_shape: Range[PositiveFloat] = (0.5, 4)
    """[low, high] of the generalised kernels' shape: half the time from low to 1, half the time from 1 to high."""
    plateau_shape: Range[PositiveFloat] = (1, 2)
    """The same of the plateau kernels."""
    sinc_cutoff: Range[Cutoff] = (1 / 5, 1)
    """[low, high] of the sinc kernels' cut-off [of the Nyquist frequency, pi rad/px]."""
    small_sinc_cutoff: Range[Cutoff] = (1 / 3, 1)
    """The same for kernels of less than 13 px."""

    def without_effect(self) -> list[str]:
        options = {
            "generalised": ["generalised_shape"],
            "plateau": ["plateau_shape"],
            "sinc": ["sinc_cutoff", "small_sinc_cutoff"],
        }
        return [
            line
            for kind, names in options.items()
            if not any(kernel.startswith(kind) for kernel in self.kernels)
            for line in unused(self, f"none of the kernels is {kind}", *names)
        ] + (unused(self, "all kernels are sinc", "sigma") if set(self.kernels) == {"sinc"} else [])

    def degrade(self, image: np.ndarray, rng: Generator) -> np.ndarray:
        return blurred(image, self.kernel(rng)) if happens(self.probability, rng) else image

    def kernel(self, rng: Generator) -> np.ndarray:
        """A kernel as these options say: (size, size) float32, its sum being 1."""
        smallest, largest = self.sizes
        size = smallest + 2 * int(torch.randint((largest - smallest) // 2 + 1, (), generator=rng))
        kind = choose_by_share(self.kernels, rng)
        if kind == "sinc":
            return sinc(size, pi * uniform(*(self.small_sinc_cutoff if size < SMALL else self.sinc_cutoff), rng))
        across = along = one_of(self.sigma, rng)
        angle = 0.0
        if kind.endswith("anisotropic"):
            along, angle = one_of(self.sigma, rng), uniform(-pi, pi, rng)
        if kind.startswith("generalised"):
            return generalised_gaussian(size, across, along, angle, _shape(self.generalised_shape, rng))
        if kind.startswith("plateau"):
            return plateau(size, across, along, angle, _shape(self.plateau_shape, rng))
        return gaussian(size, across, along, angle)


def _shape(limits: tuple[float, float], rng: Generator) -> float:
    low, high = limits
    middle = min(max(1, low), high)
    return uniform(low, middle, rng) if happens(0.5, rng) else uniform(middle, high, rng)
