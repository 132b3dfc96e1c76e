"""The networks that an option file can choose, and the function that builds a generator."""

from pathlib import Path
from typing import Annotated, Any

from options.base import parse
from options.choices import Choices
from restore.networks.base import Generator, NetworkOptions
from restore.networks.cfa_unet import CfaUNetOptions
from restore.networks.discriminators import DiscriminatorBase, PatchDiscriminatorOptions, UNetDiscriminatorOptions
from restore.networks.rrdbnet import RRDBNetOptions
from restore.networks.scunet import SCUNetOptions
from restore.networks.span import SPANOptions
from restore.networks.spandrel_model import SpandrelOptions
from restore.networks.srvgg import SRVGGNetCompactOptions
from restore.networks.unet import UNetOptions
from restore.networks.weights import load_weights, read_state_dict

GENERATORS = Choices(
    NetworkOptions,
    SCUNetOptions,
    UNetOptions,
    CfaUNetOptions,
    SRVGGNetCompactOptions,
    SPANOptions,
    RRDBNetOptions,
    SpandrelOptions,
)
GeneratorOptions = Annotated[NetworkOptions, GENERATORS]

DISCRIMINATORS = Choices(DiscriminatorBase, PatchDiscriminatorOptions, UNetDiscriminatorOptions)
DiscriminatorOptions = Annotated[DiscriminatorBase, DISCRIMINATORS]


def build_generator(options: Any, weights: str | Path | None = None) -> Generator:
    """A network that restores images of any height and width, with random weights or those of a file.

    options  a dict as in an option file's "generator", or the finished section
    weights  a .pth or .safetensors file, of this suite or as the network's authors publish it; it must hold every
             weight of the network. None: random ones, or those of the file that the options name
    Raises UserError with a line for each mistake in the options, or where the weights do not fit.
    """
    if not isinstance(options, NetworkOptions):
        options = parse(GeneratorOptions, options, "generator")
    network = options.build()
    if weights is not None:
        load_weights(network, read_state_dict(weights), str(weights), complete=True)
    return network


__all__ = ["DISCRIMINATORS", "GENERATORS", "DiscriminatorOptions", "GeneratorOptions", "build_generator"]
