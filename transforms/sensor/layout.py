"""What the planes of an image tensor are: how many, of which colours, and how they are shown to a person."""

from dataclasses import dataclass

from torch import Tensor

from transforms.sensor.metadata import RawMetadata
from transforms.sensor.rendering import develop


@dataclass(frozen=True)
class Layout:
    """Layouts are compared and looked up by name; all that depends on what an image is, is asked of its layout."""

    name: str
    planes: tuple[str, ...]
    """The name of each plane."""
    cell: int
    """A tensor's pixel stands for cell x cell pixels of the photograph [px]."""
    sites: tuple[tuple[int, int], ...]
    """Row and column in that cell of the pixels of each plane, from 0."""
    raw: bool
    """Whether values are linear sensor values, 0 = black level, 1 = white level, that come with RawMetadata."""

    @property
    def channels(self) -> int:
        return len(self.planes)

    def render(self, image: Tensor, metadata: RawMetadata | None) -> Tensor:
        """An image (..., channels, h, w) for the eye: sRGB (..., 3, cell * h, cell * w), 0 to 1. Differentiable.

        metadata  of the image, on its device; None for a layout that is not raw
        """
        if not self.raw:
            return image.float().clamp(0, 1)
        assert metadata is not None, f"{self.name} is rendered with its camera's colours"
        return develop(image, metadata.camera)


SRGB = Layout("sRGB", ("R", "G", "B"), cell=1, sites=((0, 0),) * 3, raw=False)
"""(..., 3, H, W), 0 to 1, encoded for the eye."""
RGGB = Layout("RGGB", ("R", "G1", "G2", "B"), cell=2, sites=((0, 0), (0, 1), (1, 0), (1, 1)), raw=True)
"""(..., 4, H/2, W/2): the four sites of each cell of an RGGB mosaic (H, W). G1 is the green in the rows of R."""

LAYOUTS = {layout.name: layout for layout in (SRGB, RGGB)}
