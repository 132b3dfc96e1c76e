"""The networks that restore, and the one door to build them."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from options.base import parse
from restore.networks.base import Generator
from restore.networks.scunet import SCUNetOptions
from restore.networks.unet import UNetOptions
from restore.networks.weights import load_weights, read_state_dict

GeneratorOptions = Annotated[SCUNetOptions | UNetOptions, Field(discriminator="class_name")]
"""The networks that an option file can choose as its generator."""


def build_generator(options: Any, weights: str | Path | None = None) -> Generator:
    """A network that restores images of any height and width, with random weights or those of a file.

    options  a dict as in an option file's "generator", or the validated section
    weights  a .pth of ours, or as the network's authors publish it; it must hold every weight of the network
    Raises UserError with a line for each mistake in the options, or where the weights do not fit.
    """
    network = parse(GeneratorOptions, options, "generator").build()
    if weights is not None:
        load_weights(network, read_state_dict(weights), str(weights), complete=True)
    return network


__all__ = ["GeneratorOptions", "build_generator"]
