"""The benchmarks of super-resolution as SelfExSR ships them: Set5, Set14, BSD100 and Urban100."""

import re
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from options.base import PathText
from restore.data.sources.base import Found, ImageFile, Source, found
from restore.files.images import read_image
from restore.files.paths import files_below
from transforms.sensor.layout import SRGB, Layout

LOW = re.compile(r"(?P<image>.+_SRF_(?P<scale>\d))_LR\.png")


class SelfExSR(Source):
    """Pairs for super-resolution: img_001_SRF_2_LR.png and img_001_SRF_2_HR.png in one folder, image_SRF_2.

    Urban100's high-resolution images at scale 2 have half the size of those at scale 4, so that published numbers of
    scale 2 do not hold for them.
    Source: Huang et al., Single Image Super-Resolution from Transformed Self-Exemplars, CVPR 2015.
    """

    layout: ClassVar[Layout | None] = SRGB
    paired: ClassVar[bool] = True

    class_name: Literal["SelfExSR"] = "SelfExSR"
    path: PathText
    """The folder of one set, searched with its subfolders."""
    scale: Annotated[int, Field(ge=2, le=8)] | None = None
    """The scale of the pairs to take, where the folder has several; null: all."""

    def find(self) -> Found:
        files = {file: LOW.fullmatch(file.name) for file in files_below(self.path)}
        pairs, left_out = [], []
        for low, name in files.items():
            if not name or self.scale not in (None, int(name["scale"])):
                continue
            high = low.with_name(f"{name['image']}_HR.png")
            if high in files:
                pairs.append((ImageFile(low), ImageFile(high)))
            else:
                left_out.append(f"{low}: has no {high.name} beside it; copy that too or remove this")
        example = f"img_001_SRF_{self.scale or 2}_LR.png"
        return found(pairs, left_out, f"{self.path}: holds no SelfExSR pair; looked for {example} and the like")

    def read(self, file: ImageFile) -> np.ndarray:
        return read_image(file.path)
