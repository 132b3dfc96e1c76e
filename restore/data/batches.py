"""Photographs -> batches of samples. A sample depends only on the seed, the epoch and its photograph."""

import hashlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from options.errors import Failure, UserError
from restore.compute.process import Process
from restore.compute.share import Share
from restore.data.store import Photograph
from restore.files.paths import printable
from transforms import Layout, Pipeline, RawMetadata, Sample
from transforms.clean_crop import CleanCrop, CleanCrops, stacked
from transforms.images import Image
from transforms.sensor.metadata import combine, map_tensors

Made = TypeVar("Made", Sample, CleanCrop)

MOST_WORKERS = 8
"""More of them are no faster, since they only crop and degrade decoded images."""
PREFETCH = 2
"""Batches that a worker makes ahead."""
GRACE = 5
"""Time from SIGTERM to the end of a worker [s]."""


class Batch(NamedTuple):
    """Samples stacked along a first dimension B."""

    degraded: Tensor
    """(B, in_channels, h, w) float32: what the network sees."""
    clean: Tensor
    """(B, channels, scale * h, scale * w) float32, of the layout."""
    metadata: RawMetadata | None
    """Camera and noise of raw samples, each tensor with a leading B; None for sRGB."""
    layout: Layout
    files: tuple[str, ...]
    """The photographs that the samples were made from."""
    cut: Share | None = None
    """Which samples of a batch these are, of which other processes have the others; None: all of them."""

    @property
    def share(self) -> Share:
        """Which samples of a batch these are."""
        return self.cut or Share(len(self.degraded))

    def to(self, device: torch.device) -> "Batch":
        return map_tensors(self, lambda tensor: tensor.to(device, non_blocking=True))

    def parts(self, count: int) -> "list[Batch]":
        """The batch cut into `count` parts of equal size, of which B is a multiple: what is here of each."""
        cuts = [self.share.part(number, count) for number in range(count)]
        return [map_tensors(self, itemgetter(here))._replace(files=self.files[here], cut=cut) for here, cut in cuts]


class CropBatch(NamedTuple):
    """Clean crops, of which a batch is synthesised on the device."""

    crops: CleanCrops
    files: tuple[str, ...]
    """The photographs that they were cut from."""
    cut: Share | None = None
    """Which samples of a batch these are, of which other processes have the others; None: all of them."""

    def synthesised(self, pipeline: Pipeline, device: torch.device) -> Batch:
        return Batch(*pipeline.synthesised(self.crops.to(device)), self.files, self.cut)


class Samples(Dataset):
    """Samples by (epoch, index): the same pair gives the same sample in any process, in any order.

    on_device  workers only cut clean crops, and `finished` synthesises the batch on the device; the same pair still
               gives the same sample there, with another noise of its pixels than on the CPU
    """

    def __init__(
        self, photographs: list[Photograph], pipeline: Pipeline, seed: int, purpose: str, on_device: bool = False
    ):
        self.photographs = photographs
        self.pipeline = pipeline
        self.seed = seed
        self.purpose = purpose
        self.on_device = on_device
        self.others = {count: [one for one in photographs if len(one.stored) == count] for count in (1, 2)}
        """The photographs, and the pairs."""

    def __len__(self) -> int:
        return len(self.photographs)

    def fingerprint(self) -> str:
        """A hash of the photographs' content, how it is read, and their order."""
        names = [[stored.array.name for stored in photograph.stored] for photograph in self.photographs]
        return hashlib.blake2b(repr(names).encode(), digest_size=16).hexdigest()

    def __getitem__(self, position: tuple[int, int]) -> tuple[Sample | CleanCrop, str]:
        """What a worker makes of this (epoch, index), and the file of its photograph."""
        return self._made(position, self.pipeline.clean_crop) if self.on_device else self.sample(position)

    def sample(self, position: tuple[int, int]) -> tuple[Sample, str]:
        """The sample of this (epoch, index), made on the CPU, and the file of its photograph."""
        return self._made(position, self.pipeline)

    def finished(self, batch: "Batch | CropBatch", device: torch.device) -> Batch:
        """The batch on the device, of what the workers made."""
        return batch.to(device) if isinstance(batch, Batch) else batch.synthesised(self.pipeline, device)

    def _made(self, position: tuple[int, int], make: Callable[..., Made]) -> tuple[Made, str]:
        epoch, index = position
        photograph = self.photographs[index % len(self)]  # an epoch may take several crops of each
        rng = seeded_generator(self.seed, self.purpose, epoch, index)
        partners = partial(self._partner, photograph, epoch, index) if self.pipeline.needs_partners else None
        return make(photograph.image(), rng, partners), printable(photograph.source)

    def _partner(self, photograph: Photograph, epoch: int, index: int, number: int) -> tuple[Image, torch.Generator]:
        """Another photograph to mix with this one, a pair with a pair: each is equally likely, and where there is no
        other it is the photograph itself. It depends on the position and on the mixing transform's number alone."""
        rng = seeded_generator(self.seed, self.purpose, epoch, index, "partner", number)
        alike = self.others[len(photograph.stored)]
        drawn = alike[int(torch.randint(max(len(alike) - 1, 1), (), generator=rng))]
        return (alike[-1] if drawn is photograph else drawn).image(), rng


def collate(samples: list[tuple[Any, str]], cut: Share | None = None) -> Batch | CropBatch:
    """A batch of samples or of clean crops of the same size and chain, with their files."""
    made, files = zip(*samples, strict=True)
    if isinstance(made[0], CleanCrop):
        return CropBatch(stacked(made), files, cut)
    sample: Sample = combine(made, torch.stack)
    return Batch(*sample, files, cut)


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
    """The training batches, counted through all epochs: the n-th batch is the same in every run.

    An epoch is crops_per_photograph crops of every photograph, in an order of its own. Crops that do not fill a batch
    wait for another epoch. A stage continues in the middle of the epoch where the one before it ended.

    stages    the first begins at iteration 0; a run without stages has one
    process   its rank and count say which part of each batch this process makes
    prefetch  batches that each worker makes ahead
    Raises UserError if an epoch has fewer crops than one batch holds.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        workers: int | None,
        device: torch.device,
        process: Process = Process(),
        crops_per_photograph: int = 1,
        prefetch: int = PREFETCH,
    ):
        self.stages = tuple(stages)
        self.samples = stages[0].samples
        self.workers = workers
        self.device = device
        self.process = process
        self.prefetch = prefetch
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
        return Batches([stage], self.workers, self.device, self.process, crops, self.prefetch)

    def after(self, iteration: int, until: int) -> Iterator[Batch]:
        """The batches of the iterations from iteration + 1 to until, on the device."""
        return _on_device(self._loaders(iteration, until), self.device)

    def _loaders(self, iteration: int, until: int) -> Iterator[DataLoader]:
        """One for each stage, made when it begins."""
        ends = [stage.begin for stage in self.stages[1:]] + [until]
        for number, (stage, end) in enumerate(zip(self.stages, ends, strict=True)):
            if numbers := range(max(iteration, stage.begin), min(until, end)):
                positions, cut = self._positions(number, numbers), self.process.share(stage.batch_size)
                workers = _workers(stage.samples, self.workers, self.device, self.process)
                yield _loader(stage.samples, positions, workers, self.device, self.prefetch, cut)

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
    """Every photograph once, as the same sample each time, in batches of one, since photographs may differ in size.

    process  it gets every count-th photograph, from that of its rank
    """

    def __init__(self, samples: Samples, workers: int | None, device: torch.device, process: Process = Process()):
        self.samples = samples
        self.workers = workers
        self.device = device
        self.process = process

    def __iter__(self) -> Iterator[Batch]:
        positions = [[(0, index)] for index in range(self.process.rank, len(self.samples), self.process.count)]
        workers = _workers(self.samples, self.workers, self.device, self.process)
        loader = _loader(self.samples, positions, workers, self.device)
        return _on_device([loader], self.device)


def seeded_generator(*key: int | str) -> torch.Generator:
    """A generator whose stream depends on the key alone, such as (seed, purpose, epoch, index)."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))


def cores_here() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers(device: torch.device, processes: int = 1) -> int:
    """All cores but one, and at most MOST_WORKERS; at most one where the network runs on the CPU.

    processes  of the run on this machine, each with its part of the cores and its own workers
    """
    cores = max(cores_here() // processes, 1)
    return min(cores - 1, 1) if device.type == "cpu" else min(max(cores - 1, 1), MOST_WORKERS)


def _workers(samples: Samples, workers: int | None, device: torch.device, process: Process) -> int:
    """How many processes make the samples. None: as many as suit the device."""
    wanted = default_workers(device, process.local_count) if workers is None else workers
    return min(wanted, len(samples))


def _loader(
    samples: Samples,
    positions: Iterable,
    workers: int,
    device: torch.device,
    prefetch: int = PREFETCH,
    cut: Share | None = None,
) -> DataLoader:
    return DataLoader(
        samples,
        batch_sampler=positions,
        collate_fn=partial(collate, cut=cut),
        num_workers=workers,
        prefetch_factor=prefetch if workers else None,
        worker_init_fn=_begin_worker,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # else each loader would draw from the global generator, as the step does
    )


def _on_device(loaders: Iterable[DataLoader], device: torch.device) -> Iterator[Batch]:
    loader = None
    try:
        for loader in loaders:
            samples = loader.dataset
            assert isinstance(samples, Samples)
            for batch in loader:
                yield samples.finished(batch, device)
    except Exception as error:
        if loader is None or not loader.num_workers:
            raise
        if isinstance(error, (ConnectionError, EOFError)):
            # A worker has ended while it handed over a tensor. While this waits, the signal of its end arrives, and
            # torch's handler raises the error that names the process.
            time.sleep(GRACE)
        # The message of a worker's error contains the worker's traceback. The traceback of this process keeps the
        # loader alive, and its workers with it, so it is dropped.
        raise error.with_traceback(None) from None


def failure_of_workers(error: Exception) -> Failure | None:
    """The failure that ended a worker process, as the text of torch's RuntimeError tells it; None for other errors.

    The end of a worker interrupts the training process, so that any line of it may raise such an error.
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
    """An exception hook that prints no connection errors: workers get them when the training process has ended."""
    if not issubclass(kind, ConnectionError):
        sys.__excepthook__(kind, error, trace)


def _begin_worker(_: int) -> None:
    sys.excepthook = _quietly
    cv2.setNumThreads(0)  # one thread for each worker, as the workers run in parallel
    # Ctrl+C and kill may reach all processes. Workers ignore them, as the training process ends its workers once its
    # state is saved. If it ends otherwise, as by an error, Python sends SIGTERM: workers then end after GRACE seconds.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(GRACE))
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, lambda number, frame: os._exit(0))
