"""What all kinds of files that are restored have in common: each is read, restored, and written in its formats."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from options.errors import UserError
from restore.files.checks import BadImage
from restore.files.paths import files_below, printable
from restore.inference.restorer import Restorer
from transforms import Layout, NoiseProfile, RawMetadata


class LeftOut(UserError):
    """A file that is not restored: its path and the reason."""

    def __init__(self, file: str | Path, reason: str):
        self.file, self.reason = printable(file), reason
        super().__init__(f"{self.file}: {reason}")


class Way(NamedTuple):
    """How a model is used: arguments of a Restorer's call, and the strength of what it does."""

    strength: float = 1.0
    """0 to 1: 0 leaves a file as it was, 1 restores it in full."""
    tile: int = 512
    overlap: int = 32
    ensemble: bool = False


class Images(NamedTuple):
    """An input before and after restoring, as planes of one layout."""

    degraded: Tensor
    """(C, h, w) float32."""
    restored: Tensor
    """(C, scale * h, scale * w) float32."""
    clean: Tensor | None
    """As restored; None where it is not known."""
    layout: Layout
    metadata: RawMetadata | None
    """Camera of a raw image; None for sRGB."""
    noise: NoiseProfile | None
    """Of the degraded image, where it is raw and its noise is known."""
    orientation: int = 1
    """EXIF's: how the images have to be turned to be upright."""

    @property
    def scale(self) -> int:
        return self.restored.shape[-1] // self.degraded.shape[-1]


class Restored(ABC):
    """A file that was restored, and not yet written."""

    size: tuple[int, int]
    """(width, height) of the file [px]."""
    restored_size: tuple[int, int]
    """(width, height) of the restored one [px]."""
    facts: dict[str, Any]
    """What results.json says of it beyond its metrics."""
    warnings: list[str]

    @abstractmethod
    def images(self) -> Images:
        """For measuring and showing."""

    @abstractmethod
    def write(self, paths: dict[str, Path]) -> None:
        """Writes each format, whole or not at all, and adds to the warnings what a format cannot hold."""


def noise_facts(source: str, noise: NoiseProfile | None) -> dict[str, Any]:
    """What results.json says of an image's noise: where it is taken from, and shot and read of R, G1, G2 and B."""
    numbers = {} if noise is None else {name: values.tolist() for name, values in noise._asdict().items()}
    return {"from": source, **numbers}


class Inputs(ABC):
    """The files of one kind in a folder, restored one at a time.

    folder  the folder that their names are relative to
    files   their paths inside the folder
    target  folder with clean images of the same names; None: there is none
    """

    formats: ClassVar[dict[str, str]]
    """The suffix of a restored file by the name of its format. The first is the default."""
    takes: ClassVar[frozenset[str]] = frozenset()
    """Which of the arguments target, degrade, iso, profile and noise_profiles are of use to this kind."""
    way_of_restoring: ClassVar[str]
    """In words, for a user who gave another one of these arguments."""
    notes: tuple[str, ...] = ()
    """Lines for the user on how the files are restored."""

    def __init__(self, folder: Path, files: Sequence[Path], restorer: Restorer, way: Way, target: Path | None = None):
        self.folder, self.files, self.restorer, self.way, self.target = folder, files, restorer, way, target

    @property
    def measures(self) -> bool:
        """Whether clean images are known."""
        return self.target is not None

    @abstractmethod
    def restore(self, file: Path) -> Restored:
        """Reads and restores a file. Raises LeftOut where it cannot be used."""

    def suffixes(self, wanted: Sequence[str]) -> dict[str, str]:
        """The suffixes of the formats that are wanted and that this kind has; its default where it has none of them."""
        found = {format_: self.formats[format_] for format_ in wanted if format_ in self.formats}
        return found or dict(list(self.formats.items())[:1])

    def refused(self, file: Path, mistake: UserError) -> LeftOut:
        """The reason why a file cannot be used, from the mistake that was met in it."""
        if isinstance(mistake, BadImage):
            return LeftOut(mistake.path, mistake.reason)
        return LeftOut(self.folder / file, str(mistake))

    def refuse_not_finite(self, file: Path, finite: bool) -> None:
        if not finite:
            raise LeftOut(
                self.folder / file,
                "the restored image has numbers that are not finite, and is not written; take another model, or train "
                "this one again",
            )


def found_files(given: str | Path) -> tuple[Path, list[Path]]:
    """The folder, and the paths inside it of the files that are meant: all of a folder, or the one that is named.

    Raises UserError if there is neither such a folder nor such a file.
    """
    path = Path(given)
    if path.is_file():
        return path.parent, [Path(path.name)]
    try:
        return path, [file.relative_to(path) for file in files_below(path)]
    except UserError as mistake:
        raise UserError(f"input: {mistake}") from None
