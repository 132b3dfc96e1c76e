"""Weights of the networks of the perceptual terms: from a local file, torchvision's cache, or a download."""

import http.client
import sys
import threading
import urllib.request
from pathlib import Path

import torch
from torch import Tensor

from options.errors import UserError

PATIENCE = 6.0  # seconds for the server's first answer


def convolution_weights(model: str, weights_path: str | None) -> dict[str, Tensor]:
    """The convolutional part of a torchvision classifier trained on ImageNet, by its names below "features.".

    model         torchvision's name: "vgg16", "vgg19", "alexnet" or "squeezenet1_1"
    weights_path  a file with the state dict of that model; None: torchvision's cache, filled by download where empty
    Raises UserError where there is no such file and no network, or the file holds something else.
    """
    file = Path(weights_path) if weights_path else _cached(model)
    if not file.is_file():
        raise UserError(f'weights_path: "{file}" is no file; fetch {url_of(model)} and give its path')
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of any kind, where a file of another kind is read as one of weights
        reason = str(error).partition("\n")[0]
        raise UserError(
            f'weights_path: "{file}" does not hold plain weights ({reason}); fetch {url_of(model)}'
        ) from None
    weights = state if isinstance(state, dict) else {}
    shapes = {f"features.{name}": shape for name, shape in _shapes(model).items()}
    unfit = [name for name, shape in shapes.items() if getattr(weights.get(name), "shape", None) != shape]
    if unfit:
        raise UserError(
            f'weights_path: "{file}" does not fit {model}: {unfit[0]} and {len(unfit) - 1} more are missing '
            f"or have another shape; fetch {url_of(model)}"
        )
    return {name.removeprefix("features."): weights[name] for name in shapes}


def _shapes(model: str) -> dict[str, torch.Size]:
    """Names and shapes of the weights of a model's convolutional part."""
    from torchvision.models import get_model

    with torch.device("meta"):  # names and shapes without memory
        return {name: weight.shape for name, weight in get_model(model).features.state_dict().items()}


def cache_file(model: str) -> Path:
    """Where torchvision keeps a model's weights, there or not."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url_of(model).rpartition("/")[2]


def _cached(model: str) -> Path:
    """Where torchvision keeps a model's weights, after a download if they were not there."""
    url, file = url_of(model), cache_file(model)
    if file.is_file():
        return file
    try:
        _require_answer(url)
        file.parent.mkdir(parents=True, exist_ok=True)
        checksum = file.stem.rpartition("-")[2]
        torch.hub.download_url_to_file(url, str(file), checksum, progress=sys.stderr.isatty())
        return file
    except (OSError, RuntimeError) as error:  # RuntimeError: the checksum differs
        failure = str(error)
    raise UserError(
        f"weights_path: null given, but {file.name} is not in {file.parent} and its download failed ({failure}); "
        f"fetch {url} and put it there, or put it anywhere and set weights_path to it"
    )


def url_of(model: str) -> str:
    """Where torchvision fetches a model's weights from."""
    from torchvision.models import get_model_weights

    return get_model_weights(model).DEFAULT.url


def _require_answer(url: str) -> None:
    """OSError where the server does not answer in time.

    The request runs in a thread: a socket's time limit holds for each address of the host separately, and not for the
    look-up of its name.
    """
    failures: list[Exception] = [TimeoutError(f"no answer within {PATIENCE:.0f} s")]

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PATIENCE).close()
            failures.clear()
        except (OSError, http.client.HTTPException) as error:
            failures[0] = error

    question = threading.Thread(target=ask, daemon=True)
    question.start()
    question.join(PATIENCE)
    if failures:
        raise OSError(str(failures[0]))
