"""The option file: one JSON file says everything about a run.

`python -m restore.training.option_file > options/schema.json` writes the schema by which an editor checks the file.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationInfo, field_validator

import losses
import transforms
from losses import LossOptions
from options.base import Options, parse
from options.errors import UserError
from options.overrides import apply_overrides
from restore.data.sources import PairedFolders, PathOptions
from restore.data.sources.base import PathText
from restore.evaluation.metrics import SSIM_WINDOW
from restore.networks import GeneratorOptions
from restore.networks.discriminators import DiscriminatorOptions
from restore.training.optimizers import OptimizerOptions
from restore.training.schedules import SCHEDULES, ReduceLROnPlateau
from transforms import Pipeline, TransformOptions
from transforms.base import Crop
from transforms.conditioning import Conditioning
from transforms.downsample import Downsample


class TrainingOptions(Options):
    """Everything that a training run is made of."""

    editor_schema: str | None = Field(default=None, alias="$schema", exclude=True)
    """Where an editor finds the schema of this file."""
    name: Annotated[str, Field(pattern=r"^[^/\\\s][^/\\]*$")]
    """What the run is about, in a word, without slashes; it goes into the model's information file."""
    seed: NonNegativeInt = 0
    """Start of all randomness: the same seed, files and options give the same model on the same machine."""
    generator: GeneratorOptions
    """The network that restores."""
    discriminator: DiscriminatorOptions | None = None
    """The network that judges, wanted by an adversarial loss."""
    pretrained_model: PathText | None = None
    """Weights to begin with: a .pth of ours or as its authors publish it."""
    losses: Annotated[dict[str, LossOptions], Field(min_length=1)]
    """What is minimised: terms under names of your choice, each with its weight. A weight of 0 leaves a term out."""
    training_path: Annotated[list[PathOptions], Field(min_length=1)]
    """What to train on: folders of photographs and raw files, searched with their subfolders; pairs of folders,
    {"degraded": ..., "clean": ...}; data sets as their authors ship them, {"class_name": "SIDD", "path": ...}."""
    testing_path: Annotated[list[PathOptions], Field(min_length=1)]
    """What to validate on, likewise."""
    transforms_train: Annotated[list[TransformOptions], Field(min_length=1)]
    """From a clean photograph to a degraded and a clean tensor, in this order."""
    transforms_test: Annotated[list[TransformOptions], Field(min_length=1)]
    """The same for validation; restore.test uses it, without its crops, on whole photographs."""
    batch_size: PositiveInt
    """Crops to one update."""
    accumulation: PositiveInt = 1
    """In how many parts an update's batch is computed: less memory, the same update. It must divide batch_size."""
    total_epochs: PositiveInt
    """The run ends after so many passes over the training photographs, each pass one crop of every photograph."""
    total_iterations: PositiveInt | None = None
    """The run ends after so many updates, if total_epochs would not end it before."""
    validate_every: PositiveInt | None = None
    """Updates between two savepoints (validate, save); null: once an epoch."""
    optimizer: OptimizerOptions
    """The rule of the updates; generator and discriminator have one of their own each."""
    scheduler: SCHEDULES = ReduceLROnPlateau()
    """How the learning rate falls: with the validation loss of the savepoints, or along a cosine."""
    grad_clip: PositiveFloat | None = 0.4
    """Longest gradient of a network, as the norm over all its parameters; null: no limit."""
    amp: Literal["auto", "off", "fp16", "bf16"] = "auto"
    """Half precision. auto: on where the device gains by it and the losses are pixel terms only."""
    compile: bool = False
    """torch.compile of the generator: slower to start, faster after."""
    workers: NonNegativeInt | None = None
    """Processes that make the samples; null: by the machine's cores; 0: the training process itself."""

    @field_validator("accumulation")
    @classmethod
    def _divides_batch_size(cls, parts: int, info: ValidationInfo) -> int:
        batch_size = info.data.get("batch_size", parts)  # absent where it is a mistake itself
        if batch_size % parts:
            raise ValueError(f"{parts} given, which does not divide batch_size, {batch_size}; give a divisor of it")
        return parts


def read_option_file(path: str | Path, overrides: list[str] | None = None) -> TrainingOptions:
    """The option file with overrides ("a.b=value") applied. UserError with a line for each mistake."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_refuse_repeated_keys)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); give the path of an option file, as in options/"
        ) from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8; give the path of an option file, as in options/") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    options = parse(TrainingOptions, apply_overrides(data, overrides or []), str(path))
    if mistakes := _contradictions(options):
        raise UserError(*(f"{path}: {mistake}" for mistake in mistakes))
    return options


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the option file, made from the sections' own fields and documentation."""
    schema = TrainingOptions.model_json_schema(by_alias=True)
    for section in schema["$defs"].values():
        # What tells the choices of a union apart must be written; PairedFolders are told by their other keys.
        if "class_name" in section.get("properties", {}) and section["title"] != PairedFolders.__name__:
            section["required"] = sorted({*section.get("required", []), "class_name"})
    return schema


def _contradictions(options: TrainingOptions) -> list[str]:
    """Mistakes that no section can see by itself."""
    found = []
    channels = options.generator.n_channels
    for place, path in (("transforms_train", "training_path"), ("transforms_test", "testing_path")):
        entries = getattr(options, path)
        try:
            chain = transforms.build(getattr(options, place), place)
        except UserError as error:
            found += str(error).splitlines()
            continue
        made, shown = chain.out_channels, chain.in_channels
        if made == channels == 3 and any(isinstance(entry, str) for entry in entries):
            found.append(
                f"{place}: nothing degrades the image, so there is nothing to learn; add an RgbToRawTransform, "
                f"or train on pairs"
            )
        elif made != channels:
            remedy = "add an RgbToRawTransform" if channels == 4 else "set generator.n_channels to 4"
            found.append(f"{place}: gives {made} channels, but generator.n_channels is {channels}; {remedy}")
        elif shown != (options.generator.in_channels or channels):
            remedy = f"set it to {shown}" if shown != channels else "leave it out"
            given = json.dumps(options.generator.in_channels)
            found.append(f"generator.in_channels: {given} given, but {place} shows {shown} channels; {remedy}")
        found += _unfit_data_sets(options, path, place, chain)
    found += _unlike_conditioning(options)
    found += _unfit_sizes(options)
    found += losses.contradictions(options.losses, options.discriminator)
    return found


def _unlike_conditioning(options: TrainingOptions) -> list[str]:
    """What the network is shown in training and in validation, and so in use, must be of one kind."""
    train, test = (
        [step.class_name for step in chain if isinstance(step, Conditioning)]
        for chain in (options.transforms_train, options.transforms_test)
    )
    if train == test:
        return []
    shown, other = ("train", "test") if train else ("test", "train")
    return [f"transforms_{other}: without the {(train or test)[0]} that transforms_{shown} has; give both the same"]


def _unfit_data_sets(options: TrainingOptions, path: str, place: str, chain: Pipeline) -> list[str]:
    """Data sets that the chain cannot take, named before one of their files, which are large, is decoded."""
    found = []
    downsampled = any(isinstance(step, Downsample) for step in chain.options)
    for number, entry in enumerate(getattr(options, path)):
        if isinstance(entry, str):
            continue
        name = f"{path}.{number}: {entry.class_name}"
        if entry.raw and options.generator.n_channels == 3:
            found.append(f"{name} holds raw images, but generator.n_channels is 3; set it to 4")
        if entry.paired and downsampled:
            found.append(f"{name} holds pairs, and Downsample would average their noise away; remove it from {place}")
        if entry.paired and entry.raw and chain.conditioning:
            knowing = chain.conditioning[0].class_name
            found.append(f"{name} does not tell its noise, and {knowing} has to know it; remove it from {place}")
    return found


def _unfit_sizes(options: TrainingOptions) -> list[str]:
    """Crops that are missing where samples must have one size, or too small to be measured."""
    found = []
    if options.batch_size > 1 and not any(isinstance(step, Crop) for step in options.transforms_train):
        found.append("transforms_train: photographs of several sizes make no batch; add a RandomCrop or CenterCrop")
    smallest = SSIM_WINDOW * (2 if options.generator.n_channels == 4 else 1)  # packed raw has half the sides
    for number, step in enumerate(options.transforms_test):
        if isinstance(step, Crop) and min(step.h, step.w) < smallest:
            found.append(
                f"transforms_test.{number}: {step.h} x {step.w} given, too small to measure SSIM on; "
                f"give at least {smallest} x {smallest}"
            )
    return found


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON's usual reading keeps the last of two like keys without a word: a loss would silently replace another."""
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise UserError(f'the key "{key}" stands twice in one section; keep one')
        seen[key] = value
    return seen


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
