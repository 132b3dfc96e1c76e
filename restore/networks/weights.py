"""Weights in files -> weights in networks."""

import pickle
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from options.errors import UserError

WRAPPERS = ("params_ema", "params", "state_dict")
"""Keys under which other suites store the weights in their files; the first one present is used."""
PREFIX = "module."
"""Put before each name by torch's data-parallel wrappers."""
MOST_UNPACKED = 4
"""Largest size of a file's records / size of the file: torch.save does not compress, and weights hardly shrink."""
NAMED = 4
"""A message lists at most this many names, and then says how many more there are."""

StateDict = Mapping[str, Tensor]


class WeightsReport(NamedTuple):
    """Which names are both in a network and in a file of weights, and which are not."""

    matched: list[str]
    missing: list[str]
    """In the network but not in the file: these keep the values that they had."""
    unexpected: list[str]
    """In the file but not in the network: these are not used."""

    def __str__(self) -> str:
        text = f"{len(self.matched)} of {len(self.matched) + len(self.missing)} weights loaded"
        for names, what in ((self.missing, "missing in the file"), (self.unexpected, "in the file alone")):
            text += f"; {len(names)} {what} ({_some(names)})" if names else ""
        return text


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Reads the weights of a .pth file, ours or as others publish them, to the CPU.

    The tensors may lie under "params_ema", "params" or "state_dict", and "module." before every name is taken off.
    Raises UserError where the file is missing, damaged, holds no weights, or holds code: none is ever run.
    """
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
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
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError):
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
        content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
    if not (isinstance(content, Mapping) and content and all(isinstance(value, Tensor) for value in content.values())):
        raise UserError(f"{path}: holds no state dict (names with tensors); give a .pth file with a network's weights")
    for name, value in content.items():
        if not isinstance(name, str):
            raise UserError(f"{path}: names a tensor {name!r}, which is no text; give a network's state dict")
        if kind := _unusual(value):
            raise UserError(f"{path}: {name} is a {kind} tensor; give weights saved as ordinary (dense, real) tensors")
    wrapped = all(name.startswith(PREFIX) for name in content)
    return {name.removeprefix(PREFIX) if wrapped else name: value for name, value in content.items()}


def _unusual(tensor: Tensor) -> str:
    """The kind of a tensor that cannot be copied into a network; empty for an ordinary one."""
    if tensor.is_quantized:
        return "quantised"
    if tensor.is_meta:
        return "meta (without values)"
    if tensor.is_complex():
        return "complex"
    return "" if tensor.layout == torch.strided else "sparse"


def load_weights(network: nn.Module, state_dict: StateDict, place: str, complete: bool = False) -> WeightsReport:
    """Copies into the network the weights that have the names of its own. The caller prints the report.

    place     where the weights come from, for the messages
    complete  refuses weights that lack any of the network's names
    Raises UserError, with the network unchanged, where no name matches, a shape differs, or a value is not finite in
    the network's precision.
    """
    own = network.state_dict()
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
    if misfits:
        shapes = [
            f"{name}: {_shape(state_dict[name])} in the file, {_shape(own[name])} here" for name in misfits[:NAMED]
        ]
        more = f"; and {len(misfits) - NAMED} more" if len(misfits) > NAMED else ""
        raise UserError(
            f"{place}: shapes differ ({'; '.join(shapes)}{more}); give the options that it was trained with"
        )
    broken = [name for name in matched if not state_dict[name].to(own[name].dtype).isfinite().all()]
    if broken:
        raise UserError(
            f"{place}: holds values that are not finite (NaN, infinite or too large) in {_some(broken)}; "
            "take an earlier model of the run, or fetch the file again"
        )
    network.load_state_dict({name: state_dict[name] for name in matched}, strict=False)
    return WeightsReport(matched, missing, unexpected)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
