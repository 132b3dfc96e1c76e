"""python -m restore.calibrate: measures a camera's noise from its frames, or compares a profile with them."""

import sys

from restore.command.arguments import calibration_arguments, flags, run_command

if __name__ == "__main__":
    ARGUMENTS = calibration_arguments()  # answers --help before the imports below, which take seconds

from argparse import Namespace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from options.errors import UserError
from restore.camera.calibration.burst import Burst, read_burst
from restore.camera.calibration.burst_calibration import NOT_TOLD, calibrate_burst
from restore.camera.calibration.frames import MeasuredFrames, read_folders
from restore.camera.calibration.photon_transfer import (
    CLIPPED,
    POOR,
    Calibration,
    Pairs,
    calibrate,
    measure_pair,
    stack,
    usable,
)
from restore.camera.calibration.plot import Curve, photon_transfer_plot
from restore.files.atomic import make_folder, write_atomically
from restore.files.paths import printable
from transforms.noise import CameraProfile, add_noise, read_profile

NAMED = 5
"""Pairs of flats that are named where they clip."""
SYNTHETIC_SIDE = 512
"""Side of the synthesised planes [px]."""


def main(arguments: Namespace) -> None:
    if arguments.check:
        check_profile(Path(arguments.check), arguments)
    else:
        make_profile(Path(arguments.output), arguments)


def make_profile(path: Path, arguments: Namespace) -> None:
    """Measures the frames, prints the results, and writes the profile and its plot."""
    if path.suffix != ".json":
        raise UserError(f"--output: {path} does not end with .json; name it so")
    _refuse_folders(arguments, path, "--output")
    frames = _read(arguments, arguments.white)
    levels = frames.levels
    if isinstance(frames, Burst):
        result = calibrate_burst(frames)
    else:
        result = calibrate(levels, frames.darks, frames.shape_samples, frames.white, frames.channels)
    profile = _profile(result, frames)
    plot = path.with_suffix(".png")
    make_folder(path.parent)
    write_atomically(path, f"{profile.model_dump_json(indent=2)}\n".encode())
    signal, expected = levels.mean - result.black_level, result.variance(levels.mean)
    curves = [
        Curve(channel, _legend(channel, result, n), signal[:, n], variance, expected[:, n], result.used[:, n])
        for n, (channel, variance) in enumerate(zip(frames.channels, levels.variance.T, strict=True))
    ]
    title = f"Photon transfer of {frames.camera}" + (f" at ISO {frames.iso:g}" if frames.iso else "")
    write_atomically(plot, photon_transfer_plot(title, "fitted line", curves, result.dark_noise**2))
    print(*_summary(result, frames), sep="\n")
    print(f"plot: {plot}")
    print(f'profile: {path}, for "noise_model": {{"class_name": "profile", "camera": "{path}"}}')


def check_profile(path: Path, arguments: Namespace) -> None:
    """Prints and plots the variance of the frames, and that of frames synthesised from the profile."""
    if arguments.white is not None:
        raise UserError("--white: a profile that is checked has its own; leave it out")
    profile = read_profile(path)
    plot = path.with_name(f"{path.stem}_check.png")
    _refuse_folders(arguments, plot, "--check")
    frames = _read(arguments, profile.white_level)
    signal, measured, used = _measured(frames)
    synthetic = _synthesised(profile, np.vstack([np.zeros_like(signal[0]), signal])).variance[:, : len(frames.channels)]
    at_black, synthetic = synthetic[0], synthetic[1:]
    curves = [
        Curve(channel, channel, signal[:, n], measured[:, n], synthetic[:, n], used[:, n])
        for n, channel in enumerate(frames.channels)
    ]
    content = photon_transfer_plot(f"{path.name} against frames", "synthetic frames", curves, at_black)
    write_atomically(plot, content)
    print(f"{'channel':7}  {'signal [DN]':>11}  {'measured [DN^2]':>15}  {'synthetic [DN^2]':>16}  {'ratio':>6}")
    for curve in curves:
        rows = sorted(zip(curve.signal, curve.measured, curve.expected, curve.used, strict=True))
        for level, real, made, counts in rows:
            if counts:
                print(f"{curve.channel:7}  {level:11.1f}  {real:15.3f}  {made:16.3f}  {real / made:6.3f}")
    for curve in curves:
        off = int((np.abs(curve.measured / curve.expected - 1)[curve.used] > POOR).sum())
        if off:
            print(
                f"warning: {curve.channel}: {off} of {curve.used.sum()} variances are more than {POOR:.0%} off; "
                f"calibrate anew, at the ISO speed of the frames"
            )
    print(f"plot: {plot}")


def _read(arguments: Namespace, white: float | None) -> MeasuredFrames | Burst:
    """Measures the frames of the folders. Messages name the command's flags."""
    with flags(flats="--flats", darks="--darks", burst="--burst", white="--white"):
        if arguments.burst:
            return read_burst(arguments.burst, arguments.darks, white)
        if not arguments.darks:
            raise UserError("darks: not given; give the folder of frames without light that belong to the flats")
        return read_folders(arguments.flats, arguments.darks, white)


def _measured(frames: MeasuredFrames | Burst) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the dark frames, where there are some, and of the levels of light, each (n, C): signal above black [DN],
    variance [DN^2], and whether it counts."""
    levels, darks = frames.levels, frames.darks
    if isinstance(frames, Burst):
        black, used = frames.black, levels.dark < CLIPPED
    else:
        black, used = frames.darks.mean.mean(0), usable(levels, frames.darks, frames.white)
    signal, variance = levels.mean - black, levels.variance
    if darks is None:
        return signal, variance, used
    dark_variance = darks.variance.mean(0)
    return (
        np.vstack([np.zeros_like(black), signal]),
        np.vstack([dark_variance, variance]),
        np.vstack([np.ones(black.size, bool), used]),
    )


def _synthesised(profile: CameraProfile, signal: np.ndarray) -> Pairs:
    """Pairs of uniform frames with this signal (n, C) [DN above black], with the profile's noise."""
    rng = torch.Generator().manual_seed(0)
    black = np.array(profile.black_level, np.float32)
    scale = np.float32(profile.white_level) - black
    pairs = []
    for level in signal:
        clean = torch.from_numpy(np.broadcast_to(level, 4) / scale).float()[:, None, None]
        clean = clean.expand(4, SYNTHETIC_SIDE, SYNTHETIC_SIDE)
        first, second = (
            add_noise(clean, profile.noise(), rng).numpy() * scale[:, None, None] + black[:, None, None]
            for _ in range(2)
        )
        pairs.append(measure_pair(first, second, profile.white_level))
    return stack(pairs)


def _profile(result: Calibration, frames: MeasuredFrames | Burst) -> CameraProfile:
    """The profile of four planes; a grey camera's numbers are repeated for each."""
    planes = {
        name: tuple(np.broadcast_to(getattr(result, name), 4).tolist())
        for name in ("gain", "read_noise", "row_noise", "black_level")
    }
    return CameraProfile(
        **planes,
        white_level=frames.white,
        tukey_shape=result.tukey_shape,
        camera=frames.camera,
        iso=frames.iso,
    )


def _legend(channel: str, result: Calibration, n: int) -> str:
    gain, read_noise = result.gain[n], result.read_noise[n]
    return f"{channel}: gain {gain:.4g} DN/e⁻, read noise {read_noise:.3g} DN = {read_noise / gain:.3g} e⁻"


def _summary(result: Calibration, frames: MeasuredFrames | Burst) -> list[str]:
    scale = frames.white - result.black_level
    columns = {
        "gain [DN/e-]": result.gain,
        "black [DN]": result.black_level,
        "dark noise [DN]": result.dark_noise,
        "read noise [DN]": result.read_noise,
        "row noise [DN]": result.row_noise,
        "read noise [e-]": result.read_noise / result.gain,
        "shot [1]": result.gain / scale,
        "read [1]": (result.dark_noise / scale) ** 2,
    }
    shape = result.tukey_shape
    return [
        *_about(frames),
        "channel  " + "  ".join(columns),
        *(
            f"{channel:7}  " + "  ".join(f"{values[n]:{len(name)}.4g}" for name, values in columns.items())
            for n, channel in enumerate(frames.channels)
        ),
        f"read noise: {'Gaussian' if shape is None else f'Tukey lambda of shape {shape:.2f}'}; "
        "dark noise = read noise, row noise and rounding; variance = shot * x + read, x from 0 black to 1 white",
        *(f"warning: {line}" for line in result.warnings),
        *([] if isinstance(frames, Burst) else _clipped_flats(frames)),
    ]


def _about(frames: MeasuredFrames | Burst) -> list[str]:
    """Lines that say what was measured."""
    height, width = frames.shape
    planes = f"planes of {width} x {height}, white level {frames.white:g} DN"
    darks = "no dark frames" if frames.darks is None else f"{len(frames.darks.mean)} pairs of dark frames"
    if not isinstance(frames, Burst):
        return [f"{len(frames.levels.mean)} pairs of flats, {darks}, {planes}"]
    left_out = ", ".join(f"{name} {share:.1%}" for name, share in zip(frames.channels, frames.left_out, strict=True))
    return [
        f"{frames.frames} frames of one scene, {darks}, {planes}",
        f"left out because of motion: {left_out}; flicker of the light, scaled out: {frames.flicker:.2%} rms",
        *([NOT_TOLD] if frames.darks is None else []),
    ]


def _clipped_flats(frames: MeasuredFrames) -> list[str]:
    """A line that names the first pairs of flats that clip in any channel."""
    clips = np.any((frames.levels.bright >= CLIPPED) | (frames.levels.dark >= CLIPPED), axis=1).tolist()
    names = [
        f"{printable(first)} and {printable(second.name)}"
        for (first, second), clipped in zip(frames.flat_files, clips, strict=True)
        if clipped
    ]
    more = f" and {len(names) - NAMED} pairs more" if len(names) > NAMED else ""
    return [f"flats that clip: {', '.join(names[:NAMED])}{more}"] if names else []


def _refuse_folders(arguments: Namespace, written: Path, argument: str) -> None:
    """Raises UserError where the folders overlap, or a file would be written into one of them."""
    given = {f"--{name}": getattr(arguments, name) for name in ("flats", "burst", "darks")}
    folders = {flag: Path(folder).resolve() for flag, folder in given.items() if folder}
    for (flag, one), (other_flag, other) in combinations(folders.items(), 2):
        if one.is_relative_to(other) or other.is_relative_to(one):
            raise UserError(
                f"{flag}, {other_flag}: {given[flag]} and {given[other_flag]} overlap; give folders side by side"
            )
    for flag, folder in folders.items():
        if written.resolve().is_relative_to(folder):
            raise UserError(
                f"{argument}: {written} lies in the {flag} folder, where a plot would count as a frame; name another"
            )


if __name__ == "__main__":
    sys.exit(run_command(main, ARGUMENTS))
