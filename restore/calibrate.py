"""python -m restore.calibrate: measures a camera's noise from its frames, or compares a profile with them."""

import sys

from restore.command.arguments import calibration_arguments, run_command

if __name__ == "__main__":
    ARGUMENTS = calibration_arguments()  # answers --help before the imports below, which take seconds

from argparse import Namespace
from pathlib import Path

import numpy as np
import torch

from options.errors import UserError
from restore.camera.calibration import CLIPPED, POOR, Calibration, Pairs, calibrate, measure_pair, stack, usable
from restore.camera.calibration_plot import Curve, photon_transfer_plot
from restore.camera.frames import MeasuredFrames, read_folders
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
    result = calibrate(frames.flats, frames.darks, frames.shape_samples, frames.white, frames.channels)
    profile = _profile(result, frames)
    plot = path.with_suffix(".png")
    make_folder(path.parent)
    write_atomically(path, f"{profile.model_dump_json(indent=2)}\n".encode())
    signal, expected = frames.flats.mean - result.black_level, result.variance(frames.flats.mean)
    curves = [
        Curve(channel, _legend(channel, result, n), signal[:, n], variance, expected[:, n], result.used[:, n])
        for n, (channel, variance) in enumerate(zip(frames.channels, frames.flats.variance.T, strict=True))
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
    black = frames.darks.mean.mean(0)
    signal = np.vstack([np.zeros_like(black), frames.flats.mean - black])
    measured = np.vstack([frames.darks.variance.mean(0), frames.flats.variance])
    synthetic = _synthesised(profile, signal).variance[:, : black.size]
    used = np.vstack([np.ones(black.size, bool), usable(frames.flats, frames.darks, profile.white_level)])
    curves = [
        Curve(channel, channel, signal[:, n], measured[:, n], synthetic[:, n], used[:, n])
        for n, channel in enumerate(frames.channels)
    ]
    content = photon_transfer_plot(f"{path.name} against frames", "synthetic frames", curves, synthetic[0])
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


def _read(arguments: Namespace, white: float | None) -> MeasuredFrames:
    """Measures the frames of the two folders. Messages name the command's flags."""
    try:
        return read_folders(arguments.flats, arguments.darks, white)
    except UserError as mistake:
        if str(mistake).startswith(("flats: ", "darks: ", "white: ")):
            raise UserError(f"--{mistake}") from None
        raise


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


def _profile(result: Calibration, frames: MeasuredFrames) -> CameraProfile:
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


def _summary(result: Calibration, frames: MeasuredFrames) -> list[str]:
    height, width = frames.shape
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
        f"{len(frames.flats.mean)} pairs of flats, {len(frames.darks.mean)} pairs of dark frames, "
        f"planes of {width} x {height}, white level {frames.white:g} DN",
        "channel  " + "  ".join(columns),
        *(
            f"{channel:7}  " + "  ".join(f"{values[n]:{len(name)}.4g}" for name, values in columns.items())
            for n, channel in enumerate(frames.channels)
        ),
        f"read noise: {'Gaussian' if shape is None else f'Tukey lambda of shape {shape:.2f}'}; "
        "dark noise = read noise, row noise and rounding; variance = shot * x + read, x from 0 black to 1 white",
        *(f"warning: {line}" for line in result.warnings),
        *_clipped_flats(frames),
    ]


def _clipped_flats(frames: MeasuredFrames) -> list[str]:
    """A line that names the first pairs of flats that clip in any channel."""
    clips = np.any((frames.flats.bright >= CLIPPED) | (frames.flats.dark >= CLIPPED), axis=1).tolist()
    names = [
        f"{printable(first)} and {printable(second.name)}"
        for (first, second), clipped in zip(frames.flat_files, clips, strict=True)
        if clipped
    ]
    more = f" and {len(names) - NAMED} pairs more" if len(names) > NAMED else ""
    return [f"flats that clip: {', '.join(names[:NAMED])}{more}"] if names else []


def _refuse_folders(arguments: Namespace, written: Path, argument: str) -> None:
    """Raises UserError where the folders overlap, or a file would be written into one of them."""
    flats, darks = Path(arguments.flats).resolve(), Path(arguments.darks).resolve()
    if flats.is_relative_to(darks) or darks.is_relative_to(flats):
        raise UserError(f"--flats, --darks: {arguments.flats} and {arguments.darks} overlap; give folders side by side")
    for name, folder in (("--flats", flats), ("--darks", darks)):
        if written.resolve().is_relative_to(folder):
            raise UserError(
                f"{argument}: {written} lies in the {name} folder, where a plot would count as a frame; name another"
            )


if __name__ == "__main__":
    sys.exit(run_command(main, ARGUMENTS))
