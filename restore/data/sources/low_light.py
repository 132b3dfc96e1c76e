"""SID and ELD: pairs of a short and a long exposure in the dark. The short one is scaled to the long one."""

import re
from pathlib import Path
from typing import ClassVar, Literal

from options.base import PathText
from restore.camera.raw_file import RAW_SUFFIXES
from restore.data.sources.base import Found, ImageFile, Source, found
from restore.data.sources.reading import read_mosaic
from restore.files.paths import files_below
from transforms.sensor.layout import RGGB, Layout
from transforms.sensor.mosaic import Mosaic

SID_FILE = re.compile(r"(?P<scene>(?P<part>\d)\d{4})_\d{2}_(?P<seconds>[\d.]+)s\.\w+")
SID_PARTS = {"train": "0", "test": "1", "validation": "2"}
"""The first digit of the scene's number."""
LARGEST_GAIN = 300
ELD_FILE = re.compile(r"IMG_(\d{4})\.\w+", re.IGNORECASE)
ELD_CLEAN = (1, 6, 11, 16)
ELD_GAINS = {4: 100, 9: 100, 14: 100, 5: 200, 10: 200, 15: 200}
"""By the degraded image's number: (exposure time * ISO) of the clean image / that of the degraded one. Others are not
used."""


class SID(Source):
    """Raw pairs of See in the Dark: short/00001_00_0.1s.ARW and long/00001_00_10s.ARW.

    The short exposure is multiplied by the ratio of the two times, 300 at most. The Fuji part cannot be used: it has
    no Bayer mosaic.
    Source: Chen et al., Learning to See in the Dark, CVPR 2018.
    """

    layout: ClassVar[Layout | None] = RGGB
    paired: ClassVar[bool] = True
    tells_noise: ClassVar[bool] = False

    class_name: Literal["SID"] = "SID"
    path: PathText
    """The folder with short and long inside it: Sony."""
    part: Literal["train", "validation", "test"]
    """Which of the authors' three parts."""

    def find(self) -> Found:
        long = {name["scene"]: (file, name) for file, name in self._files("long")}
        pairs, left_out = [], []
        for file, name in self._files("short"):
            if name["scene"] in long:
                clean, clean_name = long[name["scene"]]
                gain = min(float(clean_name["seconds"]) / float(name["seconds"]), LARGEST_GAIN)
                pairs.append((ImageFile(file, gain), ImageFile(clean)))
            else:
                left_out.append(f"{file}: long has no {name['scene']}_*; copy that too or remove this")
        example = f"{SID_PARTS[self.part]}0001_00_0.1s.ARW"
        wanted = f"{self.path}: holds no pair of the {self.part} part; looked for short/{example} and the like"
        return found(pairs, left_out, wanted)

    def read(self, file: ImageFile) -> Mosaic:
        return read_mosaic(file)

    def _files(self, folder: str) -> list[tuple[Path, re.Match]]:
        named = [(file, SID_FILE.fullmatch(file.name)) for file in _raw_files(Path(self.path) / folder)]
        return [(file, name) for file, name in named if name and name["part"] == SID_PARTS[self.part]]


class ELD(Source):
    """Raw pairs of the Extreme Low-light Denoising data set: SonyA7S2/scene-1/IMG_0004.ARW and its like.

    Of the 16 images of a scene 1, 6, 11 and 16 are clean. 4, 9 and 14 had 1/100 of their light and are multiplied by
    100, 5, 10 and 15 had 1/200 and are multiplied by 200. The clean partner has the nearest number.
    Source: Wei et al., A Physics-based Noise Formation Model for Extreme Low-light Raw Denoising, CVPR 2020.
    """

    layout: ClassVar[Layout | None] = RGGB
    paired: ClassVar[bool] = True
    tells_noise: ClassVar[bool] = False

    class_name: Literal["ELD"] = "ELD"
    path: PathText
    """The folder with the cameras' folders inside it, or a camera's folder."""

    def find(self) -> Found:
        named = [(file, ELD_FILE.fullmatch(file.name)) for file in _raw_files(self.path)]
        files = {(file.parent, int(name[1])): file for file, name in named if name}
        pairs, left_out = [], []
        for (scene, number), file in files.items():
            if number not in ELD_GAINS:
                continue
            _, nearest = min((abs(clean - number), clean) for clean in ELD_CLEAN)
            if (scene, nearest) in files:
                pairs.append((ImageFile(file, ELD_GAINS[number]), ImageFile(files[scene, nearest])))
            else:
                left_out.append(f"{file}: has no clean IMG_{nearest:04} beside it; copy that too or remove this")
        wanted = f"{self.path}: holds no ELD pair; looked for SonyA7S2/scene-1/IMG_0004.ARW and the like"
        return found(pairs, left_out, wanted)

    def read(self, file: ImageFile) -> Mosaic:
        return read_mosaic(file)


def _raw_files(folder: str | Path) -> list[Path]:
    return [file for file in files_below(folder) if file.suffix.lower() in RAW_SUFFIXES]
