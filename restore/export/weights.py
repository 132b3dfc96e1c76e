"""Writes a model's weights for other programs, as .safetensors or .pth, with a card beside them.

Networks that others published keep their authors' names for the weights, so that spandrel (github.com/chaiNNer-org/
spandrel, MIT) and the programs that use it tell the network from them.
The card has the fields of OpenModelDB (github.com/OpenModelDB/open-model-database, data/models).
"""

import hashlib
import io
import json
import math
from datetime import date
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from options.errors import UserError
from restore.compute.device import tf32
from restore.export.card import Card
from restore.export.example import NOISE, example
from restore.files.atomic import staged, write_atomically
from restore.files.paths import printable
from restore.inference.restorer import Restorer
from restore.networks.weights import read_state_dict
from restore.runs.information import hash_of

CARD = ".card.json"
"""In place of the weights' suffix; the information file has .json."""
SIDE = 64
"""About the side of the images on which outputs are compared [px]."""
SAME = 1e-4
"""Largest difference between the outputs of spandrel and of the model, for images in 0..1."""


def weights_files(path: Path) -> list[Path]:
    """The files that write_weights writes."""
    return [path, path.with_suffix(".json"), path.with_suffix(CARD)]


def write_weights(restorer: Restorer, path: Path, card: Card, half: bool = False) -> list[str]:
    """Writes weights_files(path), which replace those of these names; returns lines about them for the user.

    The information file says how restore.load_model uses the weights; the card is for readers and collections.
    path  ends in .safetensors or .pth
    half  writes float16 in place of float32
    Raises UserError where what was written is not the model when it is loaded again; then none is kept.
    """
    weights = {name: _as_written(values, half) for name, values in restorer.network.state_dict().items()}
    content = safetensors.torch.save(weights) if path.suffix == ".safetensors" else _pth(weights)
    information = restorer.information.data | {"weights_hash": hash_of(content)}
    with staged(path) as file:
        write_atomically(file, content)
        write_atomically(file.with_suffix(".json"), json.dumps(information, indent=2).encode())
        again = Restorer(file, "cpu")
        lines = [_check(restorer, again, weights, file, path)]
        architecture, line = _in_other_tools(again, file)
        facts = _card(restorer, path, content, card, architecture)
        write_atomically(file.with_suffix(CARD), json.dumps(facts, indent=2).encode())
    return [*lines, line]


def _as_written(values: Tensor, half: bool) -> Tensor:
    values = values.detach().cpu()
    if values.is_floating_point():
        values = values.to(torch.float16 if half else torch.float32)
    return values.contiguous().clone()


def _pth(weights: dict[str, Tensor]) -> bytes:
    content = io.BytesIO()
    torch.save(weights, content)
    return content.getvalue()


def _check(restorer: Restorer, again: Restorer, weights: dict[str, Tensor], file: Path, path: Path) -> str:
    """A line about the file as it is read and loaded again. Raises UserError where it is another model."""
    found = read_state_dict(file)
    if found.keys() != weights.keys() or not all(torch.equal(values, weights[name]) for name, values in found.items()):
        raise UserError(f"{printable(path)}: not written, as other weights are read from it; export the model again")
    image = example(restorer.layout, (SIDE, SIDE + 8))
    changed = (again(image, NOISE) - restorer(image, NOISE)).abs().max().item()
    if not math.isfinite(changed):
        raise UserError(f"{printable(path)}: not written, as its output is not finite; take another model")
    return (
        f"verified by load_model: all {len(weights)} weights as written; largest difference of the output {changed:.1e}"
    )


@torch.inference_mode()
@tf32(allowed=False)
def _in_other_tools(model: Restorer, file: Path) -> tuple[str, str]:
    """The name of the architecture, and a line about what spandrel, with which other tools read models, makes of it."""
    own = model.information.generator.class_name
    if model.chain.conditioning:
        step = model.chain.conditioning[0].class_name
        return own.lower(), f"other tools cannot use it, as they have no {step}; restore.load_model reads it"
    try:
        import spandrel
    except ImportError:
        return own.lower(), "not tried in spandrel, which other tools use; pip install 'restore[spandrel]'"
    try:
        theirs = spandrel.ModelLoader("cpu").load_from_file(file)
    except Exception:  # spandrel's own for what it does not know, and whatever its loaders stumble over
        return own.lower(), f"other tools cannot read this {own}, as spandrel {spandrel.__version__} does not know it"
    side = math.lcm(SIDE, model.network.size_multiple)  # which neither of both pads
    image = example(model.layout, (side, side)).clamp(0, 1)[None]
    found = (theirs(image) - model.network(image).clamp(0, 1)).abs().max().item()
    name = theirs.architecture.name
    if not found <= SAME:
        return own.lower(), f"other tools misread it: as spandrel's {name} its output differs by {found:.1e}"
    reads = f"spandrel {spandrel.__version__}, which other tools use, reads it as {name}"
    return theirs.architecture.id.lower(), f"{reads}: largest difference {found:.1e}"


def _card(restorer: Restorer, path: Path, content: bytes, card: Card, architecture: str) -> dict[str, Any]:
    data = restorer.information.data
    trained = {
        "trainingIterations": data.get("iteration"),
        "trainingEpochs": data.get("epoch"),
        "trainingBatchSize": data.get("batch_size"),
        "trainingHRSize": data.get("in_res"),
        "datasetSize": data.get("n_imgs_train"),
    }
    return {
        "name": data.get("name") or path.stem,
        "author": card.author,
        "license": card.licence,
        "tags": ["general-upscaler"] if restorer.scale > 1 else ["denoise" if restorer.layout.raw else "restoration"],
        "description": card.description,
        "date": date.today().isoformat(),
        "architecture": architecture,
        "size": None,
        "scale": restorer.scale,
        "inputChannels": restorer.network.in_channels,
        "outputChannels": restorer.network.n_channels,
        "resources": [
            {
                "platform": "pytorch",
                "type": path.suffix[1:],
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "urls": [],
            }
        ],
        **{name: value for name, value in trained.items() if value is not None},
        "dataset": f"{card.training_data} ({card.training_data_licence})",
        "images": [],
    }
