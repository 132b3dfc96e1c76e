"""Image files that are restored: photographs that the model's chain degrades first, and pictures as they are."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from options.errors import UserError
from restore.data.sources.folders import PairedFolders
from restore.evaluation.metrics import rendered
from restore.files.images import find_images, read_alpha, read_image, to_tensor, to_uint, write_image
from restore.inference.degradation import Degradation
from restore.inference.inputs import Images, Inputs, Restored, Way, noise_facts
from restore.inference.restorer import Restorer, blended
from restore.networks.upsampling import BicubicUpsampling
from transforms import SRGB, Layout, RawMetadata
from transforms.images import Pair

ROWS = 256
"""Rows converted to whole numbers at a time: a whole image in float32 takes up to four times its memory."""
EIGHT_BITS = ("jpeg",)
"""The formats that hold no more."""


class Opened(NamedTuple):
    """An image file as read."""

    degraded: Tensor
    """(C, h, w) float32: what goes into the model."""
    clean: Tensor | None
    """(C, scale * h, scale * w) float32; None where it is not known."""
    metadata: RawMetadata | None
    """Camera and noise of a raw image; None for sRGB."""
    layout: Layout
    """Of both images."""
    size: tuple[int, int]
    """(width, height) of the file [px]."""
    depth: np.dtype
    """uint8 or uint16, in which the restored picture is written."""
    alpha: np.ndarray | None = None
    """(h, w) of that depth, written beside the restored colours; None: all is opaque."""


class RestoredPicture(Restored):
    """An image file and what a model made of it, (C, H, W) float32, of the layout of the file as opened."""

    def __init__(self, opened: Opened, restored: Tensor):
        self.opened, self.restored = opened, restored
        cell = opened.layout.cell
        self.size = opened.size
        self.restored_size = (cell * restored.shape[-1], cell * restored.shape[-2])
        noise = opened.metadata.noise if opened.metadata else None
        self.noise = noise if noise and noise.known else None
        self.facts = {"noise": noise_facts("the model's chain", self.noise)} if opened.layout.raw else {}
        self.warnings = []

    def images(self) -> Images:
        degraded, clean, metadata, layout = self.opened[:4]
        return Images(degraded, self.restored, clean, layout, metadata, self.noise)

    def write(self, paths: dict[str, Path]) -> None:
        """Rendered for the eye: PNG and TIFF in the depth of the file, JPEG in 8 bits and without transparency."""
        shown = rendered(self.restored, self.opened.metadata, self.opened.layout)
        for format_, path in paths.items():
            depth = np.dtype(np.uint8) if format_ in EIGHT_BITS else self.opened.depth
            tops = range(0, shown.shape[-2], ROWS)
            picture = np.concatenate([to_uint(shown[:, top : top + ROWS], depth) for top in tops])
            if self.opened.alpha is not None and format_ not in EIGHT_BITS:
                picture = np.dstack([picture, _enlarged(self.opened.alpha, picture.shape[0] // len(self.opened.alpha))])
            write_image(path, picture)


class ImageFiles(Inputs):
    """Image files, restored as pictures. Each way to prepare them for the model is a subclass."""

    formats: ClassVar[dict[str, str]] = {"png": ".png", "tiff": ".tif", "jpeg": ".jpg"}
    keeps_alpha: ClassVar[bool] = False
    """Whether a picture's alpha channel is written beside the restored colours."""

    def open(self, file: Path) -> Opened:
        """Reads a file, and degrades it where this kind does. Raises LeftOut where it cannot be used."""
        try:
            picture = read_image(self.folder / file)
            height, width, _ = picture.shape
            alpha = read_alpha(self.folder / file) if self.keeps_alpha else None
            return Opened(*self._images(file, picture), (width, height), picture.dtype, alpha)
        except UserError as mistake:
            raise self.refused(file, mistake) from None

    def restore(self, file: Path) -> RestoredPicture:
        opened, way = self.open(file), self.way
        noise = opened.metadata and opened.metadata.noise
        restored = self.restorer(opened.degraded, noise, way.tile, way.overlap, way.ensemble)
        restored = blended(opened.degraded, restored, way.strength)
        self.refuse_not_finite(file, bool(restored.isfinite().all()))
        return RestoredPicture(opened, restored)

    @abstractmethod
    def _images(self, file: Path, picture: np.ndarray) -> tuple[Tensor, Tensor | None, RawMetadata | None, Layout]:
        """The first four fields of Opened, of a picture (H, W, 3), uint8 or uint16."""


class Photographs(ImageFiles):
    """Whole photographs, degraded by the chain that the model was validated with.

    iso  ISO speed of the noise; None: as in the model's validation
    """

    takes: ClassVar[frozenset[str]] = frozenset({"degrade", "iso"})
    way_of_restoring: ClassVar[str] = (
        "photographs are degraded by the model's own chain and measured against themselves"
    )

    def __init__(self, folder: Path, files: Sequence[Path], restorer: Restorer, way: Way, iso: int | None = None):
        super().__init__(folder, files, restorer, way)
        self.degrade = Degradation(restorer, iso)
        self.notes = self.degrade.notes

    @property
    def measures(self) -> bool:
        return True

    def _images(self, file: Path, picture: np.ndarray) -> tuple[Tensor, Tensor, RawMetadata | None, Layout]:
        return self.degrade(picture, file.as_posix())


class Pictures(ImageFiles):
    """Pictures restored as they are.

    target  a folder with the clean pictures, named as PairedFolders pairs them; None: there are none. Of one that is
            larger by less than the model's scale the right and lower edge are cut off
    """

    takes: ClassVar[frozenset[str]] = frozenset({"target"})
    way_of_restoring: ClassVar[str] = "pictures are restored as they are"
    keeps_alpha = True

    def __init__(self, folder: Path, files: Sequence[Path], restorer: Restorer, way: Way, target: Path | None = None):
        super().__init__(folder, files, restorer, way, target)
        self.scale = restorer.scale
        if self.scale > 1:
            self.notes = (f"restored at {self.scale} times each side: the model enlarges",)
        self.clean_files = {} if target is None else _partners(folder, target)

    def _images(self, file: Path, picture: np.ndarray) -> tuple[Tensor, Tensor | None, None, Layout]:
        degraded = to_tensor(picture)
        if self.target is None:
            return degraded, None, None, SRGB
        clean_file = self.clean_files.get(self.folder / file)
        if clean_file is None:
            raise UserError(f"{self.target} has no picture of this name; add it, or give no target")
        target = read_image(clean_file)
        clean = Pair(picture, target, recorded=True).fitted().clean
        if clean.shape[:2] != tuple(self.scale * side for side in picture.shape[:2]):
            wanted = "have the same size" if self.scale == 1 else f"be {self.scale} times as wide and as high"
            raise UserError(
                f"{_size(picture)} pixels, but {clean_file} has {_size(target)}; a picture's target must {wanted}"
            )
        return degraded, to_tensor(np.asarray(clean)), None, SRGB


def _enlarged(alpha: np.ndarray, scale: int) -> np.ndarray:
    """An alpha channel (h, w), uint8 or uint16, as (scale * h, scale * w), by bicubic interpolation."""
    if scale == 1:
        return alpha
    enlarged = BicubicUpsampling(1, None, scale)(to_tensor(alpha[..., None])[None])[0]
    return to_uint(enlarged, alpha.dtype)[..., 0]


def _partners(folder: Path, target: Path) -> dict[Path, Path]:
    """The clean picture of each picture that has one, paired by name as training pairs them."""
    try:
        find_images(target)  # names a folder that is missing or empty
        pairs = PairedFolders(degraded=str(folder), clean=str(target)).find().photographs
    except UserError as mistake:
        raise UserError(f"target: {mistake}") from None
    return {degraded.path: clean.path for degraded, clean in pairs}


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"
