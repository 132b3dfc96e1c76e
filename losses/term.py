"""What the sections of all loss terms have in common."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat
from torch import nn

from options.base import Options

Weight = Annotated[NonNegativeFloat, Field(le=1e6)]


class TermOptions(Options):
    """One term of the weighted loss.

    family  what the term looks at: "pixel" the images as they are, "feature" the images rendered for the eye,
            "gan" what the discriminator makes of them
    """

    family: ClassVar[Literal["pixel", "gan", "feature"]]

    class_name: str
    weight: Weight = 1.0
    """What the term is multiplied by in the sum [1]; 0 leaves it out."""

    @property
    def smallest_side(self) -> int:
        """Sides of the images that it takes are no shorter [px]."""
        return 1

    def build(self) -> nn.Module:
        """The finished term; what it is called with is said in losses/weighted.py."""
        raise NotImplementedError
