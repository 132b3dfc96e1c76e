"""Writes a CfaUNet as a model of the raw editor Ansel (.anselnn), and proves the file by running what is read back.

Source: Ansel (github.com/aurelienpierreeng/ansel), src/common/nn_model.c. A file is, with all numbers little-endian:
    8 bytes   the text ANSELDN1
    4 bytes   uint32 N, at most 2^26
    N bytes   JSON: {"cfg": {"arch", "base", "depth", "in_channels", "out_channels"},
                     "tensors": [{"name", "shape", "offset", "size"}, ...]}
    payload   the tensors, float32, one after another in this order; offset and size [bytes] count from its beginning
Ansel lists every .anselnn of the user's configuration folder as a custom model of its module for raw denoising.
"""

import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from options.errors import UserError
from restore.compute.device import tf32
from restore.export.example import NOISE, example
from restore.files.atomic import open_atomically
from restore.files.paths import printable
from restore.networks.base import Generator
from restore.networks.cfa_unet import CfaUNet
from transforms import RGGB, NoiseLevelMap, Pipeline, RawMetadata, unpack
from transforms.sensor.cameras import COLOUR_OF_SITE, NEUTRAL

MAGIC = b"ANSELDN1"
TOLERANCE = 2e-4
"""Largest difference [white level] between the network's output and that of its file, as in Ansel's own tests."""
SIDE = 96
"""Of the mosaic on which both are compared, as in Ansel's own tests [px]."""


class AnselModel(NamedTuple):
    """The content of an .anselnn file."""

    cfg: dict[str, Any]
    tensors: dict[str, Tensor]
    """float32, by their names."""


def write_ansel(network: Generator, chain: Pipeline, path: str | Path) -> float:
    """Writes the network as an .anselnn file, which replaces one of this name.

    network  a CfaUNet, on any device
    chain    the transforms that it was trained with
    Returns the largest difference between the network's output and that of the file read back [white level].
    Raises UserError for what the format cannot hold, and for a file whose output is another than the network's, which
    is not kept; SaveError where it cannot be written.

    In Ansel leave the factors of R, G and B at their defaults: they make of a camera's stored profile, measured behind
    the demosaicing, the noise of the mosaic itself, which is what a NoiseLevelMap tells.
    """
    if not isinstance(network, CfaUNet):
        raise UserError(
            f'network: a {type(network).__name__} given, and Ansel runs CfaUNet alone; train one ("class_name": '
            f'"CfaUNet") to use it there'
        )
    if not any(isinstance(step, NoiseLevelMap) for step in chain.conditioning):
        given = chain.conditioning[0].class_name if chain.conditioning else "none"
        raise UserError(
            f"chain: {given} given as its conditioning, and Ansel tells the network the noise; train it with a "
            f"NoiseLevelMap"
        )
    path = Path(path)
    with open_atomically(path) as target:
        target.write(_content(network))
        target.flush()
        difference = _difference(network, read_ansel(Path(target.name)))
        if not difference <= TOLERANCE:  # also where it is not a number
            raise UserError(
                f"{printable(path)}: not written, as the file's output differs from the network's by {difference:.1e}, "
                f"and at most {TOLERANCE:.0e} is allowed; take a model whose weights are finite and of ordinary size"
            )
    return difference


def _content(network: CfaUNet) -> bytes:
    # A key "sigma_calibration" would say by what Ansel's stored profiles were multiplied in training. Ansel does not
    # read it, its own files of this kind have none, and this suite's noise comes from elsewhere.
    unet = network.unet
    cfg = {"arch": "unet", "base": unet.base, "depth": unet.depth, "in_channels": 5, "out_channels": 1}
    tensors, values, offset = [], [], 0
    for name, tensor in unet.state_dict().items():
        values.append(tensor.detach().cpu().float().contiguous().numpy().astype("<f4").tobytes())
        size = len(values[-1])
        tensors.append({"name": name, "shape": list(tensor.shape), "offset": offset, "size": size})
        offset += size
    header = json.dumps({"cfg": cfg, "tensors": tensors}).encode()
    return b"".join([MAGIC, struct.pack("<I", len(header)), header, *values])


def read_ansel(path: Path) -> AnselModel:
    """The content of an .anselnn file, which must be sound."""
    content = path.read_bytes()
    magic, length = struct.unpack_from("<8sI", content)
    assert magic == MAGIC, magic
    header = json.loads(content[12 : 12 + length])
    payload = memoryview(content)[12 + length :]
    tensors = {}
    for tensor in header["tensors"]:
        values = payload[tensor["offset"] : tensor["offset"] + tensor["size"]]
        tensors[tensor["name"]] = torch.frombuffer(bytearray(values), dtype=torch.float32).view(tensor["shape"])
    return AnselModel(header["cfg"], tensors)


def run_ansel(model: AnselModel, planes: Tensor) -> Tensor:
    """What Ansel makes of (B, 5, H, W), the mosaic, its R, G and B as one-hot planes, and sigma: (B, 1, H, W).

    It is written after Ansel's description, and shares nothing with CfaUNet. Sides are multiples of 2**depth.
    """

    def convolution(name: str, features: Tensor, **how: int) -> Tensor:
        return functional.conv2d(features, model.tensors[f"{name}.weight"], model.tensors[f"{name}.bias"], **how)

    def pair(name: str, features: Tensor) -> Tensor:
        for layer in (0, 2):
            features = functional.gelu(convolution(f"{name}.{layer}", features, padding=1), approximate="none")
        return features

    skips, features, depth = [], planes, model.cfg["depth"]
    for level in range(depth):
        skips.append(pair(f"enc.{level}", features))
        features = convolution(f"down.{level}", skips[level], stride=2)
    features = pair("bottleneck", features)
    for level in range(depth):
        enlarged = features.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
        up = convolution(f"up.{level}", enlarged)
        features = pair(f"dec.{level}", torch.cat([skips[depth - 1 - level], up], dim=1))
    return planes[:, :1] - convolution("head", features, padding=1)


@torch.inference_mode()
@tf32(allowed=False)
def _difference(network: CfaUNet, model: AnselModel) -> float:
    """The largest difference between the outputs of the network and of the file, for a noisy RGGB mosaic."""
    multiple = 2**network.unet.depth
    side = -(-SIDE // multiple) * multiple
    colours = torch.tensor(COLOUR_OF_SITE).view(2, 2).repeat(side // 2, side // 2)  # (side, side): 0, 1, 2 are R, G, B
    packed = example(RGGB, (side // 2, side // 2))
    mosaic = unpack(packed)
    shot, read = (values.view(2, 2).repeat(side // 2, side // 2) for values in NOISE)
    sigma = (shot * mosaic.clamp(min=0) + read).clamp(min=1e-12).sqrt()
    one_hot = [(colours == colour).float() for colour in range(3)]
    of_file = run_ansel(model, torch.stack([mosaic, *one_hot, sigma])[None])[0, 0]

    degraded = NoiseLevelMap().network_input(packed, RawMetadata(NEUTRAL, NOISE))[None]
    of_network = unpack(network(degraded.to(next(network.parameters()).device)))[0]
    return (of_file - of_network.cpu()).abs().max().item()
