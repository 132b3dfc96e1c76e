"""python -m restore.camera: prints the metadata of raw files."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING

from options.errors import UserError
from restore.command.arguments import run_command

if TYPE_CHECKING:
    from restore.camera.raw_file import RawFile


def read_arguments(words: list[str] | None = None) -> Namespace:
    """The arguments of restore.camera; ends the program at --help or a mistake, as argparse does."""
    parser = ArgumentParser(
        "python -m restore.camera", description="Prints what raw files say about the cameras that took them."
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="DNG, CR2, NEF, ARW, ... with a Bayer mosaic")
    return parser.parse_args(words)


def main(arguments: Namespace) -> None:
    from restore.camera.raw_file import read_raw  # takes a while to import, and --help must not wait

    mistakes = []
    for path in arguments.files:
        try:
            print(report(path, read_raw(path)))
        except UserError as mistake:
            mistakes.append(str(mistake))
    if mistakes:
        raise UserError(*mistakes)


def report(path: str, raw: RawFile) -> str:
    """The metadata of a raw file, as lines. camera_matrix is XYZ to camera, as the option of that name has it."""
    import numpy as np

    from restore.files.paths import printable
    from transforms.sensor.cameras import RGB_TO_XYZ

    height, width = raw.data.shape
    camera, noise = raw.metadata.camera, raw.metadata.noise
    rgb_to_camera = camera.rgb_to_camera.double().numpy()
    known_colours = not np.array_equal(rgb_to_camera, np.eye(3))
    xyz_to_camera = (rgb_to_camera @ np.linalg.inv(RGB_TO_XYZ)).round(5).tolist()
    lines = {
        "size": f"{width} x {height}, {raw.pattern}",
        "black": f"{_row(raw.black, 6)} DN (R, G1, G2, B)",
        "white": f"{raw.white:g} DN",
        "white balance": f"{_row(camera.white_balance)} (R, G, B)",
        "camera_matrix": str(xyz_to_camera) if known_colours else "not known",
        "exposure time": "not known" if raw.exposure_time is None else f"{raw.exposure_time:.4g} s",
        "noise profile": "variance = shot * signal + read" if noise.known else "none in the file",
    }
    if noise.known:
        lines |= {"shot": f"{_row(noise.shot)} (R, G1, G2, B)", "read": f"{_row(noise.read)} (R, G1, G2, B)"}
    title = f"{printable(path)}: {raw.camera}, ISO {'not known' if raw.iso is None else f'{raw.iso:g}'}"
    return "\n".join([title, *(f"  {name:<14} {text}" for name, text in lines.items())])


def _row(values: Iterable[float], digits: int = 4) -> str:
    return ", ".join(f"{value:.{digits}g}" for value in values)


if __name__ == "__main__":
    sys.exit(run_command(main, read_arguments()))
