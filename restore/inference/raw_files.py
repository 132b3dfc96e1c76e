"""Raw files that are restored: each as a whole mosaic."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from options.errors import UserError
from restore.camera.output.formats import FORMATS, write_all
from restore.camera.raw_file import sites
from restore.camera.restored_raw import RestoredRaw
from restore.inference.clean_mosaics import CleanMosaics
from restore.inference.inputs import Images, Inputs, Restored, Way, noise_facts
from restore.inference.restorer import Restorer
from transforms import RGGB, pack
from transforms.noise.darktable import read_noise_profiles
from transforms.noise.profile import CameraProfile
from transforms.sensor.bayer import Pattern, first_red, unify

LARGEST_SHIFT = 1e-3
"""A colour whose mean changes by more of the full scale is flagged: a denoiser must not change the brightness."""


class RestoredRawFile(Restored):
    """A raw file and what a model made of it.

    clean  the clean mosaic, as large as the restored one and of the same pattern; None where it is not known
    """

    def __init__(self, raw: RestoredRaw, clean: np.ndarray | None):
        self.raw, self.clean = raw, clean
        self.noise = raw.noise if raw.noise.known else None
        self.size, self.restored_size = raw.source.data.shape[::-1], raw.mosaic.shape[::-1]
        shift = _shift(raw)
        self.warnings = [_flag(shift)] if max(map(abs, shift)) > LARGEST_SHIFT else []
        if raw.source.noise_reduction:
            self.warnings.append("was denoised before, as its NoiseReductionApplied says; take the original raw file")
        self.facts = {
            "pattern": raw.pattern,
            "iso": raw.source.iso,
            "noise": noise_facts(raw.noise_from, self.noise),
            "noise_left": raw.noise_left,
            "mean_change": dict(zip(RGGB.planes, shift, strict=True)),
        }

    def images(self) -> Images:
        """The areas of all three that begin with the first R of the source."""
        raw, source = self.raw, self.raw.source
        origins = zip(first_red(source.pattern), first_red(raw.pattern), strict=True)
        rows, columns = ((raw.scale * before - after) // 2 for before, after in origins)
        degraded = _packed(source.linear(), source.pattern)
        height, width = (raw.scale * side for side in degraded.shape[-2:])

        def enlarged(mosaic: np.ndarray) -> torch.Tensor:
            return _packed(mosaic, raw.pattern)[:, rows : rows + height, columns : columns + width]

        clean = None if self.clean is None else enlarged(self.clean)
        return Images(degraded, enlarged(raw.mosaic), clean, RGGB, source.metadata, self.noise, source.orientation)

    def write(self, paths: dict[str, Path]) -> None:
        self.warnings += write_all(self.raw, paths)


class RawFiles(Inputs):
    """Raw files, each restored and written.

    profile, noise_profiles  where the noise is taken from, for a model that has to know it (camera/noise_sources.py)
    target   a folder with clean raw files or clean mosaics of the same names; None: there are none
    """

    formats: ClassVar[dict[str, str]] = {name: format_.suffix for name, format_ in FORMATS.items()}
    takes: ClassVar[frozenset[str]] = frozenset({"target", "profile", "noise_profiles"})
    way_of_restoring: ClassVar[str] = "raw files are restored as they are"

    def __init__(
        self,
        folder: Path,
        files: Sequence[Path],
        restorer: Restorer,
        way: Way,
        profile: CameraProfile | None = None,
        noise_profiles: str | Path | None = None,
        target: Path | None = None,
    ):
        super().__init__(folder, files, restorer, way, target)
        self.profile, self.noise_profiles = profile, noise_profiles
        if noise_profiles:
            read_noise_profiles(noise_profiles)  # a file that cannot be used is no reason of a single raw file
        self.clean = CleanMosaics(target) if target else None

    def restore(self, file: Path) -> RestoredRawFile:
        try:
            raw = self.restorer.restore_raw(self.folder / file, self.profile, self.noise_profiles, **self.way._asdict())
            self.refuse_not_finite(file, bool(np.isfinite(raw.mosaic).all()))
            return RestoredRawFile(raw, self.clean.of(file, raw) if self.clean else None)
        except UserError as mistake:
            raise self.refused(file, mistake) from None


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
