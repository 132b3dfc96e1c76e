"""What the sections of all loss terms have in common."""

from typing import ClassVar, Literal

from pydantic import NonNegativeFloat
from torch import nn

from options.base import Options


class TermOptions(Options):
    """One term of the weighted loss.

    family  what the term looks at: "pixel" the images as they are, "feature" the images rendered for the eye,
            "gan" the discriminator's verdict
    """

    family: ClassVar[Literal["pixel", "gan", "feature"]]

    class_name: str
    weight: NonNegativeFloat = 1.0
    """What the term is multiplied by in the sum [1]; 0 leaves it out."""

    def build(self) -> nn.Module:
        """The finished term; what it is called with is said in losses/weighted.py."""
        raise NotImplementedError
