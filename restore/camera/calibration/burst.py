"""A burst of frames of a static scene: the variance of its pixels over time, by their brightness.

Each pixel tells one point of the photon transfer line: its mean and its variance over the frames. Blocks of pixels are
taken for points, since the means of points of a line lie on that line, whatever texture a block has. What moves only
adds variance, so that at each brightness the quiet blocks show where the line is.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from options.errors import UserError
from restore.camera.calibration.burst_blocks import BLOCK, Blocks, static_levels
from restore.camera.calibration.frames import (
    Frame,
    check_camera,
    check_white,
    dark_samples,
    find_frames,
    find_pairs,
    measure_darks,
    read_frame,
)
from restore.camera.calibration.photon_transfer import HIGHEST, Pairs
from restore.camera.raw_file import RAW_SUFFIXES
from restore.files.images import BadImage
from restore.files.paths import printable

FEWEST_FRAMES = 4
DRIFT = 0.05
"""Largest change of the light between frames, relative to the signal."""


class Burst(NamedTuple):
    """What was measured on a burst of frames."""

    channels: list[str]
    """Names of the C planes."""
    shape: tuple[int, int]
    """(h, w) of a plane [px]."""
    white: float
    """White level [DN]."""
    black: np.ndarray
    """(C,) black level [DN]: of the dark frames where there are some, else the files' own."""
    camera: str
    """Make and model."""
    iso: float | None
    frames: int
    levels: Pairs
    """Of n levels of brightness in each of the C planes: mean, variance over time, share of values at 0."""
    left_out: np.ndarray
    """(C,) share of the blocks that were left out because of motion."""
    flicker: float
    """Change of the light from frame to frame that was scaled out, rms relative to the signal."""
    darks: Pairs | None
    shape_samples: np.ndarray | None
    """(n,) of calibration.shape_samples, where there are dark frames."""


def read_burst(folder: str | Path, darks: str | Path | None, white: float | None) -> Burst:
    """Reads and measures the raw files of a burst: one static scene, at one ISO speed and exposure.

    darks  a folder with pairs of dark frames; None: there are none
    white  white level [DN]; None: the files' own
    Raises UserError, which names the file, where frames do not fit together.
    """
    check_white(white)
    files = find_frames(folder, "burst", RAW_SUFFIXES)
    if len(files) < FEWEST_FRAMES:
        raise UserError(
            f"burst: {printable(folder)} holds {len(files)} raw files; give {FEWEST_FRAMES} or more of one static "
            f"scene, 8 or more if you can"
        )
    first = read_frame(files[0])
    assert first.white is not None, "a raw file says it"
    assert first.black is not None
    white, black, dark_pairs, samples = white or first.white, first.black, None, None
    if darks is not None:
        pairs = find_pairs(darks, "darks")
        dark = read_frame(pairs[0][0])
        check_camera(pairs[0][0], dark, first, "the first frame of the burst")
        dark_pairs, samples = measure_darks(pairs, dark, white), dark_samples(pairs, dark)
        black = dark_pairs.mean.mean(0)
    if white <= black.max():
        raise UserError(f"white: {white:g} given, not above the black level {black.max():g}; give the level in DN")
    blocks, flicker = _measured(files, first, white, black)
    levels, left_out = static_levels(blocks, white, black, len(files))
    return Burst(
        ["R", "G1", "G2", "B"],
        first.planes.shape[1:],
        white,
        black,
        first.camera,
        first.iso,
        len(files),
        levels,
        left_out,
        flicker,
        dark_pairs,
        samples,
    )


def _measured(files: Sequence[Path], first: Frame, white: float, black: np.ndarray) -> tuple[Blocks, float]:
    """The blocks of all frames, scaled to the light of the first one; and the flicker that was scaled out."""
    sums, pooled_sums = _Sums(first.planes), _Sums(_pooled(first.planes))  # of differences from the first frame
    saturates, at_zero = first.planes >= white, (first.planes <= 0).astype(np.float32)
    offset = black[:, None, None].astype(np.float32)
    light = [np.ones(len(black))]
    for file in tqdm(files[1:], "burst", unit="frame", disable=not sys.stderr.isatty()):
        frame = _frame_like(file, first)
        light.append(_light(frame.planes, first.planes, white, black))
        if (change := float(np.abs(light[-1] - 1).max())) > DRIFT:
            raise BadImage(
                file,
                f"is {change:.0%} brighter or darker than {printable(files[0].name)} in one of its colours",
                "give frames of one static scene, in steady light, at one exposure",
            )
        difference = (frame.planes - offset) / light[-1][:, None, None].astype(np.float32) + offset - first.planes
        sums.add(difference)
        pooled_sums.add(_pooled(difference))
        saturates |= frame.planes >= white
        at_zero += frame.planes <= 0
    count = len(files)
    blocks = Blocks(
        mean=_block_means(first.planes + sums.total / count),
        variance=_block_means(sums.variance(count)),
        pooled_variance=_block_means(pooled_sums.variance(count), BLOCK // 2),
        at_zero=_block_means(at_zero / count),
        saturates=_block_means(saturates) > 0,
    )
    return blocks, float(np.std(light, axis=0).max())


def _frame_like(file: Path, first: Frame) -> Frame:
    frame = read_frame(file)
    check_camera(file, frame, first, "the first frame of the burst")
    if frame.exposure_time != first.exposure_time:
        times = [
            "an unknown time" if one is None else f"{one:.4g} s" for one in (frame.exposure_time, first.exposure_time)
        ]
        raise BadImage(
            file,
            f"was exposed for {times[0]}, and the first frame of the burst for {times[1]}",
            "give frames of one exposure",
        )
    return frame


def _light(planes: np.ndarray, first: np.ndarray, white: float, black: np.ndarray) -> np.ndarray:
    """(C,): how many times as bright the light of a frame (C, h, w) is as that of the first one, without what moved.

    The median over blocks, by their brightness: what moved is in few of them.
    """
    ratios = []
    for one, other, level in zip(_block_means(planes), _block_means(first), black, strict=True):
        usable = (other > level) & (other < HIGHEST * white)
        signal, reference = one[usable] - level, other[usable] - level
        order = np.argsort(signal / reference)
        weight = np.cumsum((signal + reference).clip(min=0)[order])
        middle = np.searchsorted(weight, weight[-1] / 2) if weight.size and weight[-1] > 0 else None
        ratios.append(1.0 if middle is None else float((signal / reference)[order][middle]))
    return np.array(ratios)


class _Sums:
    """Sums over frames, of differences from the first one, which has none."""

    def __init__(self, first: np.ndarray):
        self.total, self.squares = np.zeros_like(first), np.zeros_like(first)

    def add(self, difference: np.ndarray) -> None:
        self.total += difference
        self.squares += difference**2

    def variance(self, count: int) -> np.ndarray:
        return (self.squares - self.total**2 / count) / (count - 1)


def _block_means(planes: np.ndarray, side: int = BLOCK) -> np.ndarray:
    """(C, h, w) -> (C, k) float64: the means of whole blocks."""
    rows, columns = (length // side for length in planes.shape[1:])
    whole = planes[:, : rows * side, : columns * side].reshape(-1, rows, side, columns, side)
    return whole.mean((2, 4), dtype=np.float64).reshape(len(planes), -1)


def _pooled(planes: np.ndarray) -> np.ndarray:
    """(C, h, w) -> (C, H / 2, W / 2): means of 2 x 2 pixels, of the H x W pixels that are whole blocks."""
    height, width = (length - length % BLOCK for length in planes.shape[1:])
    return planes[:, :height, :width].reshape(-1, height // 2, 2, width // 2, 2).mean((2, 4))
