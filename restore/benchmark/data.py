"""Times an option file's training chain on one core: alone, with decoding, and against a plain version."""

import contextlib
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Generator

import transforms
from restore.benchmark.plain_synthesis import plain_sample
from restore.benchmark.timing import Contestant, interleaved
from restore.data.batches import collate, seeded_generator
from restore.data.sources import Folder
from restore.data.store import Photograph, open_photographs
from restore.files.images import read_image, write_image
from restore.training.option_file import read_option_file
from transforms import Pipeline
from transforms.images import Image


def benchmark_data(arguments: Namespace) -> None:
    """Prints the time of a sample [ms] and samples per second: of each contestant, and of each transform."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    pipeline = transforms.build(read_option_file(arguments.opt).transforms_train, "transforms_train")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        png, jpeg = make_photograph()
        stored = open_photographs([Folder(path="photograph")], pipeline, "benchmark").usable[0]
        photograph, tail = read_image(png), pipeline.tail
        height, width, _ = photograph.shape
        print(f"one thread; torch {torch.__version__}, OpenCV {cv2.__version__}, numpy {np.__version__}")
        print(f"{arguments.opt}, transforms_train, on a photograph of {width} x {height} pixels")
        print(f"medians of {arguments.repeats} interleaved rounds of {arguments.crops} crops\n")
        ways: dict[str, Callable[[Generator], object]] = {
            "scunet_raw.json written plainly": lambda rng: plain_sample(photograph, rng),
            "the chain, without decoding": lambda rng: pipeline(photograph, rng),
            "from the store, as in training": lambda rng: tail(stored.image(), rng),
            "decoding the JPEG for each crop": lambda rng: pipeline(read_image(jpeg), rng),
            "decoding the PNG for each crop": lambda rng: pipeline(read_image(png), rng),
        }
        contestants = [Contestant(name, making(make, arguments.crops)) for name, make in ways.items()]
        if not pipeline.one_at_a_time("transforms_train"):
            contestants += in_batches(stored, tail, arguments.crops)
        rounds = interleaved(contestants, arguments.repeats, torch.device("cpu"))
        seconds = [time_taken / arguments.crops for time_taken in rounds]
        print(f"{'':34}{'ms':>8}{'crops/s':>10}{'speed':>9}")
        for contestant, time_taken in zip(contestants, seconds, strict=True):
            speed = seconds[0] / time_taken
            print(f"{contestant.name:34}{time_taken * 1000:8.3f}{1 / time_taken:10,.0f}{speed:8.2f}x")
        print(f"\n{'the chain by transform':34}{'ms':>8}")
        for transform, time_taken in zip(
            pipeline.transforms, stages(pipeline, photograph, arguments.repeats * arguments.crops), strict=True
        ):
            print(f"  {transform.class_name:32}{time_taken * 1000:8.3f}")
        print("Downsample is computed in the crop, for the pixels of the crop only.")


def make_photograph() -> tuple[Path, Path]:
    """Writes a photograph of 2 MP with detail everywhere as a PNG and a JPEG file, and returns their paths."""
    from skimage import data

    photograph = np.tile(data.coffee(), (3, 3, 1))
    png, jpeg = Path("photograph/tiled.png"), Path("tiled.jpg")
    png.parent.mkdir()
    write_image(png, photograph)
    _, content = cv2.imencode(".jpg", cv2.cvtColor(photograph, cv2.COLOR_RGB2BGR))
    jpeg.write_bytes(content.tobytes())
    return png, jpeg


def making(make: Callable[[Generator], object], crops: int) -> Callable[[int], None]:
    """The work of a round: it makes `crops` samples, each with a generator of its own."""

    def work(round_number: int) -> None:
        for crop in range(crops):
            make(seeded_generator(round_number, crop))

    return work


def in_batches(stored: Photograph, tail: Pipeline, crops: int) -> list[Contestant]:
    """A batch as the workers make it; what is left to them where a device synthesises it; and that synthesised here."""

    def made(round_number: int, make: Callable[[Image, Generator], Any]) -> Any:
        return collate([(make(stored.image(), seeded_generator(round_number, crop)), "") for crop in range(crops)])

    return [
        Contestant(f"batches of {crops} from the store", lambda number: made(number, tail)),
        Contestant("  clean crops alone, for a device", lambda number: made(number, tail.clean_crop)),
        Contestant(
            "  and their synthesis, on the CPU", lambda number: tail.synthesised(made(number, tail.clean_crop).crops)
        ),
    ]


def stages(pipeline: Pipeline, photograph: np.ndarray, crops: int) -> list[float]:
    """The median time of each of the chain's transforms [s]."""
    times: list[list[float]] = [[] for _ in pipeline.transforms]
    for crop in range(crops):
        image, rng = photograph, seeded_generator(crop)
        for transform, its_times in zip(pipeline.transforms, times, strict=True):
            start = time.perf_counter()
            image = transform(image, rng)
            its_times.append(time.perf_counter() - start)
    return [statistics.median(its_times) for its_times in times]
