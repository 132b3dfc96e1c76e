"""What every noise model is: an option section that draws a sensor's noise."""

from torch import Generator

from options.base import Options
from transforms.noise.sensor import SensorNoise


class NoiseModel(Options):
    """A way to draw the noise of one image. Its fields are its whole state."""

    @property
    def heeds_iso(self) -> bool:
        """Whether the ISO speed makes a difference to it."""
        return True

    def draw(self, iso: float, rng: Generator) -> SensorNoise:
        """The noise of one image, on the CPU. A model that knows its own strength takes no notice of the ISO speed."""
        raise NotImplementedError
