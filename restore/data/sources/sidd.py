"""The Smartphone Image Denoising Dataset: pairs by five phones."""

import re
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from options.base import PathText
from restore.data.sources.base import Found, ImageFile, Source, found
from restore.data.sources.reading import neutral_mosaic
from restore.files.images import BadImage
from restore.files.paths import files_below
from transforms.sensor.bayer import Pattern
from transforms.sensor.layout import RGGB, Layout
from transforms.sensor.mosaic import Mosaic

PATTERNS: dict[str, Pattern] = {"GP": "BGGR", "IP": "RGGB", "S6": "GBRG", "N6": "BGGR", "G4": "BGGR"}
"""By the phone's code, for the array as MATLAB has it. A table that is often cited has GRBG for S6, which holds for the
transposed array that HDF5 readers return. Source: the authors' sidd_utils.py."""
SCENE_FOLDER = re.compile(r"\d{4}_(?P<scene>\d{3})_(?P<phone>[A-Z0-9]{2})_.+")
"""Such as 0001_001_S6_00100_00060_3200_L: instance, scene, phone, ISO, shutter, colour temperature, light."""
NOISY_FILE = re.compile(r"(\d{4})_NOISY_RAW_(\d{3})\.MAT", re.IGNORECASE)


class SIDD(Source):
    """Raw pairs of SIDD-Medium: Data/0001_001_S6_00100_00060_3200_L/0001_NOISY_RAW_010.MAT and 0001_GT_RAW_010.MAT.

    The phones' colours are not read: the images are rendered with the white balance 2.15, 1, 1.7.
    Source: Abdelhamed et al., A High-Quality Denoising Dataset for Smartphone Cameras, CVPR 2018.
    """

    layout: ClassVar[Layout | None] = RGGB
    paired: ClassVar[bool] = True
    tells_noise: ClassVar[bool] = False

    class_name: Literal["SIDD"] = "SIDD"
    path: PathText
    """The folder with Data inside it, or any folder below."""
    scenes: Annotated[list[Annotated[int, Field(ge=1, le=999)]], Field(min_length=1)] | None = None
    """Numbers of the scenes to take, of 1 to 10, so that one can train on some and validate on others; null: all."""

    def find(self) -> Found:
        files = {file.parent / file.name.upper(): file for file in files_below(self.path)}
        pairs, left_out = [], []
        for name, noisy in files.items():
            folder, numbers = SCENE_FOLDER.fullmatch(name.parent.name), NOISY_FILE.fullmatch(name.name)
            if not folder or not numbers or (self.scenes and int(folder["scene"]) not in self.scenes):
                continue
            clean = "{}_GT_RAW_{}.MAT".format(*numbers.groups())
            if name.with_name(clean) in files:
                pairs.append((ImageFile(noisy), ImageFile(files[name.with_name(clean)])))
            else:
                left_out.append(f"{noisy}: has no {clean} beside it; copy that too or remove this")
        of_scenes = f" of the scenes {self.scenes}" if self.scenes else ""
        return found(
            pairs,
            left_out,
            f"{self.path}: holds no SIDD pair{of_scenes}; looked for "
            f"Data/0001_001_S6_00100_00060_3200_L/0001_NOISY_RAW_010.MAT and the like",
        )

    def reader(self, file: ImageFile) -> str:
        return f"SIDD 1 {_phone(file)}"

    def read(self, file: ImageFile) -> Mosaic:
        import h5py  # takes long to import, and only SIDD needs it

        path, phone = file.path, _phone(file)
        if phone not in PATTERNS:
            raise BadImage(path, f"is by the phone {phone}, whose mosaic is unknown", f"known: {', '.join(PATTERNS)}")
        try:
            with h5py.File(path) as data:
                values = np.asarray(data["x"]).T  # MATLAB stores columns, and HDF5 takes them for rows
        except (OSError, KeyError, TypeError):
            raise BadImage(path, "is no MATLAB 7.3 file with an array x, or damaged", "download it again") from None
        if values.ndim != 2 or values.dtype.kind != "f":
            raise BadImage(path, f"holds {values.dtype} {values.shape}, and a mosaic of floats is wanted", "remove it")
        return neutral_mosaic(values, PATTERNS[phone])


def _phone(file: ImageFile) -> str:
    folder = SCENE_FOLDER.fullmatch(file.path.parent.name)
    assert folder, "find takes files only from folders of such names"
    return folder["phone"]
