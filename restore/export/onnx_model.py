"""Writes a model as ONNX, and proves the file by running it.

Graphs are made by torch.onnx.export with dynamo=True, whose symbolic sizes reach the windows and the masks of SCUNet
too; the older exporter keeps those of the size that it traced.
"""

import json
import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from options.errors import UserError
from restore.export.example import NOISE, Size, example
from restore.export.graph import RestoringGraph
from restore.files.atomic import staged, write_atomically
from restore.files.paths import printable
from restore.inference.restorer import Restorer
from transforms import NoiseProfile

TOLERANCE = 1e-4
"""Largest difference between torch's output and that of a file, as a share of the output where it is above 1."""
SIDE = 48
"""About the shortest side of the images on which both are compared [px]."""
FIXED_SIDE = 256
"""Of the images of a network whose graph cannot be made for any [px]."""
Run = Callable[[Mapping[str, Tensor]], Tensor]
"""What a file makes of its inputs."""


def write_onnx(restorer: Restorer, path: Path) -> list[str]:
    """Writes the model as one .onnx file, which replaces one of this name; returns lines about it for the user.

    Its input "input" is an image and its output "output" the restored one, as of RestoringGraph; a model that has to
    know the noise has the inputs "shot" and "read" too. Nothing is clipped. The metadata say how to use it: "layout",
    "planes", "scale", "sizes", "size_multiple" and "information", the information file.
    Raises UserError where a package is missing, and for a file whose output is not torch's, which is not kept.
    """
    check_packages()
    multiple = restorer.network.size_multiple
    unit = -(-SIDE // multiple) * multiple
    sizes = [(unit, 2 * unit), (2 * unit, unit), (3 * unit, 2 * unit)]
    model, lines = (
        _for_any_size(restorer, sizes[-1]),
        [f"sides: any{f' multiples of {multiple}' if multiple > 1 else ''}"],
    )
    if model is None:
        side = -(-FIXED_SIDE // multiple) * multiple
        sizes = [(side, side)]
        model = to_onnx(restorer, RestoringGraph(restorer), inputs_of(restorer, sizes[0]))
        lines = [f"sides: {side} x {side} alone, as this network's graph cannot be made for any"]
    with staged(path) as file:
        write_atomically(file, model)
        run = running(file.read_bytes())
        found = max(difference(restorer, run, size, NOISE) for size in sizes)
        check_difference(found, path)
    count = "3 sizes" if len(sizes) == 3 else "this size"
    return [*lines, f"verified in onnxruntime: largest difference from torch {found:.1e} at {count}"]


def check_packages() -> None:
    """Raises UserError where a package that is needed for ONNX is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{error.name}, which writes and runs ONNX, is missing; pip install 'restore[export]'"
        ) from None


def inputs_of(restorer: Restorer, size: Size) -> dict[str, Tensor]:
    """Inputs of RestoringGraph by their names, as an example."""
    inputs = {"input": torch.zeros(1, restorer.layout.channels, *size)}
    return inputs | (NOISE._asdict() if restorer.chain.conditioning else {})


def to_onnx(restorer: Restorer, graph: nn.Module, inputs: Mapping[str, Tensor], multiple: int | None = None) -> bytes:
    """The content of an ONNX file of the graph, weights included.

    inputs    of the graph, the image first, as an example
    multiple  the graph is for images whose sides are any multiples of this [px]; None: of the example's size alone
    """
    import onnx

    sides = {axis: multiple * torch.export.Dim(name) for axis, name in ((2, "h"), (3, "w"))} if multiple else {}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        program = torch.onnx.export(
            graph.eval(),
            tuple(inputs.values()),
            dynamo=True,
            input_names=list(inputs),
            output_names=["output"],
            dynamic_shapes=(sides, *({} for _ in range(len(inputs) - 1))),
            verbose=False,
        )
    assert program is not None, "given where dynamo is true"
    model = program.model_proto
    for node in (*model.graph.node, *(node for function in model.functions for node in function.node)):
        del node.metadata_props[:]  # file names and lines of the code that it came from
    size = next(iter(inputs.values())).shape[-2:]
    onnx.helper.set_model_props(model, _metadata(restorer, "any" if multiple else f"{size[0]}x{size[1]}"))
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _for_any_size(restorer: Restorer, size: Size) -> bytes | None:
    """The graph for images of any size; None where the network does not allow one."""
    import onnx

    try:
        content = to_onnx(restorer, RestoringGraph(restorer), inputs_of(restorer, size), restorer.network.size_multiple)
    except torch.onnx.OnnxExporterError:
        return None
    sides = onnx.load_from_string(content).graph.input[0].type.tensor_type.shape.dim[2:]
    return content if all(side.dim_param for side in sides) else None


def _metadata(restorer: Restorer, sizes: str) -> dict[str, str]:
    return {
        "layout": restorer.layout.name,
        "planes": ", ".join(restorer.layout.planes),
        "scale": str(restorer.scale),
        "sizes": sizes,
        "size_multiple": str(restorer.network.size_multiple),
        "information": json.dumps(restorer.information.data),
    }


def running(model: bytes) -> Run:
    """Runs the content of an ONNX file in onnxruntime, on the CPU."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3  # errors alone
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        (output,) = session.run(["output"], {name: values.numpy() for name, values in inputs.items()})
        return torch.from_numpy(output)

    return run


def difference(restorer: Restorer, run: Run, size: Size, noise: NoiseProfile | None) -> float:
    """The largest difference between what a file and the Restorer make of an example of this size, as a share of the
    output where it is above 1.

    noise  of the image, for a model that has to know it
    """
    image = example(restorer.layout, size)
    expected = restorer(image, noise, max(size), overlap=0)
    told = noise._asdict() if noise and restorer.chain.conditioning else {}
    restored = run({"input": image[None], **told})[0]
    return ((restored - expected).abs().max() / expected.abs().max().clamp(min=1)).item()


def check_difference(found: float, path: Path) -> None:
    """Raises UserError where a file gives another output than the model."""
    if not found <= TOLERANCE:  # also where it is not a number
        raise UserError(
            f"{printable(path)}: not written, as its output differs from torch's by {found:.1e}, and at most "
            f"{TOLERANCE:.0e} is allowed; take a model whose weights are finite and of ordinary size"
        )
