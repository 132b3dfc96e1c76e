"""What the sections of all loss terms have in common."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat
from torch import nn

from options.base import Options

Weight = Annotated[NonNegativeFloat, Field(le=1e6)]


class TermOptions(Options):
    """One term of the weighted loss.

    family  what the term compares: "pixel" the images as they are, "feature" the images rendered to sRGB,
            "gan" the discriminator's logits
    """

    family: ClassVar[Literal["pixel", "gan", "feature"]]

    class_name: str
    weight: Weight = 1.0
    """What the term is multiplied by in the sum [1]; 0 leaves it out."""

    @property
    def smallest_side(self) -> int:
        """The shortest side of an image that the term accepts [px]."""
        return 1

    def build(self) -> nn.Module:
        """The finished term. losses/weighted.py says what it is called with."""
        raise NotImplementedError
