"""Measures how many samples a second the workers make of an option file's photographs, and what limits it."""

import copy
import os
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch

from options.errors import UserError
from restore.command.arguments import flags
from restore.compute.device import choose_device, describe_device, wait_for_device
from restore.data.batches import Batch, Batches, Samples, collate, cores_here
from restore.training.assembly import Parts, assemble
from restore.training.option_file import TrainingOptions, read_option_file
from restore.training.precision import training_arithmetic

PREFETCHES = (2, 4)
ALIKE = 0.95
"""Rates of at least this share of the best one are as good: fewer workers are then better."""
POSITIONS = 64
"""Samples that are timed one by one."""
DECODED = 8
"""Photographs that are decoded to time it."""
NEVER = 10**9


class Setting(NamedTuple):
    """Workers, and the batches that each of them makes ahead."""

    workers: int
    prefetch: int


class Rates(NamedTuple):
    """Samples per second."""

    alone: float
    """Of the workers, nothing being done with the samples."""
    in_training: float
    """Of the training."""


class Costs(NamedTuple):
    """The time that one core takes [s]."""

    disk: float
    """To read what a sample needs of the store, where that is not in memory."""
    chain: float
    """To make a sample of it."""
    decoder: float
    """To decode a photograph into the store, which is done once."""


def benchmark_loader(arguments: Namespace) -> None:
    """Prints a table of samples per second, the setting that is best, and what limits it."""
    for name, least in (("seconds", 0.1), ("repeats", 1)):
        if not getattr(arguments, name) >= least:
            raise UserError(f"--{name}: {getattr(arguments, name)} given; give {least} or more")
    if min(arguments.workers or [0]) < 0:
        raise UserError(f"--workers: {min(arguments.workers)} given; give 0 or more")
    options = read_option_file(arguments.opt, arguments.set)
    with flags(device="--device"):
        device = choose_device(arguments.device)
    print(describe_device(device))
    parts = assemble(options, device, print)
    photographs = len(parts.batches.samples)
    settings = [
        Setting(workers, prefetch)
        for workers in arguments.workers or numbers_of_workers()
        if workers <= photographs  # more are not started
        for prefetch in (PREFETCHES if workers else PREFETCHES[:1])
    ]
    if not settings:
        least = min(arguments.workers)
        raise UserError(f"--workers: {least} given, and there are {photographs} photographs; give fewer")
    minutes = (2 * len(settings) * arguments.repeats + 1) * arguments.seconds / 60
    print(f"measuring {len(settings)} settings: at least {minutes:.1f} minutes", flush=True)
    with training_arithmetic():
        network = network_rate(parts, options.accumulation, arguments.seconds)
        rates = all_rates(parts, options.accumulation, settings, arguments.seconds, arguments.repeats)
    costs = costs_of_a_sample(parts.batches.samples, options)
    print(f"\nsamples per second, medians of {arguments.repeats} rounds of {arguments.seconds:g} s each")
    print(f"{'workers':>9}{'prefetch':>10}{'workers alone':>16}{'in training':>14}")
    for setting, rate in rates.items():
        prefetch = str(setting.prefetch) if setting.workers else "-"
        print(f"{setting.workers:9}{prefetch:>10}{rate.alone:16,.1f}{rate.in_training:14,.1f}")
    print(f"{'the network alone':>35}{network:14,.1f}")
    print(
        f"\none core: {costs.chain * 1000:.3f} ms for the chain of a sample, {costs.disk * 1000:.3f} ms more where the "
        f"store is not in memory; {costs.decoder * 1000:.1f} ms to decode a photograph, once"
    )
    setting = best(rates)
    prefetch = f" and prefetch {setting.prefetch}" if setting.workers else ""
    print(f"best: workers {setting.workers}{prefetch}, {rates[setting].in_training:,.1f} samples/s in training")
    print(f"limit: {limit(network, rates[setting], costs)}")


def numbers_of_workers() -> list[int]:
    """0 and the powers of 2 up to the number of cores."""
    cores = cores_here()
    return [0, *(2**power for power in range(cores.bit_length()))]


def network_rate(parts: Parts, accumulation: int, seconds: float) -> float:
    """Samples per second that the training takes of a batch that is there already."""
    batches = with_setting(parts.batches, Setting(0, PREFETCHES[0]))
    (batch,) = batches.after(0, 1)
    train = training(parts, accumulation)
    train(batch)
    start, count = time.perf_counter(), 0
    while time.perf_counter() < start + seconds:
        train(batch)
        count += len(batch.degraded)
    return count / (time.perf_counter() - start)


def training(parts: Parts, accumulation: int) -> Callable[[Batch], None]:
    """Makes an update of a batch, and waits for it."""

    def train(batch: Batch) -> None:
        parts.trainer.step(batch.parts(accumulation))
        wait_for_device(parts.trainer.device)

    return train


def all_rates(
    parts: Parts, accumulation: int, settings: Sequence[Setting], seconds: float, repeats: int
) -> dict[Setting, Rates]:
    """The rates of each setting. Each has a turn in every round, so that a busy machine slows all."""
    device, train = parts.trainer.device, training(parts, accumulation)
    rounds = [
        [
            Rates(*(rate(with_setting(parts.batches, setting), use, seconds) for use in (waiting(device), train)))
            for setting in settings
        ]
        for _ in range(repeats)
    ]
    of_each = zip(settings, zip(*rounds, strict=True), strict=True)
    return {setting: Rates(*map(statistics.median, zip(*turns, strict=True))) for setting, turns in of_each}


def waiting(device: torch.device) -> Callable[[Batch], None]:
    """Waits until a batch is there."""
    return lambda batch: wait_for_device(device)


def with_setting(batches: Batches, setting: Setting) -> Batches:
    """The batches of the first stage, made so."""
    first = copy.copy(batches.of_stage(0))
    first.workers, first.prefetch = setting
    return first


def rate(batches: Batches, use: Callable[[Batch], None], seconds: float) -> float:
    """Samples per second, counted behind those that were made ahead while the workers began."""
    made = batches.after(0, NEVER)
    for _ in range((batches.workers or 0) * batches.prefetch + 1):
        use(next(made))
    start, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() < start + seconds:
        batch = next(made)
        use(batch)
        count += len(batch.degraded)
    taken = time.perf_counter() - start
    made.close()  # type: ignore[attr-defined]  # a generator, whose end stops the workers
    return count / taken


def costs_of_a_sample(samples: Samples, options: TrainingOptions) -> Costs:
    """Medians over some samples, one after another in this process. Not all systems can empty a file from memory."""
    disk, chain = [], []
    for index in range(min(POSITIONS, len(samples))):
        make = partial(_made, samples, index)
        make()
        chain.append(_seconds(make))
        for stored in samples.photographs[index].stored:
            if hasattr(os, "posix_fadvise"):
                with stored.array.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        disk.append(_seconds(make) - chain[-1])
    return Costs(max(statistics.median(disk), 0), statistics.median(chain), _decoding(options))


def _made(samples: Samples, index: int) -> None:
    collate([samples[0, index]])


def _decoding(options: TrainingOptions) -> float:
    source = options.training_path[0]
    photographs = source.find().photographs
    step = max(len(photographs) // DECODED, 1)
    return statistics.median(_seconds(partial(source.read, file)) for (file, *_) in photographs[::step])


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def best(rates: dict[Setting, Rates]) -> Setting:
    """The setting with the fewest workers, and then the least made ahead, that trains as fast as any."""
    most = max(rate.in_training for rate in rates.values())
    return min(setting for setting, rate in rates.items() if rate.in_training >= ALIKE * most)


def limit(network: float, rates: Rates, costs: Costs) -> str:
    """What the training waits for with the best setting, and what would help."""
    if rates.in_training >= ALIKE * network:
        return "the network, which gets its samples in time"
    if rates.alone >= network:
        return "the cores, which the network and the workers share"
    if costs.disk > costs.chain:
        return (
            "the disk: a store that fits into memory is read from there, and a faster disk or smaller photographs help"
        )
    return "the chain: more cores, synthesis where the network is (CUDA), or a chain with fewer transforms help"
