"""Photographs -> batches of samples. What a sample is depends on the seed, the epoch and its photograph alone."""

import hashlib
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from operator import itemgetter
from types import TracebackType
from typing import Any, NamedTuple

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from options.errors import Failure, UserError
from restore.compute.process import Process
from restore.data.store import Photograph
from restore.files.paths import printable
from transforms import Layout, Pipeline, RawMetadata, Sample
from transforms.images import Image
from transforms.sensor.metadata import map_tensors

MOST_WORKERS = 8  # more of them feed no accelerator any faster, since they only cut and degrade decoded pictures
GRACE = 5  # seconds from SIGTERM to a worker's end


class Batch(NamedTuple):
    """Samples side by side."""

    degraded: Tensor
    """(B, in_channels, h, w) float32: what the network sees."""
    clean: Tensor
    """(B, channels, scale * h, scale * w) float32, of the layout."""
    metadata: RawMetadata | None
    """Camera and noise of raw samples, each tensor with a leading B; None for sRGB."""
    layout: Layout
    files: tuple[str, ...]
    """The photographs that the samples were made from."""

    def to(self, device: torch.device) -> "Batch":
        return map_tensors(self, lambda tensor: tensor.to(device, non_blocking=True))

    def parts(self, count: int) -> "list[Batch]":
        """The batch cut into so many parts of one size each; the count divides B."""
        size = len(self.degraded) // count
        cuts = [slice(start, start + size) for start in range(0, len(self.degraded), size)]
        return [map_tensors(self, itemgetter(cut))._replace(files=self.files[cut]) for cut in cuts]


class Samples(Dataset):
    """Samples by (epoch, index): the same pair gives the same sample in any process, in any order."""

    def __init__(self, photographs: list[Photograph], pipeline: Pipeline, seed: int, purpose: str):
        self.photographs = photographs
        self.pipeline = pipeline
        self.seed = seed
        self.purpose = purpose
        self.others = {count: [one for one in photographs if len(one.stored) == count] for count in (1, 2)}
        """The photographs, and the pairs."""

    def __len__(self) -> int:
        return len(self.photographs)

    def fingerprint(self) -> str:
        """Tells whether these are the photographs that they were: their content and how it is read, in order."""
        names = [[stored.array.name for stored in photograph.stored] for photograph in self.photographs]
        return hashlib.blake2b(repr(names).encode(), digest_size=16).hexdigest()

    def __getitem__(self, position: tuple[int, int]) -> tuple[Sample, str]:
        """The sample of this (epoch, index), and the file of its photograph."""
        epoch, index = position
        photograph = self.photographs[index]
        rng = seeded_generator(self.seed, self.purpose, epoch, index)
        partners = partial(self._partner, photograph, epoch, index) if self.pipeline.needs_partners else None
        return self.pipeline(photograph.image(), rng, partners), printable(photograph.source)

    def _partner(self, photograph: Photograph, epoch: int, index: int, number: int) -> tuple[Image, torch.Generator]:
        """Another photograph to mix with this one, a pair with a pair: each is equally likely, and where there is no
        other it is the photograph itself. It depends on the position and on the mixing transform's number alone."""
        rng = seeded_generator(self.seed, self.purpose, epoch, index, "partner", number)
        alike = self.others[len(photograph.stored)]
        drawn = alike[int(torch.randint(max(len(alike) - 1, 1), (), generator=rng))]
        return (alike[-1] if drawn is photograph else drawn).image(), rng


def collate(samples: list[tuple[Sample, str]]) -> Batch:
    """Samples of one size and chain, with their files, as a batch."""
    columns = zip(*(sample for sample, _ in samples), strict=True)
    degraded, clean, metadata, layouts = (_stacked(list(column)) for column in columns)
    return Batch(degraded, clean, metadata, layouts, tuple(file for _, file in samples))


def _stacked(values: list[Any]) -> Any:
    """Tensors stacked, also inside named tuples; of other values, which are all the same, the first."""
    first = values[0]
    if isinstance(first, Tensor):
        return torch.stack(values)
    if hasattr(first, "_fields"):
        return type(first)(*(_stacked(list(column)) for column in zip(*values, strict=True)))
    return first


class Batches:
    """The training batches, counted through all epochs: the n-th batch is the same whenever the run gets to it.

    process  which part of each batch is made: every process of a run takes its own
    Raises UserError if there are fewer photographs than one batch holds.
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int,
        workers: int | None,
        device: torch.device,
        process: Process = Process(),
    ):
        if len(samples) < batch_size:
            raise UserError(
                f"batch_size: {batch_size} given, but training_path holds only {len(samples)} usable photographs; "
                f"lower batch_size or add photographs"
            )
        self.samples = samples
        self.batch_size = batch_size
        self.workers = workers
        self.device = device
        self.process = process
        self.per_epoch = len(samples) // batch_size
        """Iterations to one pass over the photographs; what is left over from full batches waits for another epoch."""

    def after(self, iteration: int, until: int) -> Iterator[Batch]:
        """The batches of the iterations from iteration + 1 to until, on the device."""
        return _on_device(
            _loader(self.samples, self._positions(iteration, until), self.workers, self.device), self.device
        )

    def _positions(self, begin: int, end: int) -> Iterator[list[tuple[int, int]]]:
        """The (epoch, index) of the samples of the batches of these numbers, counted from 0."""
        drawn = None
        for number in range(begin, end):
            epoch, place = divmod(number, self.per_epoch)
            if epoch != drawn:
                generator = seeded_generator(self.samples.seed, "order", epoch)
                order, drawn = torch.randperm(len(self.samples), generator=generator), epoch
            batch = order[place * self.batch_size :][: self.batch_size]
            yield [(epoch, int(index)) for index in batch[self.process.rank :: self.process.count]]


class ValidationBatches:
    """Every photograph once, always the same, one to a batch since photographs may differ in size."""

    def __init__(self, samples: Samples, workers: int | None, device: torch.device):
        self.samples = samples
        self.workers = workers
        self.device = device

    def __iter__(self) -> Iterator[Batch]:
        positions = [[(0, index)] for index in range(len(self.samples))]
        return _on_device(_loader(self.samples, positions, self.workers, self.device), self.device)


def seeded_generator(*key: int | str) -> torch.Generator:
    """A generator whose stream depends on the key alone, such as (seed, purpose, epoch, index)."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))


def default_workers(device: torch.device) -> int:
    """All cores but the training process's own, to a limit; one where the network computes on the cores itself."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores - 1, 1) if device.type == "cpu" else min(max(cores - 1, 1), MOST_WORKERS)


def _loader(samples: Samples, positions: Iterable, workers: int | None, device: torch.device) -> DataLoader:
    return DataLoader(
        samples,
        batch_sampler=positions,
        collate_fn=collate,
        num_workers=min(default_workers(device) if workers is None else workers, len(samples)),
        worker_init_fn=_begin_worker,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # else each start of a loader draws from the generator that the step draws from
    )


def _on_device(loader: DataLoader, device: torch.device) -> Iterator[Batch]:
    try:
        for batch in loader:
            yield batch.to(device)
    except Exception as error:
        if not loader.num_workers:
            raise
        # The text of a worker's error holds its traceback. That of this process ends at the loader, and would keep it
        # alive, and so the workers, past the end of the program.
        raise error.with_traceback(None) from None


def failure_of_workers(error: Exception) -> Failure | None:
    """What ended the workers, if it was no error in their work: torch tells it in the text of a RuntimeError.

    A worker's end interrupts the training process wherever it is, so that such an error may come out of any line.
    """
    text = str(error)
    if not isinstance(error, RuntimeError):
        return None
    if any(words in text for words in ("out of shared memory", "insufficient shared memory", "to file </torch_")):
        return Failure("workers: the memory that processes share, /dev/shm, is full; enlarge it or set workers to 0")
    if found := re.search(
        r"DataLoader worker \(pid\(?s?\)? (.*?)\) (exited unexpectedly|is killed by signal: [^.]*)", text
    ):
        return Failure(
            f"workers: the process {found[1]}, which makes samples, {found[2]}; if memory was short, set workers to a "
            f"lower number, or to 0"
        )
    return None


def _quietly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A worker's thread that hands over samples has nobody to speak to when the training process is gone."""
    if not issubclass(kind, ConnectionError):
        sys.__excepthook__(kind, error, trace)


def _begin_worker(_: int) -> None:
    sys.excepthook = _quietly
    cv2.setNumThreads(0)  # one thread to a worker: the workers are the parallel ones
    # Ctrl+C and kill may reach all processes, and the training process ends its workers when its state is saved. Where
    # it ends without having done so, as at an error, Python terminates them: they go, but leave time for that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(GRACE))
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, lambda number, frame: os._exit(0))
