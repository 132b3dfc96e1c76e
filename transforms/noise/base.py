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
        """Whether the noise depends on the ISO speed."""
        return True

    def draw(self, iso: float, rng: Generator) -> SensorNoise:
        """The noise of one image, on the CPU. A model whose strength is fixed ignores the ISO speed."""
        raise NotImplementedError

    def file_mistakes(self) -> list[str]:
        """As of a transform (transforms.base.Transform.file_mistakes)."""
        return []

    @model_serializer(mode="wrap")
    def _name_alone(self, section: SerializerFunctionWrapHandler) -> Any:
        """Writes a model with default values as its name alone, as an option file may."""
        fields = type(self).model_fields.items()
        return self.class_name if all(getattr(self, name) == field.default for name, field in fields) else section(self)
