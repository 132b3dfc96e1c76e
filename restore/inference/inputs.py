"""The files of a folder that are restored: each kind of file is read, degraded where needed, and written back."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from options.base import parse
from options.errors import UserError
from restore.data.batches import seeded_generator
from restore.data.sources.folders import PairedFolders
from restore.evaluation.metrics import rendered
from restore.files.images import BadImage, find_images, read_alpha, read_image, to_tensor, to_uint, write_image
from restore.inference.restorer import Restorer
from restore.networks.upsampling import BicubicUpsampling
from transforms import SRGB, Layout, Pipeline, RawMetadata, Sample
from transforms.images import Pair
from transforms.pipeline import check_files, check_order
from transforms.rgb_to_raw import RgbToRawTransform

SEED = 0
"""Of the noise: a photograph is always degraded in the same way, whatever other files are restored with it."""
ROWS = 256
"""Rows converted to whole numbers at a time: a whole image in float32 takes up to four times its memory."""


Images = tuple[Tensor, Tensor | None, RawMetadata | None, Layout]
"""The first four fields of Opened."""


class LeftOut(UserError):
    """A file that is not restored: one line with its path and the reason."""


class Opened(NamedTuple):
    """An input file as read."""

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


class Inputs(ABC):
    """The image files of a folder, opened one at a time. Each way to prepare them for the model is a subclass.

    Raises UserError if there is no such folder, or no image file in it.
    """

    suffix = ".png"
    """Of the restored files."""
    size_note: str | None = None
    """A line for the user where files are not restored at their own size; else None."""
    keeps_alpha: ClassVar[bool] = False
    """Whether a picture's alpha channel is written beside the restored colours."""

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            self.files = [file.relative_to(folder) for file in find_images(folder)]
            """Their paths inside the folder."""
        except UserError as mistake:
            raise UserError(f"input: {mistake}") from None

    def open(self, file: Path) -> Opened:
        """Reads a file. Raises LeftOut where it cannot be used."""
        try:
            picture = read_image(self.folder / file)
            height, width, _ = picture.shape
            alpha = read_alpha(self.folder / file) if self.keeps_alpha else None
            return Opened(*self._images(file, picture), (width, height), picture.dtype, alpha)
        except BadImage as mistake:  # names its file
            raise LeftOut(str(mistake)) from None
        except UserError as mistake:
            raise LeftOut(f"{self.folder / file}: {mistake}") from None

    def write(self, path: Path, opened: Opened, restored: Tensor) -> tuple[int, int]:
        """Writes the restored image, rendered for the eye, in the depth of the file; returns its (width, height)."""
        shown = rendered(restored, opened.metadata, opened.layout)
        tops = range(0, shown.shape[-2], ROWS)
        picture = np.concatenate([to_uint(shown[:, top : top + ROWS], opened.depth) for top in tops])
        if opened.alpha is not None:
            picture = np.dstack([picture, _enlarged(opened.alpha, picture.shape[0] // len(opened.alpha))])
        write_image(path, picture)
        return picture.shape[1], picture.shape[0]

    @abstractmethod
    def _images(self, file: Path, picture: np.ndarray) -> Images:
        """The degraded image, and the clean one where it is known, of a picture (H, W, 3), uint8 or uint16."""


class Photographs(Inputs):
    """Whole photographs, degraded by the chain that the model was validated with. The restorer applies conditioning.

    iso  ISO speed of the noise; None: as in the model's validation
    """

    def __init__(self, folder: Path, restorer: Restorer, iso: int | None = None):
        place = f"{restorer.path.with_suffix('.json')}: transforms_test"
        steps = restorer.chain.transforms
        if restorer.information.note:
            raise UserError(
                f"{restorer.information.note}, which name no degradation; give degraded pictures as they are"
            )
        check_order(list(steps), place)
        check_files(list(steps), place)
        if not restorer.chain.degrades:
            raise UserError(f"{place}: degrades nothing, so that there is nothing to restore")
        if restorer.chain.scale != restorer.scale:
            raise UserError(
                f"{place}: makes clean images {restorer.chain.scale} times as large as the degraded ones, and the "
                f"model's generator enlarges {restorer.scale} times; take the file that was saved with the model"
            )
        self.chain = Pipeline(steps if iso is None else _at_iso(steps, iso)).for_whole_images()
        self.size_note = _size_note(self.chain)
        super().__init__(folder)

    def _images(self, file: Path, picture: np.ndarray) -> Sample:
        name = file.as_posix().encode("utf-8", "backslashreplace").decode()
        return self.chain(picture, seeded_generator(SEED, name))


class Pictures(Inputs):
    """Pictures restored as they are.

    scale   side of the restored picture / side of the picture
    target  a folder with the clean pictures, named as PairedFolders pairs them; None: there are none. Of one that is
            larger by less than `scale` pixels the right and lower edge are cut off
    """

    keeps_alpha = True

    def __init__(self, folder: Path, scale: int = 1, target: Path | None = None):
        super().__init__(folder)
        self.scale, self.target = scale, target
        self.size_note = f"restored at {scale} times each side: the model enlarges" if scale > 1 else None
        self.clean_files = {} if target is None else _partners(folder, target)

    def _images(self, file: Path, picture: np.ndarray) -> Images:
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


def _at_iso(steps: tuple, iso: int) -> tuple:
    makers = [step for step in steps if isinstance(step, RgbToRawTransform)]
    if not makers:
        raise UserError(f"iso: {iso} given; no transform of the model's chain goes by an ISO speed; leave it out")
    for step in makers:
        if not step.noise_model.heeds_iso:
            raise UserError(
                f"iso: {iso} given; the model's noise ({step.noise_model.class_name}) is the same at any speed"
            )
    return tuple(
        parse(RgbToRawTransform, {**step.model_dump(mode="json"), "iso": iso}, "iso") if step in makers else step
        for step in steps
    )


def _size_note(chain: Pipeline) -> str | None:
    """The line that tells how much smaller than its photograph a clean image is, and by which transform; else None."""
    for step in chain.transforms:
        factor = step.smallest_input(1000, 1000)[0] / 1000
        if factor > 1:
            return f"restored at 1/{factor:g} of each side: the model's chain begins with {step.class_name}"
    return None


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"
