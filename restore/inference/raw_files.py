"""The raw files of a folder: each is restored as a whole mosaic and written as a raw file."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from options.errors import UserError
from restore.camera.formats import FORMATS, write_all
from restore.camera.raw_file import RAW_SUFFIXES, sites
from restore.camera.restored_raw import RestoredRaw
from restore.files.atomic import make_folder
from restore.files.images import BadImage
from restore.files.paths import files_below
from restore.inference.inputs import LeftOut, Opened
from restore.inference.restorer import Restorer
from transforms import RGGB, pack
from transforms.noise.profile import CameraProfile
from transforms.sensor.bayer import Pattern, unify

LARGEST_SHIFT = 1e-3
"""A colour whose mean changes by more of the full scale is flagged: a denoiser must not change the brightness."""


class RawFiles:
    """The raw files of a folder, each restored and written.

    format_    "dng"
    strength   0 to 1: 0 leaves a file as it was, 1 restores it in full
    profile    of the camera, for a model that has to know the noise, where a file does not tell it
    overwrite  whether files that were written before are replaced
    tile, overlap, ensemble  as of a Restorer's call
    Raises UserError if there is no such folder.
    """

    def __init__(
        self,
        folder: Path,
        restorer: Restorer,
        format_: str = "dng",
        strength: float = 1.0,
        profile: CameraProfile | None = None,
        overwrite: bool = False,
        tile: int = 512,
        overlap: int = 32,
        ensemble: bool = False,
    ):
        self.folder, self.restorer, self.overwrite = folder, restorer, overwrite
        self.suffix, self.format = FORMATS[format_].suffix, format_
        self.options: dict[str, Any] = {"strength": strength, "profile": profile}
        self.options |= {"tile": tile, "overlap": overlap, "ensemble": ensemble}
        try:
            files = [file for file in files_below(folder) if file.suffix.lower() in RAW_SUFFIXES]
        except UserError as mistake:
            raise UserError(f"input: {mistake}") from None
        usable = restorer.layout.raw
        self.files = [file.relative_to(folder) for file in files if usable]
        """Their paths inside the folder."""
        reason = f"a raw file, and {restorer.path} restores pictures of {restorer.layout.channels} channels"
        self.left_out = [f"{file}: {reason}; take a model of raw images" for file in files if not usable]
        """A line for each file that will not be restored."""

    def restore(self, file: Path, output: Path) -> tuple[RestoredRaw, dict[str, Any]]:
        """Restores a file and writes it to the output path; returns it, and what the results say of it.

        Raises LeftOut where the file cannot be used, or the output is there already and must be kept.
        """
        if output.exists() and not self.overwrite:
            raise LeftOut(
                f"{self.folder / file}: {output} is there already and is kept; give --overwrite to replace it"
            )
        try:
            restored = self.restorer.restore_raw(self.folder / file, **self.options)
        except BadImage as mistake:  # names its file
            raise LeftOut(str(mistake)) from None
        if not np.isfinite(restored.mosaic).all():
            raise LeftOut(
                f"{self.folder / file}: the restored mosaic has numbers that are not finite, and is not written; "
                f"take another model, or train this one again"
            )
        make_folder(output.parent)
        notes = write_all(restored, {self.format: output})
        shift = _shift(restored)
        if max(map(abs, shift)) > LARGEST_SHIFT:
            notes.append(_flag(shift))
        return restored, {
            "pattern": restored.pattern,
            "iso": restored.source.iso,
            "strength": restored.strength,
            "noise": {"from": restored.noise_from, **_numbers(restored)},
            "noise_left": restored.noise_left,
            "mean_change": dict(zip(RGGB.planes, shift, strict=True)),
            "warnings": notes,
        }


def shown(restored: RestoredRaw, side: int) -> tuple[Opened, torch.Tensor]:
    """The middle of a raw file and of its restored mosaic, at most about `side` pixels of the file, for a strip."""
    source, scale = restored.source, restored.scale
    height, width = source.data.shape
    top, left = (max(0, length - side) // 4 * 2 for length in source.data.shape)
    packed = _packed(source.linear()[top : top + side, left : left + side], source.pattern)
    part = slice(scale * top, scale * (top + side)), slice(scale * left, scale * (left + side))
    enlarged = _packed(restored.mosaic[part], restored.pattern)
    opened = Opened(packed, None, source.metadata, RGGB, (width, height), np.dtype(np.uint16))
    return opened, enlarged


def _packed(mosaic: np.ndarray, pattern: Pattern) -> torch.Tensor:
    return pack(torch.from_numpy(np.ascontiguousarray(unify(mosaic, pattern))))


def _shift(restored: RestoredRaw) -> list[float]:
    """How much the mean of R, G1, G2 and B has changed, in parts of the full scale."""
    before, after = (
        [float(mosaic[row::2, column::2].mean(dtype=np.float64)) for row, column in sites(pattern)]
        for mosaic, pattern in (
            (restored.source.linear(), restored.source.pattern),
            (restored.mosaic, restored.pattern),
        )
    )
    return [new - old for old, new in zip(before, after, strict=True)]


def _flag(shift: list[float]) -> str:
    changes = ", ".join(f"{plane} {100 * change:+.2f} %" for plane, change in zip(RGGB.planes, shift, strict=True))
    return f"the mean has changed by {changes} of the full scale; look at the colours before you use it"


def _numbers(restored: RestoredRaw) -> dict[str, list[float]]:
    """shot and read of R, G1, G2 and B, where they are known."""
    if not restored.noise.known:
        return {}
    return {name: values.tolist() for name, values in restored.noise._asdict().items()}
