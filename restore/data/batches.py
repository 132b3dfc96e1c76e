"""Photographs -> batches of samples. What a sample is depends on the seed, the epoch and its photograph alone."""

import hashlib
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
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

    def __len__(self) -> int:
        return len(self.photographs)

    def fingerprint(self) -> str:
        """Tells whether these are the photographs that they were: their content and how it is read, in order."""
        names = [[stored.array.name for stored in photograph.stored] for photograph in self.photographs]
        return hashlib.blake2b(repr(names).encode(), digest_size=16).hexdigest()

    def __getitem__(self, position: tuple[int, int]) -> tuple[Sample, str]:
        """The sample of this (epoch, index), and the file of its photograph."""
        epoch, index = position
        photograph = self.photographs[index % len(self)]  # an epoch may take several crops of each
        sample = self.pipeline(photograph.image(), seeded_generator(self.seed, self.purpose, epoch, index))
        return sample, printable(photograph.source)


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


class Stage(NamedTuple):
    """A part of a run, and what its batches are made of."""

    begin: int
    """Iterations made before it."""
    samples: Samples
    """Of the same photographs in all stages."""
    batch_size: int


class Place(NamedTuple):
    """Where a batch stands among the crops of an epoch."""

    epoch: int
    """Counted from 0."""
    used: int
    """Crops of this epoch that are in earlier batches."""


class Batches:
    """The training batches, counted through all epochs: the n-th batch is the same whenever the run gets to it.

    An epoch is so many crops of every photograph, in an order of its own. What is left over from full batches waits for
    another epoch. A stage goes on in the middle of the epoch where the one before it ended.

    stages   the first begins at 0; a run of one kind has one
    process  which part of each batch is made: every process of a run takes its own
    Raises UserError if an epoch has fewer crops than one batch holds.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        workers: int | None,
        device: torch.device,
        process: Process = Process(),
        crops_per_photograph: int = 1,
    ):
        self.stages = tuple(stages)
        self.samples = stages[0].samples
        self.workers = workers
        self.device = device
        self.process = process
        self.crops = crops_per_photograph * len(self.samples)
        """Crops to an epoch."""
        self._check_sizes()
        self.places = [Place(0, 0)]
        """Where each stage begins."""
        for stage in self.stages[1:]:
            self.places.append(self._place(len(self.places) - 1, stage.begin))

    def _check_sizes(self) -> None:
        for number, stage in enumerate(self.stages):
            if self.crops < stage.batch_size:
                place = f"stages.{number}: " if len(self.stages) > 1 else ""
                each = self.crops // len(self.samples)
                several = f", {each} crops of each to an epoch" if each > 1 else ""
                raise UserError(
                    f"{place}batch_size: {stage.batch_size} given, but training_path holds only {len(self.samples)} "
                    f"usable photographs{several}; lower batch_size, add photographs or raise crops_per_photograph"
                )

    def of_stage(self, number: int) -> "Batches":
        """The batches of a run of this stage alone."""
        stage = self.stages[number]._replace(begin=0)
        crops = self.crops // len(self.samples)
        return Batches([stage], self.workers, self.device, self.process, crops)

    def after(self, iteration: int, until: int) -> Iterator[Batch]:
        """The batches of the iterations from iteration + 1 to until, on the device."""
        return _on_device(self._loaders(iteration, until), self.device)

    def _loaders(self, iteration: int, until: int) -> Iterator[DataLoader]:
        """One for each stage, made when it begins."""
        ends = [stage.begin for stage in self.stages[1:]] + [until]
        for number, (stage, end) in enumerate(zip(self.stages, ends, strict=True)):
            if numbers := range(max(iteration, stage.begin), min(until, end)):
                yield _loader(stage.samples, self._positions(number, numbers), self.workers, self.device)

    def stage(self, iteration: int) -> int:
        """The number, from 0, of the stage that this iteration, from 1, belongs to."""
        return max(number for number, stage in enumerate(self.stages) if stage.begin < max(iteration, 1))

    def epoch(self, iteration: int) -> int:
        """The epoch, from 1, that this iteration, from 1, belongs to; 0 for the iteration 0."""
        return iteration and self._place(self.stage(iteration), iteration - 1).epoch + 1

    def iterations(self, epochs: int) -> int:
        """Iterations to the end of so many epochs."""
        ends = [stage.begin for stage in self.stages[1:]] + [sys.maxsize]
        for stage, place, end in zip(self.stages, self.places, ends, strict=True):
            whole = epochs - place.epoch - 1  # epochs behind the one that the stage begins in
            iteration = stage.begin + self._rest(stage, place) + whole * (self.crops // stage.batch_size)
            if iteration <= end:
                break
        return iteration

    def _rest(self, stage: Stage, place: Place) -> int:
        """Batches to the end of the epoch."""
        return (self.crops - place.used) // stage.batch_size

    def _place(self, stage_number: int, number: int) -> Place:
        """The place of the batch of this number, counted from 0, as one of this stage."""
        stage, (epoch, used) = self.stages[stage_number], self.places[stage_number]
        since, rest = number - stage.begin, self._rest(stage, self.places[stage_number])
        if since < rest:
            return Place(epoch, used + since * stage.batch_size)
        epochs, batches = divmod(since - rest, self.crops // stage.batch_size)
        return Place(epoch + 1 + epochs, batches * stage.batch_size)

    def _positions(self, stage_number: int, numbers: range) -> Iterator[list[tuple[int, int]]]:
        """The (epoch, index) of the samples of a stage's batches of these numbers, counted from 0."""
        size, drawn = self.stages[stage_number].batch_size, None
        for number in numbers:
            epoch, used = self._place(stage_number, number)
            if epoch != drawn:
                generator = seeded_generator(self.samples.seed, "order", epoch)
                order, drawn = torch.randperm(self.crops, generator=generator), epoch
            batch = order[used : used + size]
            yield [(epoch, int(index)) for index in batch[self.process.rank :: self.process.count]]


class ValidationBatches:
    """Every photograph once, always the same, one to a batch since photographs may differ in size."""

    def __init__(self, samples: Samples, workers: int | None, device: torch.device):
        self.samples = samples
        self.workers = workers
        self.device = device

    def __iter__(self) -> Iterator[Batch]:
        positions = [[(0, index)] for index in range(len(self.samples))]
        return _on_device([_loader(self.samples, positions, self.workers, self.device)], self.device)


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


def _on_device(loaders: Iterable[DataLoader], device: torch.device) -> Iterator[Batch]:
    try:
        for loader in loaders:
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
