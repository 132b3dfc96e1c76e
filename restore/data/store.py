"""The photographs of a run, decoded and downsampled once into files from which every crop is read.

Cropping a decoded photograph of 2 MP takes a hundredth of the time of decoding it. Each file is decoded before the
training starts, so that files that are damaged, too small or of the wrong kind are reported at the start of a run.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

from options.errors import UserError
from restore.data.claims import Claim, opening
from restore.data.index import Index
from restore.data.pixel_budget import PixelBudget
from restore.data.sources import ImageFile, Source
from restore.data.stored_image import FORMAT, DamagedImage, StoredImage, read_stored, write_stored
from restore.files.atomic import make_folder
from restore.files.images import BadImage, count_pixels
from restore.files.paths import printable
from restore.files.reasons import by_reason
from transforms import Pipeline
from transforms.images import Image, Pair, TooSmall, layout_of

STORE = Path("training_data/.decoded")
MOST_THREADS = 8
PIXELS_AT_A_TIME = 200_000_000
"""Decoded at the same time by all threads together; each pixel takes 6 to 12 bytes of memory meanwhile."""
CHAIN_OF = {
    "training_path": "transforms_train",
    "testing_path": "transforms_test",
    "held_out_path": "transforms_test",
}


class Photograph(NamedTuple):
    """A photograph, a raw image or a pair in the store."""

    source: Path
    """The file that it was decoded from; of a pair the degraded one."""
    entry: int
    """Number of the entry of training_path or testing_path that it came with."""
    stored: tuple[StoredImage, ...]
    """One, or a pair's two."""
    contents: tuple[str, ...]
    """What tells the content of each file from all others, whatever its name."""

    def image(self) -> Image:
        """The image that a chain takes. Its pixels are read from the disk only where they are used."""
        return _one_or_pair([one.image() for one in self.stored])


class Photographs(list[Photograph]):
    """Photographs that are in use: while this list exists, none of them is removed from the store."""

    def __init__(self, photographs: Iterable[Photograph]):
        super().__init__(photographs)
        self.claim = Claim(STORE, (stored.array.name for photograph in self for stored in photograph.stored))

    def __reduce__(self) -> tuple:
        return list, (list(self),)  # workers that are not forked get a plain list: the training process has the claim


class OpenedPhotographs(NamedTuple):
    """The photographs of some folders and data sets, and what was left out of them."""

    usable: Photographs
    left_out: list[str]
    """A line for each file that is damaged, too small, of the wrong kind or without a partner."""
    reasons: list[str]
    """The same with the files of one reason in one line."""
    damaged: int
    """Stored images that were found damaged, and decoded anew."""
    cut: list[str]
    """A line for each source whose pairs' clean images were cut at the right and bottom."""


class LeftOut(NamedTuple):
    """A file that is not used."""

    line: str
    """The file, why, and the remedy."""
    needed: tuple[int, int] | None = None
    """(height, width) [px] of the smallest image that the chain takes, where the file's is smaller."""


class Job(NamedTuple):
    """A photograph to open."""

    entry: int
    source: Source
    files: tuple[ImageFile, ...]
    paths: tuple[str, ...]
    """The files' paths, absolute and without links."""


def open_photographs(
    sources: Iterable[Source],
    chain: Pipeline,
    place: str,
    progress: Callable[[Iterable, int], Iterable] = lambda photographs, total: photographs,
    scale: int = 1,
) -> OpenedPhotographs:
    """The photographs of the sources, decoded into the store where they are not yet.

    chain     the photographs are stored as its head returns them, and its tail makes the samples
    place     the option that the sources come from, for the messages
    progress  (iterable, length) -> the same iterable, which shows how many files have been read
    scale     side of a pair's clean image / side of its degraded one
    Raises UserError if a folder is missing or empty or no photograph is left, SaveError if the disk is full.
    """
    jobs: dict[tuple[str, ...], Job] = {}
    left_out: list[LeftOut] = []
    real_folder = cache(os.path.realpath)
    for number, source in enumerate(sources):
        try:
            found = source.find()
        except UserError as error:
            raise UserError(f"{place}.{number}: {error}") from None
        left_out += map(LeftOut, found.left_out)
        for files in found.photographs:  # sources may overlap, and links lead to one file
            paths = tuple(_real_path(file.path, real_folder) for file in files)
            jobs.setdefault(paths, Job(number, source, files, paths))
    make_folder(STORE)
    with opening(STORE):
        opener = Opener(chain, scale)
        outcomes = opener.open_all(list(jobs.values()), progress)
        usable = Photographs(outcome for outcome in outcomes if isinstance(outcome, Photograph))
    left_out += [outcome for outcome in outcomes if isinstance(outcome, LeftOut)]
    left_out = [one._replace(line=printable(one.line)) for one in left_out]
    reasons = _by_reason(left_out, chain, CHAIN_OF.get(place, "transforms"))
    if not usable:
        raise UserError(f"{place}: none of the {len(left_out)} files can be used:", *reasons)
    lines = [one.line for one in left_out]
    return OpenedPhotographs(usable, lines, reasons, len(opener.damaged), _cut(usable, place, scale))


def _cut(photographs: list[Photograph], place: str, scale: int) -> list[str]:
    pairs = [photograph for photograph in photographs if len(photograph.stored) == 2]
    entries = Counter(
        pair.entry
        for pair in pairs
        if _one_or_pair([one.stand_in() for one in pair.stored]).shape != pair.stored[1].shape
    )
    return [
        f"{place}.{entry}: {count} clean images were less than {scale} px larger than {scale} times the degraded ones, "
        f"and were cut at the right and bottom"
        for entry, count in sorted(entries.items())
    ]


def _by_reason(left_out: list[LeftOut], chain: Pipeline, place: str) -> list[str]:
    """The lines, those of one reason as one line. Of a single file that is too small the line tells its own size.

    place  the option that the chain comes from, for the remedy of several files that are too small
    """
    files, sizes = [], Counter(one.needed for one in left_out)
    for one in left_out:
        file, _, reason = one.line.partition(": ")
        if one.needed and sizes[one.needed] > 1:
            reason = _too_small(one.needed, chain, place)
        files.append((file, reason))
    return by_reason(files)


def _too_small(needed: tuple[int, int], chain: Pipeline, place: str) -> str:
    makers = chain.size_makers(place)
    remedy = f": {makers}; lower h and w there, or take larger images" if makers else "; take larger images"
    return f"image: too small, the transforms need {needed[0]} x {needed[1]}{remedy}"


def in_both(training: list[Photograph], validation: list[Photograph]) -> int:
    """The number of validation photographs whose content is in training too."""
    known = {content for photograph in training for content in photograph.contents}
    return sum(not known.isdisjoint(photograph.contents) for photograph in validation)


class Stored(NamedTuple):
    """A file in the store."""

    image: StoredImage
    content: str
    """The hash of the file's content."""


class Opener:
    """Opens photographs for a chain: from the store where they are there, else from their files."""

    def __init__(self, chain: Pipeline, scale: int):
        self.chain = chain
        self.scale = scale
        self.index = Index(STORE)
        self.budget = PixelBudget(PIXELS_AT_A_TIME)
        self.damaged: set[str] = set()
        # Sections and versions of the transforms whose results are stored, by the number of files: pairs have none.
        self.heads = {1: [f"{step.version} {step.model_dump_json()}" for step in chain.head], 2: []}
        self.mistake = cache(self._mistake)

    def open_all(self, jobs: list[Job], progress: Callable[[Iterable, int], Iterable]) -> list[Photograph | LeftOut]:
        """The photographs in the order of the jobs, or why they are left out. Decodes those that are not stored."""
        outcomes = {job.paths: self.known(job) for job in jobs}
        unknown = [job for job in jobs if outcomes[job.paths] is None]
        with ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_THREADS)) as pool:
            try:
                for job, outcome in progress(pool.map(lambda job: (job, self.open(job)), unknown), len(unknown)):
                    outcomes[job.paths] = outcome
            finally:
                self.index.save()
        return [outcome for outcome in outcomes.values() if outcome is not None]

    def known(self, job: Job) -> Photograph | LeftOut | None:
        """As open, but without reading any file; None where one has to be read."""
        stored: list[Stored] = []
        for file, path in zip(job.files, job.paths, strict=True):
            content = self.index.known_content(path)
            image = self.index.known_image(self._name(job, file, content)) if content else None
            if content is None or image is None:
                return None
            stored.append(Stored(image, content))
        return self._checked(job, stored)

    def open(self, job: Job) -> Photograph | LeftOut:
        """The photograph, or why it is left out."""
        try:
            files = zip(job.files, job.paths, strict=True)
            return self._checked(job, [self._stored(job, file, path) for file, path in files])
        except BadImage as error:
            return LeftOut(str(error))
        except TooSmall as error:
            return LeftOut(f"{job.files[0].path}: {error}", error.needed)
        except UserError as error:
            return LeftOut(f"{job.files[0].path}: {error}")
        except OSError as error:
            file = error.filename or job.files[0].path
            return LeftOut(f"{file}: cannot be read ({error.strerror}); allow it or remove it")

    def _stored(self, job: Job, file: ImageFile, path: str) -> Stored:
        content = self.index.known_content(path) or self.index.content(path)
        return Stored(self._image(job, file, path, self._name(job, file, content)), content)

    def _image(self, job: Job, file: ImageFile, path: str, name: str) -> StoredImage:
        """The file in the store, as the chain's head returns it; decoded now if it is missing or damaged."""
        if known := self.index.known_image(name):
            return known
        if (STORE / name).exists():
            try:
                image = read_stored(STORE / name)
                self.index.add(image)
                return image
            except DamagedImage:
                self.damaged.add(name)
        prepare = Pipeline(()) if len(job.files) == 2 else self.chain
        with self.budget.of(count_pixels(path)):
            image = write_stored(STORE / name, prepare.prepare(job.source.read(file)))
        self.index.add(image)
        return image

    def _name(self, job: Job, file: ImageFile, content: str) -> str:
        """The stored image's file name: a hash of everything that its pixels depend on, and of nothing else."""
        head = self.heads[len(job.files)]
        key = f"{FORMAT}|{job.source.reader(file)}|{file.gain}|{head}|{content}"
        return f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:32]}.npy"

    def _checked(self, job: Job, stored: list[Stored]) -> Photograph | LeftOut:
        """The photograph, or why the chain or the generator cannot take it."""
        images, contents = zip(*stored, strict=True)
        mistake = self.mistake(*((one.dtype, one.shape, one.metadata) for one in images))
        if mistake is None:
            return Photograph(job.files[0].path, job.entry, images, contents)
        return mistake._replace(line=f"{job.files[0].path}: {mistake.line}")

    def _mistake(self, *described: tuple) -> LeftOut | None:
        """Why images of this (dtype, shape, metadata) cannot be used; None if they can. Each kind is checked once."""
        image = _one_or_pair([StoredImage(STORE, dtype, shape, 0, data).stand_in() for dtype, shape, data in described])
        prepared = self.chain.head and not isinstance(image, Pair)
        # A chain with Downsample takes no pairs, and its check says so.
        try:
            (self.chain.tail if prepared else self.chain).check(image)
        except UserError as error:
            needed = self.chain.smallest_image(layout_of(image)) if isinstance(error, TooSmall) else None
            return LeftOut(f"{'after Downsample: ' if prepared else ''}{error}", needed)
        if isinstance(image, Pair) and image.scale != self.scale:
            return LeftOut(
                f"its clean partner is {image.scale} times as large, and generator.scale is {self.scale}; "
                f"set generator.scale to {image.scale}, or give pairs of the right sizes"
            )
        return None


def _one_or_pair(images: list) -> Image:
    return Pair(images[0], images[1], recorded=True).fitted() if len(images) == 2 else images[0]


def _real_path(file: Path, real_folder: Callable[[Path], str]) -> str:
    """The file's absolute path without links. Each folder is looked up once: there may be 100,000 files."""
    return os.path.realpath(file) if file.is_symlink() else f"{real_folder(file.parent)}{os.sep}{file.name}"
