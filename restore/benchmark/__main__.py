"""python -m restore.benchmark: measures a part of the suite on this machine."""

import sys
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Callable

from restore.command.arguments import run_command


def read_arguments(words: list[str] | None = None) -> Namespace:
    """The arguments of restore.benchmark; ends the program at --help or a mistake, as argparse does."""
    parser = ArgumentParser("python -m restore.benchmark", description="Measures a part of the suite on this machine.")
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)
    network = parts.add_parser(
        "network",
        help="SCUNet as built here against its published formulation",
        description="Times SCUNet as built here against its published formulation, interleaved, and compares outputs.",
        formatter_class=ArgumentDefaultsHelpFormatter,
    )
    network.add_argument("--config", type=int, nargs=7, default=[4] * 7, metavar="N", help="blocks of each stage")
    network.add_argument("--size", type=int, default=256, metavar="N", help="side of the image restored [pixels]")
    network.add_argument("--train-size", type=int, default=64, metavar="N", help="side of training crops [pixels]")
    network.add_argument("--batch-size", type=int, default=2, metavar="N", help="training crops per step")
    network.add_argument("--repeats", type=int, default=10, metavar="N", help="rounds, of which the median counts")
    network.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 or mps; the best there is if left out")
    network.add_argument("--compile", action="store_true", help="times it under torch.compile too")
    data = parts.add_parser(
        "data",
        help="an option file's training chain, crops per second on one core",
        description="Times the training chain of an option file on one core, with and without decoding, and by "
        "transform, beside a plain formulation of the chain of options/scunet_raw.json, interleaved.",
        formatter_class=ArgumentDefaultsHelpFormatter,
    )
    data.add_argument("-opt", "--opt", default="options/scunet_raw.json", metavar="FILE", help="option file")
    data.add_argument("--repeats", type=int, default=15, metavar="N", help="rounds, of which the median counts")
    data.add_argument("--crops", type=int, default=20, metavar="N", help="crops of each kind in a round")
    loader = parts.add_parser(
        "loader",
        help="samples per second of an option file's run, for numbers of workers",
        description="Times the workers that make samples of an option file's photographs, alone and in training, for "
        "numbers of workers and of batches made ahead, and tells which is best and what limits it. Only the "
        "decoded photographs are saved.",
        formatter_class=ArgumentDefaultsHelpFormatter,
    )
    loader.add_argument("-opt", "--opt", required=True, metavar="FILE", help="option file")
    loader.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE", help="as of restore.train"
    )
    loader.add_argument(
        "--workers", type=int, nargs="+", metavar="N", help="0 and powers of 2 up to the cores if left out"
    )
    loader.add_argument("--seconds", type=float, default=3, metavar="S", help="time of each measurement [s]")
    loader.add_argument("--repeats", type=int, default=3, metavar="N", help="rounds, of which the median counts")
    loader.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 or mps; the best there is if left out")
    return parser.parse_args(words)


def main(arguments: Namespace) -> None:
    # They take seconds to import, and --help must not wait.
    from restore.benchmark.data import benchmark_data
    from restore.benchmark.loader import benchmark_loader
    from restore.benchmark.network import benchmark_network

    benchmarks: dict[str, Callable[[Namespace], None]] = {
        "network": benchmark_network,
        "data": benchmark_data,
        "loader": benchmark_loader,
    }
    benchmarks[arguments.part](arguments)


if __name__ == "__main__":
    sys.exit(run_command(main, read_arguments()))
