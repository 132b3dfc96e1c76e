"""What every noise model is: an option section that draws a sensor's noise."""

from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer
from torch import Generator

from options.base import Options
from transforms.noise.sensor import SensorNoise


class NoiseModel(Options):
    """A way to draw the noise of one image. Its fields are its whole state."""

    class_name: str

    @property
    def heeds_iso(self) -> bool:
        """Whether the ISO speed makes a difference to it."""
        return True

    def draw(self, iso: float, rng: Generator) -> SensorNoise:
        """The noise of one image, on the CPU. A model that knows its own strength takes no notice of the ISO speed."""
        raise NotImplementedError

    @model_serializer(mode="wrap")
    def _name_alone(self, section: SerializerFunctionWrapHandler) -> Any:
        """A model with its defaults is written as its name, as it may be given."""
        return self.class_name if self == self.model_construct() else section(self)
