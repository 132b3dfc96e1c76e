"""The photographs of a run, decoded and downsampled once into files from which every crop is read.

To crop a decoded photograph of 2 MP takes a hundredth of the time that decoding it takes. And since each file is
decoded before the training starts, one that is damaged, too small or of the wrong kind is named then, and not met in
the middle of a run.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from options.errors import UserError
from restore.data.index import NAME, Index
from restore.data.pixel_budget import PixelBudget
from restore.data.sources import Recording, Source
from restore.data.stored_image import FORMAT, DamagedImage, StoredImage, read_stored, write_stored
from restore.files.atomic import make_folder, remove_unfinished
from restore.files.images import BadImage, count_pixels
from restore.files.paths import printable
from transforms import Pipeline
from transforms.images import Image, Pair

STORE = Path("training_data/.decoded")
MOST_THREADS = 8
PIXELS_AT_A_TIME = 200_000_000
"""Decoded at once by all threads together; a photograph takes 6 to 12 bytes of memory a pixel meanwhile."""
KEPT = 30 * 24 * 3600
"""A stored image that no run has used for so long is removed [s]."""
LARGE = 1e9
"""A store of more than this is worth a line at the start [bytes]."""


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
        """What a chain takes, its pixels read from the disk only where they are looked at."""
        return _one_or_pair([one.image() for one in self.stored])


class Photographs(NamedTuple):
    """The photographs of some folders and data sets, and what was left out of them."""

    usable: list[Photograph]
    left_out: list[str]
    """A line for each file that is damaged, too small, of the wrong kind or without its partner."""
    damaged: int
    """Stored images that were found damaged, and decoded anew."""


class Job(NamedTuple):
    """A photograph to open."""

    entry: int
    source: Source
    recordings: tuple[Recording, ...]
    paths: tuple[str, ...]
    """Of the recordings' files, absolute and without links."""


def open_photographs(
    sources: Iterable[Source],
    chain: Pipeline,
    place: str,
    watch: Callable[[Iterable, int], Iterable] = lambda photographs, total: photographs,
    scale: int = 1,
) -> Photographs:
    """The photographs of the sources, decoded into the store where they are not yet.

    chain  what the photographs are for: they are stored as its head leaves them, and go into its tail
    place  the option that the sources are of, for the mistakes' lines
    watch  wraps the iteration over the photographs that are read now, to show how far it is
    scale  how many times as long the sides of a pair's clean image have to be as the degraded one's
    Raises UserError if a folder is missing or empty or no photograph is left, SaveError if the disk is full.
    """
    jobs: dict[tuple[str, ...], Job] = {}
    left_out: list[str] = []
    real_folder = cache(os.path.realpath)
    for number, source in enumerate(sources):
        try:
            found = source.find()
        except UserError as error:
            raise UserError(f"{place}.{number}: {error}") from None
        left_out += found.left_out
        for recordings in found.photographs:  # sources may overlap, and links lead to one file
            paths = tuple(_real_path(recording.file, real_folder) for recording in recordings)
            jobs.setdefault(paths, Job(number, source, recordings, paths))
    make_folder(STORE)
    opener = Opener(chain, scale)
    outcomes = {job.paths: opener.known(job) for job in jobs.values()}
    unknown = [job for job in jobs.values() if outcomes[job.paths] is None]
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_THREADS)) as pool:
        try:
            for job, outcome in watch(pool.map(lambda job: (job, opener.open(job)), unknown), len(unknown)):
                outcomes[job.paths] = outcome
        finally:
            opener.index.save()
    usable = [outcome for outcome in outcomes.values() if isinstance(outcome, Photograph)]
    left_out += [outcome for outcome in outcomes.values() if isinstance(outcome, str)]
    left_out = [printable(line) for line in left_out]
    if not usable:
        raise UserError(f"{place}: none of the {len(left_out)} files can be used:", *left_out)
    return Photographs(usable, left_out, len(opener.damaged))


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
        # The sections and versions of the transforms whose work is stored: of a photograph, and of a pair's two images.
        self.heads = {1: [f"{step.version} {step.model_dump_json()}" for step in chain.head], 2: []}
        self.mistake = cache(self._mistake)

    def known(self, job: Job) -> Photograph | str | None:
        """What open gives, without reading any file; None where one has to be read."""
        stored: list[Stored] = []
        for recording, path in zip(job.recordings, job.paths, strict=True):
            content = self.index.known_content(path)
            image = self.index.known_image(self._name(job, recording, content)) if content else None
            if image is None:
                return None
            stored.append(Stored(image, content))
        return self._checked(job, stored)

    def open(self, job: Job) -> Photograph | str:
        """The photograph, or the line that says why it is left out."""
        try:
            files = zip(job.recordings, job.paths, strict=True)
            return self._checked(job, [self._stored(job, recording, path) for recording, path in files])
        except BadImage as error:
            return str(error)
        except UserError as error:
            return f"{job.recordings[0].file}: {error}"
        except OSError as error:
            file = error.filename or job.recordings[0].file
            return f"{file}: cannot be read ({error.strerror}); allow it or remove it"

    def _stored(self, job: Job, recording: Recording, path: str) -> Stored:
        content = self.index.known_content(path) or self.index.content(path)
        return Stored(self._image(job, recording, path, self._name(job, recording, content)), content)

    def _image(self, job: Job, recording: Recording, path: str, name: str) -> StoredImage:
        """The file in the store, as the chain's head leaves it; decoded now if it is not there or damaged."""
        if known := self.index.known_image(name):
            return known
        if (STORE / name).exists():
            try:
                image = read_stored(STORE / name)
                self.index.add(image)
                return image
            except DamagedImage:
                self.damaged.add(name)
        prepare = Pipeline(()) if len(job.recordings) == 2 else self.chain
        with self.budget.of(count_pixels(path)):
            return write_stored(STORE / name, prepare.prepare(job.source.read(recording)))

    def _name(self, job: Job, recording: Recording, content: str) -> str:
        """The stored image's file name: it depends on all that its pixels depend on, and on nothing else."""
        head = self.heads[len(job.recordings)]
        key = f"{FORMAT}|{job.source.reader(recording)}|{recording.gain}|{head}|{content}"
        return f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:32]}.npy"

    def _checked(self, job: Job, stored: list[Stored]) -> Photograph | str:
        """The photograph, or the line that says why the chain or the generator cannot take it."""
        images, contents = zip(*stored, strict=True)
        mistake = self.mistake(*((one.dtype, one.shape, one.metadata) for one in images))
        if mistake is None:
            return Photograph(job.recordings[0].file, job.entry, images, contents)
        return f"{job.recordings[0].file}: {mistake}"

    def _mistake(self, *described: tuple) -> str | None:
        """Why images so described cannot be used. Most photographs of a camera have one size: each is checked once."""
        image = _one_or_pair([StoredImage(STORE, dtype, shape, 0, data).stand_in() for dtype, shape, data in described])
        prepared = self.chain.head and not isinstance(image, Pair)
        # A chain with Downsample takes no pairs, and its check says so.
        try:
            (self.chain.tail if prepared else self.chain).check(image)
        except UserError as error:
            return f"{'after Downsample: ' if prepared else ''}{error}"
        if isinstance(image, Pair) and image.scale != self.scale:
            return (
                f"its clean partner is {image.scale} times as large, and generator.scale is {self.scale}; "
                f"set generator.scale to {image.scale}, or give pairs of the right sizes"
            )
        return None


def clean_store() -> str | None:
    """Removes what no run has used for 30 days, and what killed processes left. The line to say of a large store."""
    remove_unfinished(STORE)
    kept: list[int] = []
    removed: list[int] = []
    for file in STORE.iterdir():
        with suppress(OSError):  # another run may clean it too
            about = file.stat()
            in_use = file.name == NAME or time.time() - max(about.st_mtime, about.st_atime) < KEPT
            if not in_use:
                file.unlink()
            (kept if in_use else removed).append(about.st_size)
    if removed:
        index = Index(STORE)
        index.forget_removed()
        index.save()
    if sum(kept) + sum(removed) < LARGE:
        return None
    line = f"{STORE}: {sum(kept) / 1e9:.1f} GB of decoded images; delete it whenever no run uses it"
    if removed:
        line += f". {len(removed)} that were unused for 30 days ({sum(removed) / 1e9:.1f} GB) were removed"
    return line


def _one_or_pair(images: list) -> Image:
    return Pair(images[0], images[1], recorded=True) if len(images) == 2 else images[0]


def _real_path(file: Path, real_folder: Callable[[Path], str]) -> str:
    """The file's absolute path without links. Each folder is looked up once: there may be 100,000 files."""
    return os.path.realpath(file) if file.is_symlink() else f"{real_folder(file.parent)}{os.sep}{file.name}"
