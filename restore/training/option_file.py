"""The option file: one JSON file that describes a run completely."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationInfo, field_validator

from losses import LossOptions
from options.base import Options, PathText, parse_whole
from options.errors import UserError
from options.json_data import read_json
from options.mistakes import shortened
from options.overrides import apply_overrides
from restore.data.batches import PREFETCH
from restore.data.sources import PairedFolders, PathOptions
from restore.networks import DiscriminatorOptions, GeneratorOptions
from restore.tracking import TrackerSection
from restore.training.averaging import EMA
from restore.training.consistency import contradictions
from restore.training.optimizers import OptimizerOptions
from restore.training.savepoints import EarlyStopping, Keep
from restore.training.schedules import ReduceLROnPlateau, ScheduleSection
from restore.training.stages import StageOptions
from transforms import Pipeline, TransformOptions

NAME = r"^[^/\\\s\x00-\x1f\x7f-\x9f][^/\\\x00-\x1f\x7f-\x9f]*$"


def _check_name(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise ValueError(
            f"{shortened(name)} given; give a name without slashes and control characters that begins with no space"
        )
    return name


Name = Annotated[str, Field(max_length=60, json_schema_extra={"pattern": NAME}), AfterValidator(_check_name)]
Count = Annotated[PositiveInt, Field(le=10**12)]


class TrainingOptions(Options):
    """A training run."""

    editor_schema: str | None = Field(default=None, alias="$schema", exclude=True)
    """Where an editor finds the schema of this file."""
    name: Name
    """A short name for the run, without slashes and control characters; it is written to the information files."""
    seed: Annotated[NonNegativeInt, Field(le=2**63 - 1)] = 0
    """Seed of all random numbers: the same seed, files and options give the same model on the same machine."""
    generator: GeneratorOptions
    """The network that restores."""
    discriminator: DiscriminatorOptions | None = None
    """The network that tells clean from restored images; only an adversarial loss needs it."""
    pretrained_model: PathText | None = None
    """Initial weights of the generator: a .pth or .safetensors of this suite, or as the network's authors publish it.
    Use it to fine-tune, or where data is little. The network may differ in the planes that go in, as by a
    NoiseLevelMap, whose weights begin at 0, and in its last layer, as by another scale, which then is new; the start
    says what was taken."""
    freeze: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Parameters of the generator that stay as pretrained_model has them: patterns of their names, as "m_down*" or
    "m_body.*". Use it to fine-tune on few photographs, where a whole network would learn them by heart. Not where the
    new task is far from the old one: take a lower rate for these parts then, by learning_rate_factors."""
    learning_rate_factors: dict[Annotated[str, Field(min_length=1)], Annotated[PositiveFloat, Field(le=1000)]] = Field(
        default={}
    )
    """What the learning rate of a part of the generator is multiplied by, by patterns of parameter names, of which the
    first that matches counts: {"m_tail.*": 1, "*": 0.1} lets the last layer learn ten times as fast as the rest. Use it
    to fine-tune, with a new layer above all. Not in a training from random weights, which has no part to spare."""
    losses: Annotated[dict[str, LossOptions], Field(min_length=1)]
    """The loss terms that are minimised, under names of your choice, each with its weight. Weight 0: not used."""
    training_path: Annotated[list[PathOptions], Field(min_length=1)]
    """What to train on: folders of photographs and raw files, searched with their subfolders; pairs of folders,
    {"degraded": ..., "clean": ...}; data sets as their authors ship them, {"class_name": "SIDD", "path": ...}."""
    testing_path: Annotated[list[PathOptions], Field(min_length=1)]
    """What to validate on, likewise."""
    held_out_path: Annotated[list[PathOptions], Field(min_length=1)] | None = None
    """What to measure the best model on when the run has ended, likewise, by transforms_test. The learning rate and the
    choice of the best model follow the photographs of testing_path, so that its numbers flatter; those of photographs
    that nothing followed are the ones to publish. Leave it out where photographs are few, or where a test set is
    measured with restore.test. None of these photographs may be in training_path or testing_path."""
    transforms_train: Annotated[list[TransformOptions], Field(min_length=1)]
    """The steps, in this order, from a clean photograph to a degraded and a clean tensor."""
    transforms_test: Annotated[list[TransformOptions], Field(min_length=1)]
    """The same for validation; restore.test uses it on whole photographs, without crops, flips and rotations."""
    batch_size: Annotated[PositiveInt, Field(le=65536)]
    """Number of samples in one update."""
    crops_per_photograph: Annotated[PositiveInt, Field(le=65536)] = 1
    """Crops of every photograph in an epoch. Raise it where photographs are few or large, so that an epoch, after which
    the run validates, is long enough. With many small photographs leave it at 1."""
    accumulation: PositiveInt = 1
    """Number of parts in which a batch is computed, to save memory; the update is the same. Divides batch_size."""
    total_epochs: Count
    """The run ends after so many epochs. In an epoch every training photograph gives crops_per_photograph crops; crops
    left over from full batches wait for another epoch."""
    total_iterations: Count | None = None
    """The run ends after so many updates, or with total_epochs where that is earlier; null: with total_epochs."""
    validate_every: Count | None = None
    """Updates between two savepoints, at which the run validates and saves the model; null: one epoch."""
    stages: Annotated[list[StageOptions], Field(min_length=2)] | None = None
    """Progressive resizing: parts of the run, one after another, with a crop size and a batch size of their own. Small
    crops in large batches come first: they are quick and teach most of what large crops teach. Use it where updates are
    slow, as with SCUNet on crops of 256 pixels. A generator that sees little around a pixel, as a shallow UNet does,
    gains nothing by large crops. Optimisers and their momentum go on."""
    restart_schedule: bool = False
    """Whether the learning rate begins anew in each stage; else one schedule spans the run. Use it where a stage is
    long enough to be a training of its own, with a schedule that ends low, as Cosine does."""
    optimizer: OptimizerOptions
    """How the weights are updated. Generator and discriminator each have an optimiser of this kind."""
    scheduler: ScheduleSection = ReduceLROnPlateau()
    """How the learning rate changes: with the validation loss of the savepoints, or by the iteration."""
    ema: EMA | None = None
    """A moving average of the generator's weights is validated and saved as the model; null: the weights themselves."""
    early_stopping: EarlyStopping | None = None
    """The run ends when validation has not gained for some savepoints; null: it goes on to its last iteration."""
    keep: Keep = Keep()
    """Which models stay in the run's folder."""
    grad_clip: PositiveFloat | None = 0.4
    """Largest norm of a network's gradient over all parameters; a larger one is scaled down to it. null: no limit."""
    amp: Literal["auto", "off", "fp16", "bf16"] = "auto"
    """Half precision. auto: used if it is faster on the device and all losses are pixel losses."""
    compile: bool = False
    """Compile the generator with torch.compile: the start is slower, the updates are faster."""
    workers: Annotated[NonNegativeInt, Field(le=256)] | None = None
    """Number of processes that make samples; null: by the number of CPU cores; 0: only the training process."""
    prefetch: Annotated[PositiveInt, Field(le=64)] = PREFETCH
    """Batches that each of these processes makes ahead, to bridge samples that take longer than others; they cost
    memory."""
    synthesis: Literal["auto", "cpu", "device"] = "auto"
    """Where photographs become noisy raw images. device: where the network is, a batch at a time, while the workers
    only cut crops; for chains of an RgbToRawTransform without scale and psf_sigma and a conditioning, on photographs.
    cpu: in the workers, one image at a time. auto: device where there is CUDA and the chain and the photographs allow
    it. The two give the same crops, cameras and noise levels, and another noise of the pixels."""
    trackers: tuple[TrackerSection, ...] = ()
    """What shows the run beside TensorBoard: ["WandB"] or [{"class_name": "WandB", "project": ...}], for Weights &
    Biases. One that fails is a warning, and the run goes on."""

    def of_stage(self, number: int) -> "TrainingOptions":
        """The same with the crop and the batch of this stage, counted from 0."""
        if not self.stages:
            return self
        stage, changes = self.stages[number], {}
        if stage.crop_size:
            changes["transforms_train"] = Pipeline(tuple(self.transforms_train)).with_size(stage.crop_size)
        return self.model_copy(update=changes | {"batch_size": stage.batch_size or self.batch_size})

    @field_validator("*")
    @classmethod
    def _keep(cls, value: Any, info: ValidationInfo) -> Any:
        """Stores each valid value in the context, for parse_whole to return it beside the mistakes."""
        if info.context is not None:
            info.context[info.field_name] = value
        return value


def read_option_file(path: str | Path, overrides: list[str] | None = None) -> TrainingOptions:
    """Reads an option file and applies overrides ("a.b=value"). UserError with a line for each mistake."""
    return options_of(apply_overrides(read_option_data(path), overrides or []), str(path))


def read_option_data(path: str | Path) -> Any:
    """The data of an option file as it is written, not validated. UserError for a file that cannot be read."""
    return read_json(path, "give the path of an option file, as in options/")


def options_of(data: Any, place: str) -> TrainingOptions:
    """The options that an option file's data describe. UserError with a line for each mistake.

    place  how each line begins, as the file's name
    """
    options, valid, mistakes = parse_whole(TrainingOptions, data, place)
    mistakes += [f"{place}: {mistake}" for mistake in contradictions(valid)]
    if mistakes:
        raise UserError(*mistakes)
    return options


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the option file, made from the sections' own fields and documentation.

    `python -m restore.training.reference` writes it to options/schema.json, by which an editor checks the file.
    """
    schema = TrainingOptions.model_json_schema(by_alias=True)
    for section in schema["$defs"].values():
        # What tells the choices of a table apart must be written; PairedFolders are told by their other keys.
        if "class_name" in section.get("properties", {}) and section["title"] != PairedFolders.__name__:
            section["required"] = sorted({*section.get("required", []), "class_name"})
    return schema
