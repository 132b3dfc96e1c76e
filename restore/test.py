"""python -m restore.test: restores a folder of pictures with a trained model, and measures it."""

import sys

from restore.command.arguments import flags, run_command, testing_arguments

if __name__ == "__main__":
    ARGUMENTS = testing_arguments()  # answers --help before the imports below, which take seconds

from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from options.base import parse
from options.errors import UserError
from restore.compute.device import describe_device
from restore.data.batches import seeded_generator
from restore.evaluation.metrics import measure
from restore.evaluation.strips import strip
from restore.files.atomic import make_folder
from restore.files.images import BadImage, find_images, read_image, to_tensor, to_uint, write_image
from restore.inference.restorer import Restorer
from restore.inference.results import Results
from transforms import SRGB, Pipeline, Sample
from transforms.pipeline import check_order
from transforms.rgb_to_raw import RgbToRawTransform

STRIPS = "strips"
LARGEST = 1024  # pixels of a picture's side in a strip
SEED = 0  # of the noise: a photograph is degraded alike whenever and beside whatever it is measured

SampleOf = Callable[[Path, np.ndarray], Sample]
"""(path inside the input folder, its picture) -> what goes into the model, and the clean image where it is known."""


def main(arguments: Namespace) -> None:
    with flags(device="--device"):
        restorer = Restorer(arguments.model, arguments.device)
    print(describe_device(restorer.device))
    print(f"model: {restorer.path}, {restorer.weights_report}")
    source, output = Path(arguments.input), Path(arguments.output)
    _refuse_to_write_into(output, {"--input": arguments.input, "--target": arguments.target})
    files = [file.relative_to(source) for file in find_images(source)]
    names = _output_names(files)
    raw = restorer.layout.raw
    if raw and arguments.target:
        raise UserError("--target: a raw model measures against the photographs that it degrades itself; leave it out")
    if arguments.iso is not None and not raw:
        raise UserError("--iso: a 3-channel model restores pictures as they are, without adding noise; leave it out")
    sample_of = _degraded_photographs(restorer, arguments.iso) if raw else _pictures(arguments.target)

    results = Results(str(restorer.path), arguments.iso)
    for file in tqdm(files, unit="picture", disable=not sys.stderr.isatty()):
        try:
            picture = read_image(source / file)
            sample = sample_of(file, picture)
            noisy = _measured(sample.degraded, sample)
        except BadImage as mistake:  # names its file
            results.left_out.append(str(mistake))
            continue
        except UserError as mistake:
            results.left_out.append(f"{source / file}: {mistake}")
            continue
        noise = sample.metadata and sample.metadata.noise
        restored = restorer(sample.degraded, noise, arguments.tile, arguments.overlap)
        _write_pictures(output, names[file], picture.dtype, sample, restored)
        results.add(str(file), noisy, _measured(restored, sample))
    if not results.pictures:
        raise UserError(f"--input: none of the {len(files)} pictures can be used:", *results.left_out)
    results.write(output)
    print(*results.lines(), sep="\n")
    if results.left_out:
        print(f"left out {len(results.left_out)}:", *results.left_out, sep="\n  ")
    print(f"pictures, strips, results.json and results.csv: {output}")


def _degraded_photographs(restorer: Restorer, iso: int | None) -> SampleOf:
    """Whole photographs degraded by the chain that the model was validated with; conditioning is the restorer's."""
    steps = restorer.chain.transforms
    if iso is not None:
        steps = tuple(_at_iso(step, iso) if isinstance(step, RgbToRawTransform) else step for step in steps)
    check_order(list(steps), f"{restorer.path.with_suffix('.json')}: transforms_test")
    chain = Pipeline(steps).for_whole_images()
    return lambda file, picture: chain(picture, seeded_generator(SEED, file.as_posix()))


def _at_iso(step: RgbToRawTransform, iso: int) -> RgbToRawTransform:
    if not step.noise_model.heeds_iso:
        raise UserError(
            f"--iso: {iso} given; the model's noise ({step.noise_model.class_name}) is the same at any speed"
        )
    return parse(RgbToRawTransform, {**step.model_dump(mode="json"), "iso": iso}, "--iso")


def _pictures(target: str | None) -> SampleOf:
    """Pictures as they are, with the clean ones of the same names (whatever their suffix) where there is a folder."""
    clean_files = {}
    if target:
        clean_files = {file.relative_to(target).with_suffix(""): file for file in find_images(target)}

    def sample_of(file: Path, picture: np.ndarray) -> Sample:
        degraded = to_tensor(picture)
        if not target:
            return Sample(degraded, None, None, SRGB)
        clean_file = clean_files.get(file.with_suffix(""))
        if clean_file is None:
            raise UserError(f"{target} has no picture of this name; add it, or leave out --target")
        clean = to_tensor(read_image(clean_file))
        if clean.shape != degraded.shape:
            raise UserError(
                f"{_size(degraded)} pixels, but {clean_file} has {_size(clean)}; "
                f"a picture and its target must have one size"
            )
        return Sample(degraded, clean, None, SRGB)

    return sample_of


def _measured(image: Tensor, sample: Sample) -> dict[str, float]:
    if sample.clean is None:
        return {}
    return {name: float(value) for name, value in measure(image, sample.clean, sample.metadata, sample.layout).items()}


def _write_pictures(output: Path, name: Path, depth: np.dtype, sample: Sample, restored: Tensor) -> None:
    """The restored picture in the depth of the one that came in, and in strips/ degraded | restored | clean."""
    for path in (output / name, output / STRIPS / name):
        make_folder(path.parent)
    images = [image for image in (sample.degraded, restored, sample.clean) if image is not None]
    shown = [sample.layout.render(image, sample.metadata) for image in images]
    write_image(output / name, to_uint(shown[1], depth))
    write_image(output / STRIPS / name, to_uint(strip(shown, LARGEST), np.uint8))


def _output_names(files: list[Path]) -> dict[Path, Path]:
    """The restored pictures' names: .png for the suffix, or behind it where two pictures differ in that alone."""
    stems = Counter(file.with_suffix("") for file in files)
    return {
        file: file.with_suffix(".png") if stems[file.with_suffix("")] == 1 else file.with_name(f"{file.name}.png")
        for file in files
    }


def _refuse_to_write_into(output: Path, folders: dict[str, str | None]) -> None:
    for argument, folder in folders.items():
        if folder and output.resolve().is_relative_to(Path(folder).resolve()):
            raise UserError(
                f"--output: {output} lies in the {argument} folder, whose pictures it could replace; name another"
            )


def _size(image: Tensor) -> str:
    return f"{image.shape[-1]} x {image.shape[-2]}"


if __name__ == "__main__":
    sys.exit(run_command(main, ARGUMENTS))
