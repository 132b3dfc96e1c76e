"""Photographs decoded and downsampled once: every later crop is read from the disk's cache.

Cropping a decoded 2 MP photograph is a hundred times faster than decoding it, and the blur of Downsample would be a
third of what a sample costs after that. And since every file is decoded before
the training starts, one that is damaged, too small or of the wrong kind is named then, not met in the middle of a run.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from options.errors import UserError
from restore.data.sources import Recording, Source
from restore.files.atomic import make_folder, write_atomically
from restore.files.images import BadImage
from transforms import NoiseProfile, Pipeline, RawMetadata
from transforms.images import Image, Pair
from transforms.sensor.cameras import Camera
from transforms.sensor.mosaic import Mosaic

STORE = Path("training_data/.decoded")


class Stored(NamedTuple):
    """A decoded file."""

    array: Path
    """A .npy file: sRGB (H, W, 3), uint8 or uint16; or the values of a mosaic (H, W), float32."""
    metadata: Path | None
    """The rest of a mosaic, a .json file; None for sRGB."""

    def image(self) -> np.ndarray | Mosaic:
        array = np.load(self.array, mmap_mode="r")
        return array if self.metadata is None else Mosaic(array, _metadata_from_json(self.metadata.read_bytes()))


class Photograph(NamedTuple):
    """A photograph, a raw image or a pair in the store."""

    source: Path
    """The file that it was decoded from; of a pair the degraded one."""
    entry: int
    """Number of the entry of training_path or testing_path that it came with."""
    stored: tuple[Stored, ...]
    """One, or a pair's two."""

    def image(self) -> Image:
        """What a chain takes, its pixels read from the disk only where they are looked at."""
        images = [one.image() for one in self.stored]
        return Pair(*images, recorded=True) if len(images) == 2 else images[0]


class Photographs(NamedTuple):
    """The photographs of some folders and data sets, and what was left out of them."""

    usable: list[Photograph]
    left_out: list[str]
    """A line for each file that is damaged, too small, of the wrong kind or without its partner."""


def open_photographs(
    sources: Iterable[Source],
    chain: Pipeline,
    place: str,
    watch: Callable[[Iterable, int], Iterable] = lambda photographs, total: photographs,
) -> Photographs:
    """The photographs of the sources, decoded into the store where they are not yet.

    chain  what the photographs are for: they are stored as its head leaves them, and go into its tail
    place  the option that the sources are of, for the mistakes' lines
    watch  wraps the iteration over the photographs, to show how far it is
    Raises UserError if a folder is missing or empty or no photograph is left, SaveError if the disk is full.
    """
    jobs, left_out = {}, []
    for number, source in enumerate(sources):
        try:
            found = source.find()
        except UserError as error:
            raise UserError(f"{place}.{number}: {error}") from None
        left_out += found.left_out
        for recordings in found.photographs:  # sources may overlap, and links lead to one file
            files = tuple(recording.file.resolve() for recording in recordings)
            jobs.setdefault(files, (number, source, recordings))
    usable = []
    with ThreadPoolExecutor() as pool:
        for outcome in watch(pool.map(lambda job: _open(*job, chain), jobs.values()), len(jobs)):
            (left_out if isinstance(outcome, str) else usable).append(outcome)
    if not usable:
        raise UserError(f"{place}: none of the {len(left_out)} files can be used:", *left_out)
    return Photographs(usable, left_out)


def _open(number: int, source: Source, recordings: tuple[Recording, ...], chain: Pipeline) -> Photograph | str:
    """The photograph, or the line that says why it is left out."""
    file = recordings[0].file
    # A chain with Downsample takes no pairs, and its check says so.
    prepare, rest = (Pipeline(()), chain) if len(recordings) == 2 else (chain, chain.tail)
    try:
        photograph = Photograph(file, number, tuple(_decoded(source, recording, prepare) for recording in recordings))
    except BadImage as error:
        return str(error)
    except UserError as error:
        return f"{file}: {error}"
    try:
        rest.check(photograph.image())
    except UserError as error:
        return f"{file}: {'after Downsample: ' if prepare.head else ''}{error}"
    return photograph


def _decoded(source: Source, recording: Recording, chain: Pipeline) -> Stored:
    """The file in the store, as the chain prepares it; it is decoded anew when it has changed."""
    file, gain = recording
    about = file.stat()
    head = [transform.model_dump_json() for transform in chain.head]
    key = f"{type(source).__name__}|{gain}|{head}|{file.resolve()}|{about.st_size}|{about.st_mtime_ns}"
    array = STORE / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    metadata = array.with_suffix(".json")
    if not array.exists():
        image = chain.prepare(source.read(recording))
        make_folder(STORE)
        if isinstance(image, Mosaic):  # the metadata first: where the array is, they are
            write_atomically(metadata, _metadata_as_json(image.metadata))
            image = image.values
        content = io.BytesIO()
        np.save(content, image)
        write_atomically(array, content.getvalue())
    return Stored(array, metadata if metadata.exists() else None)


def _metadata_as_json(metadata: RawMetadata) -> bytes:
    """The metadata of an image that was not conditioned yet; noise that is not known is written as NaN."""
    return json.dumps([[values.tolist() for values in part] for part in metadata[:2]]).encode()


def _metadata_from_json(content: bytes) -> RawMetadata:
    camera, noise = ([torch.tensor(values) for values in part] for part in json.loads(content))
    return RawMetadata(Camera(*camera), NoiseProfile(*noise))
