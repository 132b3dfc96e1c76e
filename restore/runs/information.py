"""The information file beside every model: how it was made, how good it was, and how it must be used."""

import hashlib
import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2

import transforms
from options.base import Options, parse
from options.errors import UserError
from options.json_data import read_json
from options.mistakes import hint_of_own_parts
from restore.evaluation.validation import ValidationReport
from restore.networks import GENERATORS, GeneratorOptions, read_state_dict
from restore.networks.spandrel_model import SpandrelOptions
from restore.training.option_file import TrainingOptions
from transforms import LAYOUTS, Layout, Pipeline, TransformOptions
from transforms.geometry import Crop

SOFTWARE = ("torch", "torchvision", "numpy", "scikit-image")
FAMILIES = {"pixel": "Pixel", "gan": "GAN", "feature": "Feature"}


def describe(options: TrainingOptions, report: ValidationReport, **progress: float | bool | None) -> dict[str, Any]:
    """The information file of a savepoint's model.

    options   as they are in the stage that the run is in
    progress  epoch, iteration, total_iterations, duration [minutes], last_learning_rate, number_params, n_imgs_train,
              n_imgs_test, final_test_loss (the training loss at that point), stopped_early (whether the run ended here
              although more iterations were asked for)
    "validation" holds the metrics of the restored images and those of the baseline, for comparison.
    """
    generator = options.generator
    return {
        "name": options.name,
        "model_architecture": generator.class_name,
        "n_channels": generator.n_channels,
        "layout": transforms.build(options.transforms_test).layout.name,
        "config": json.dumps(generator.stages, separators=(",", ":")),
        "use_sigmoid": generator.use_sigmoid,
        "generator": generator.model_dump(mode="json"),
        "in_res": next((step.h for step in options.transforms_train if isinstance(step, Crop)), None),
        "pretrained_model": options.pretrained_model,
        **progress,
        "total_epochs": options.total_epochs,
        "batch_size": options.batch_size,
        "loss_info": _loss_info(options),
        "optimizer": options.optimizer.class_name,
        "initial_learning_rate": options.optimizer.initial_learning_rate * options.optimizer.scale(options.batch_size),
        **options.scheduler.information(),
        "amp": options.amp,
        "ema": options.ema and options.ema.model_dump(mode="json"),
        "seed": options.seed,
        **options.model_dump(mode="json", include={"training_path", "testing_path"}),
        "transforms_train": _numbered(options.transforms_train),
        "transforms_test": _numbered(options.transforms_test),
        "final_val_loss": report.loss,
        "validation": report.metrics,
        "software": software_versions(),
    }


def software_versions() -> dict[str, str]:
    """Of what a result may depend on."""
    versions = {name: version(name) for name in SOFTWARE}
    return {"python": platform.python_version(), "opencv": cv2.__version__, **versions}


class Information:
    """What is needed to use a model, read from the information file beside its weights.

    Without that file, spandrel tells the network of a published model from its weights, and pictures are restored as
    they are. Raises UserError if the network is not known, or the file is not JSON or lacks something that is needed.
    """

    def __init__(self, weights: Path):
        path = file_of_these_weights(weights.with_suffix(".json"))
        published = not path.exists()
        self.data: dict[str, Any] = (
            _published(weights) if published else read_json(path, "take the file that was saved with the model")
        )
        if not isinstance(self.data, dict) or "generator" not in self.data:
            raise UserError(f'{path}: has no "generator" section; take the file that was saved with the model')
        section = self.data["generator"]
        if GENERATORS.chosen(section) is SpandrelOptions:  # a model of such a run is such a file itself
            section = section | {"weights": str(weights)}
        with hint_of_own_parts():
            self.generator = parse(GeneratorOptions, section, f"{path}: generator")
        self.note = f"{path}: not there; spandrel tells the network from its weights" if published else None
        """A line for the user where there is no information file."""
        steps = self.data.get("transforms_test", {})
        steps = list(steps.values()) if isinstance(steps, dict) else steps
        with hint_of_own_parts():
            self.chain = Pipeline(tuple(parse(list[TransformOptions], steps, f"{path}: transforms_test")))
        """The transforms that the model was validated with; none if the file names none."""
        self.layout = self._layout(path)
        """The layout of the degraded image, without conditioning planes, and of the restored image."""

    def _layout(self, path: Path) -> Layout:
        name = self.data.get("layout", self.chain.layout.name)
        if name not in LAYOUTS:
            raise UserError(f"{path}: layout: {json.dumps(name)} given; known: {', '.join(LAYOUTS)}")
        layout, given = LAYOUTS[name], self.generator.n_channels
        if layout.channels != given:
            fitting = next((other.name for other in LAYOUTS.values() if other.channels == given), None)
            remedy = f'add "layout": "{fitting}"' if fitting else "take the file that was saved with the model"
            raise UserError(
                f"{path}: generator.n_channels is {given}, but {name} images have {layout.channels}; {remedy}"
            )
        return layout


def _published(weights: Path) -> dict[str, Any]:
    """What an information file of a published model would say. Raises UserError if spandrel does not know it."""
    section = {"class_name": "Spandrel", "weights": str(weights)}
    try:
        parse(GeneratorOptions, section, "without it")
    except UserError as mistake:
        read_state_dict(weights)  # says by itself where the weights cannot be read, with which no other file would help
        raise UserError(
            f"{weights.with_suffix('.json')}: not there, and it says how to use the model; put the information file "
            f'beside the weights, or write one: {{"generator": {{"class_name": "SCUNet", "n_channels": 3, ...}}}}; '
            f"{mistake}"
        ) from None
    return {"generator": section}


def hash_of(weights: bytes) -> str:
    """A hash of a weights file's content, the key "weights_hash" of its information file."""
    return hashlib.blake2b(weights, digest_size=16).hexdigest()


def file_of_these_weights(path: Path) -> Path:
    """The information file that belongs to the weights beside path.

    A run that was killed between writing best.pth and best.json has a best.json of older weights. Then it is the
    model_<iteration>.json with the hash of best.pth.
    """
    weights = path.with_suffix(".pth")
    recorded = _weights_hash(path)
    if path.name != "best.json" or recorded is None or not weights.is_file():
        return path
    actual = hash_of(weights.read_bytes())
    others = path.parent.glob("model_*.json") if recorded != actual else ()
    return next((other for other in others if _weights_hash(other) == actual), path)


def _weights_hash(path: Path) -> str | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["weights_hash"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _loss_info(options: TrainingOptions) -> dict[str, Any]:
    """The first term of each family under fixed keys, then all terms by their names."""
    info: dict[str, Any] = {}
    for family, spelled in FAMILIES.items():
        first = next((term for term in options.losses.values() if term.family == family), None)
        info[f"{spelled}_Loss"] = first and first.class_name
        info[f"{spelled}_Loss_Weight"] = first.weight if first else 0
    return {**info, "terms": {name: term.model_dump(mode="json") for name, term in options.losses.items()}}


def _numbered(sections: Sequence[Options]) -> dict[str, dict[str, Any]]:
    return {str(number): section.model_dump(mode="json") for number, section in enumerate(sections)}
