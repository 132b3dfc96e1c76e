"""Compares SCUNet as built here with a plain version of the published network, in time and in output."""

from argparse import Namespace
from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from restore.benchmark.plain_scunet import PlainSCUNet
from restore.benchmark.timing import Contestant, interleaved
from restore.command.arguments import flags
from restore.compute.device import choose_device, describe_device
from restore.networks import build_generator
from restore.training.precision import training_arithmetic

N_CHANNELS = 4


class Variant(NamedTuple):
    """A network and the precision that it runs in."""

    name: str
    network: nn.Module
    dtype: torch.dtype = torch.float32


def benchmark_network(arguments: Namespace) -> None:
    """Prints a table of medians [ms] and of speeds as a multiple of the published formulation's in float32."""
    with flags(device="--device"):
        device = choose_device(arguments.device)
    with training_arithmetic():
        compare(arguments, device)


def compare(arguments: Namespace, device: torch.device) -> None:
    torch.manual_seed(0)
    options = {"class_name": "SCUNet", "n_channels": N_CHANNELS, "config": arguments.config}
    ours = build_generator(options)
    published = PlainSCUNet(N_CHANNELS, arguments.config)
    published.load_state_dict(ours.state_dict())
    ours, published = ours.to(device).to(memory_format=torch.channels_last), published.to(device)
    crops = torch.rand(arguments.batch_size, N_CHANNELS, *[arguments.train_size] * 2, device=device)
    image = torch.rand(1, N_CHANNELS, *[arguments.size] * 2, device=device)

    print(describe_device(device))
    print(f"SCUNet {arguments.config}, {sum(weights.numel() for weights in ours.parameters()):,} parameters")
    print(f"outputs differ by {difference(ours, published, image):.1e} of their standard deviation (rms)")
    print(f"medians of {arguments.repeats} interleaved rounds\n")
    variants = [
        Variant("published, float32", published),
        Variant("ours, float32", ours),
        Variant("ours, bfloat16", ours, torch.bfloat16),
    ]
    if arguments.compile:
        compiled = deepcopy(ours)
        compiled.compile()
        variants += [
            Variant("ours compiled, float32", compiled),
            Variant("ours compiled, bfloat16", compiled, torch.bfloat16),
        ]
    for title, step, images in (("training", train, crops), ("inference", infer, image)):
        shape = "x".join(map(str, images.shape))
        contestants = [Contestant(variant.name, working(step, variant, images)) for variant in variants]
        print_table(f"{title}, {shape}", contestants, interleaved(contestants, arguments.repeats, device))


def difference(one: nn.Module, other: nn.Module, image: Tensor) -> float:
    """Root mean square difference of two networks' outputs / standard deviation of the second's output."""
    with torch.inference_mode():
        expected = other(image)
        return float((one(image) - expected).square().mean().sqrt() / expected.std())


def train(variant: Variant, crops: Tensor) -> None:
    """Forward, loss and backward, without the optimiser, whose time is the same for all."""
    with torch.autocast(crops.device.type, variant.dtype, enabled=variant.dtype != torch.float32):
        restored = variant.network(crops)
    functional.l1_loss(restored.float(), crops).backward()
    variant.network.zero_grad(set_to_none=True)


def infer(variant: Variant, image: Tensor) -> None:
    autocast = torch.autocast(image.device.type, variant.dtype, enabled=variant.dtype != torch.float32)
    with torch.inference_mode(), autocast:
        variant.network(image)


def working(step: Callable[[Variant, Tensor], None], variant: Variant, images: Tensor) -> Callable[[int], None]:
    """The work of a round. It is the same in every round."""
    return lambda round_number: step(variant, images)


def print_table(title: str, contestants: list[Contestant], seconds: list[float]) -> None:
    print(f"{title:32}{'ms':>10}{'speed':>8}")
    for contestant, time_taken in zip(contestants, seconds, strict=True):
        print(f"  {contestant.name:30}{time_taken * 1000:10.1f}{seconds[0] / time_taken:7.2f}x")
    print()
