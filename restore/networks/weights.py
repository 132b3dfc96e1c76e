"""Weights in files -> weights in networks."""

import pickle
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from options.errors import UserError
from options.mistakes import shortened
from restore.networks.base import Generator, StateDict

WRAPPERS = ("params_ema", "params-ema", "params", "model_state_dict", "state_dict", "model", "net")
"""Keys under which other suites store the weights in their files; the first one present is used."""
PREFIXES = ("module.", "netG.")
"""Put before each name by torch's data-parallel wrappers, and by suites that name the generator so."""
MOST_UNPACKED = 4
"""Largest size of a file's records / size of the file: torch.save does not compress, and weights hardly shrink."""
NAMED = 4
"""A message lists at most this many names, and then says how many more there are."""


class WeightsReport(NamedTuple):
    """Which names are both in a network and in a file of weights, and which are not."""

    matched: list[str]
    missing: list[str]
    """In the network but not in the file: these keep the values that they had."""
    unexpected: list[str]
    """In the file but not in the network: these are not used."""
    adapted: tuple[str, ...] = ()
    """Of those in both: the weights of the planes that the file knows, and 0 for the planes that are added."""
    renewed: tuple[str, ...] = ()
    """In both, with other shapes: these keep the values that they had."""

    def __str__(self) -> str:
        taken = len(self.matched) - len(self.renewed)
        text = f"{taken} of {len(self.matched) + len(self.missing)} weights loaded"
        groups: list[tuple[Sequence[str], str]] = [
            (self.adapted, "of them adapted, with 0 for the planes that are added"),
            (self.renewed, "of another shape in the file, and left new"),
            (self.missing, "missing in the file"),
            (self.unexpected, "in the file alone"),
        ]
        for names, what in groups:
            text += f"; {len(names)} {what} ({_some(names)})" if names else ""
        return text


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Reads the weights of a .pth or .safetensors file, ours or as others publish them, to the CPU.

    The tensors may lie under one of WRAPPERS, or under the only key there is; PREFIXES before every name are taken off.
    Raises UserError where the file is missing, damaged, holds no weights, or holds code: none is ever run.
    """
    safetensors = Path(path).suffix.lower() == ".safetensors"
    if not safetensors:
        _check_archive(path)
    try:
        content = load_file(path) if safetensors else torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; give the path of a .pth file with weights") from None
    except IsADirectoryError:
        raise UserError(f"{path}: this is a folder; give the path of a .pth file in it") from None
    except PermissionError:
        raise UserError(f"{path}: may not be read; give a .pth file that you may read") from None
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error):
            raise UserError(
                f"{path}: refused, as it holds code and not only weights; ask for a plain state dict"
            ) from None
        raise UserError(f"{path}: not a file of weights, or damaged; give a .pth written by torch.save") from None
    except (RuntimeError, OSError, EOFError, ValueError, LookupError, AttributeError, TypeError, SafetensorError):
        raise UserError(f"{path}: not a file of weights, or cut off; fetch or write it again") from None
    return _unwrapped(content, path)


def _check_archive(path: str | Path) -> None:
    """Compares what torch.load does not: a zip file's checksums, and its size unpacked. Other files pass."""
    if not zipfile.is_zipfile(path):
        return  # the older format of torch.save, or no file of weights: torch.load will tell
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(record.file_size for record in archive.infolist())
            packed = Path(path).stat().st_size
            if unpacked <= MOST_UNPACKED * packed:
                damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError, ValueError):
        raise UserError(f"{path}: not a file of weights, or damaged; fetch or write it again") from None
    if unpacked > MOST_UNPACKED * packed:
        raise UserError(
            f"{path}: its {packed:,} bytes unpack to {unpacked:,}, which weights never do; "
            "give a .pth written by torch.save"
        )
    if damaged:
        raise UserError(f"{path}: damaged, as the checksum of {damaged} is wrong; fetch or write it again")


def _unwrapped(content: object, path: str | Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        keys = WRAPPERS if len(content) > 1 else [*content]
        content = next((content[key] for key in keys if isinstance(content.get(key), Mapping)), content)
    if not (isinstance(content, Mapping) and content and all(isinstance(value, Tensor) for value in content.values())):
        raise UserError(f"{path}: holds no state dict (names with tensors); give a .pth file with a network's weights")
    for name, value in content.items():
        if not (isinstance(name, str) and name.isprintable()):
            raise UserError(f"{path}: names a tensor {shortened(name)}, which is no text; give a network's state dict")
        if kind := _unusual(value):
            raise UserError(f"{path}: {name} is a {kind} tensor; give weights saved as ordinary (dense, real) tensors")
    weights = dict(content)
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def _unusual(tensor: Tensor) -> str:
    """The kind of a tensor that cannot be copied into a network; empty for an ordinary one."""
    if tensor.is_quantized:
        return "quantised"
    if tensor.is_meta:
        return "meta (without values)"
    if tensor.is_complex():
        return "complex"
    if tensor.is_floating_point() and tensor.itemsize == 1:
        return "low-precision (8-bit)"
    return "" if tensor.layout == torch.strided else "sparse"


def load_weights(
    network: nn.Module, state_dict: StateDict, place: str, complete: bool = False, adapt: bool = False
) -> WeightsReport:
    """Copies into the network the weights that have the names of its own. The caller prints the report.

    place     where the weights come from, for the messages
    complete  refuses weights that lack any of the network's names
    adapt     takes weights of a Generator that is the same but for the planes that go in or come out, or the scale:
              planes that are added behind the image's, as a noise level map's, get weights of 0, so that the network
              restores as the file's one does; a last layer of another shape is left new, and so is the first one then,
              as its planes are another image's
    Raises UserError, with the network unchanged, where no name matches, a shape differs, or a value is not finite in
    the network's precision.
    """
    own = network.state_dict()
    if isinstance(network, Generator):
        try:
            state_dict = network.own_names(state_dict)
        except UserError as mistake:
            raise UserError(f"{place}: {mistake}") from None
    matched = [name for name in own if name in state_dict]
    missing = [name for name in own if name not in state_dict]
    unexpected = [name for name in state_dict if name not in own]
    if not matched:
        raise UserError(
            f"{place}: no name in the file ({_some(unexpected)}) is one of the network's ({_some(missing)}); "
            "give the weights of this kind of network"
        )
    if complete and missing:
        raise UserError(f"{place}: lacks {len(missing)} of the network's {len(own)} weights ({_some(missing)})")
    misfits = [name for name in matched if own[name].shape != state_dict[name].shape]
    adapted, renewed = _adaptable(network, state_dict, misfits, missing + unexpected) if adapt else ([], [])
    if misfits := [name for name in misfits if name not in adapted + renewed]:
        shapes = [
            f"{name}: {_shape(state_dict[name])} in the file, {_shape(own[name])} here" for name in misfits[:NAMED]
        ]
        more = f"; and {len(misfits) - NAMED} more" if len(misfits) > NAMED else ""
        raise UserError(
            f"{place}: shapes differ ({'; '.join(shapes)}{more}); give the options that it was trained with"
        )
    check_finite(((name, state_dict[name].to(own[name].dtype)) for name in matched), place)
    taken = {name: state_dict[name] for name in matched if name not in renewed}
    taken |= {name: _with_planes(state_dict[name], own[name]) for name in adapted}
    network.load_state_dict(taken, strict=False)
    return WeightsReport(matched, missing, unexpected, tuple(adapted), tuple(renewed))


def check_finite(weights: Iterable[tuple[str, Tensor]], place: str) -> None:
    """Raises UserError where a value is not finite; place is where the weights come from."""
    broken = [name for name, values in weights if not values.isfinite().all()]
    if broken:
        raise UserError(
            f"{place}: holds values that are not finite (NaN, infinite or too large) in {_some(broken)}; "
            "take an earlier model of the run, or fetch the file again"
        )


def _adaptable(
    network: nn.Module, state_dict: StateDict, misfits: list[str], unshared: list[str]
) -> tuple[list[str], list[str]]:
    """Of the weights of other shapes: those that get more planes, and those that are left new. Both are empty where
    more than the first and the last layer differs, and where the first one would have fewer planes."""
    if not isinstance(network, Generator) or not network.first_layer:
        return [], []
    own, first = network.state_dict(), network.first_layer
    last = [name for name in misfits if name.startswith(network.last_layers)]
    between = [name for name in misfits if name not in last and name != first]
    if between or not all(name.startswith(network.last_layers) for name in unshared):
        return [], []
    if first not in misfits:
        return [], last
    theirs, ours = state_dict[first].shape, own[first].shape
    if len(theirs) != len(ours) or theirs[:1] + theirs[2:] != ours[:1] + ours[2:]:
        return [], []
    if last:
        return [], [first, *last]
    return ([first], []) if network.n_channels <= theirs[1] < ours[1] else ([], [])


def _with_planes(weights: Tensor, own: Tensor) -> Tensor:
    """Weights of a convolution (out, in, h, w) with zeros for the planes that the network's own have more."""
    added = weights.new_zeros(weights.shape[0], own.shape[1] - weights.shape[1], *weights.shape[2:])
    return torch.cat([weights, added], dim=1)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
