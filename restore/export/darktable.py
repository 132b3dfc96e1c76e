"""Writes a model as a package of the raw developer darktable (.dtmodel), and proves it by running what is read back.

Source: darktable 5.6 (github.com/darktable-org/darktable), src/common/ai_models.c for the package, and for the tasks
src/common/ai/restore_raw_bayer.c (rawdenoise) and restore_rgb.c (denoise, upscale). A package is a ZIP archive with one
folder, whose name is the model's id; in it are config.json and the models as ONNX.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from options.errors import UserError
from restore.export.card import Card
from restore.export.example import example
from restore.export.graph import RestoringGraph
from restore.export.noise import NoiseEstimate
from restore.export.onnx_model import check_difference, check_packages, difference, running, to_onnx
from restore.files.atomic import staged, write_atomically
from restore.inference.restorer import Restorer
from transforms import NoiseProfile

TILE_UNIT = 64
"""Tiles are multiples of this, and the steps between them, a TILE_UNIT less, are too [px of the network's input]: then
the windows and the halvings of a network lie on the same pixels in each tile."""


class Task(NamedTuple):
    """What darktable uses a model for."""

    name: str
    stem: str
    """Of the model's file in the package."""
    tile: int
    """Side of a tile where none is asked for [px of the network's input]."""
    least_tile: int
    """Below it darktable's tiles do not join."""


RAW_DENOISE = Task("rawdenoise", "model_bayer", 512, 128)
DENOISE = Task("denoise", "model", 512, 192)
UPSCALE = {2: Task("upscale", "model_x2", 512, 128), 4: Task("upscale", "model_x4", 256, 128)}
BAYER = {
    "input_kind": "bayer_v1",
    "bayer_orientation": "force_rggb",
    "edge_pad": "mirror_cropped",
    "wb_norm": "none",
    "output_scale": "absolute",
}
"""How darktable prepares a raw tile and uses the result: planes R, G1, G2, B without white balance, and no gain that
would match the means of four planes to those of three."""


class FixedNoise(nn.Module):
    """The same noise for every tile, in place of NoiseEstimate."""

    shot: Tensor
    read: Tensor

    def __init__(self, noise: NoiseProfile):
        super().__init__()
        self.register_buffer("shot", noise.shot)
        self.register_buffer("read", noise.read)

    def forward(self, tile: Tensor) -> tuple[Tensor, Tensor]:
        return self.shot, self.read


class DarktableGraph(nn.Module):
    """Restores a tile of packed raw as darktable asks for it: (1, 4, T, T) -> camera RGB (1, 3, 2 T, 2 T).

    noise  gives shot and read of a tile, for a model that has to know them; None for others
    darktable takes from each site of the mosaic the plane of its colour alone. So R and B may fill their cells, and the
    greens at the sites of R and B, which nobody reads, are the mean of both.
    """

    def __init__(self, restorer: Restorer, noise: nn.Module | None):
        super().__init__()
        self.restoring = RestoringGraph(restorer)
        self.noise = noise

    def forward(self, tile: Tensor) -> Tensor:
        restored = self.restoring(tile, *self.noise(tile)) if self.noise else self.restoring(tile)
        red, green1, green2, blue = restored.split(1, dim=1)
        green = (green1 + green2) / 2
        sites = [red, red, red, red, green, green1, green2, green, blue, blue, blue, blue]
        return functional.pixel_shuffle(torch.cat(sites, dim=1), 2)


def write_darktable(
    restorer: Restorer, path: Path, card: Card, tile: int | None = None, noise: tuple[float, float] | None = None
) -> list[str]:
    """Writes the model as a .dtmodel, which replaces one of this name; returns lines about it for the user.

    A raw model becomes one for raw denoising, another one for denoising or enlarging developed pictures.
    card   what darktable shows of the model
    tile   side of the tiles that darktable cuts images into [px of the network's input]; None: the task's
    noise  (shot, read) of every image, of a model that has to know it; None: estimated in each tile
    The model's id is the file's name without its suffix. Raises UserError for what darktable does not run, and for a
    package whose output is not the model's, which is not kept.
    """
    check_packages()
    task = _task(restorer)
    side = _tile(restorer, task, tile)
    told, lines = _noise(restorer, noise)
    graph = DarktableGraph(restorer, told) if restorer.layout.raw else RestoringGraph(restorer)
    model = to_onnx(restorer, graph, {"input": torch.zeros(1, restorer.layout.channels, side, side)})
    config = _config(restorer, path.stem, task, side, card)
    with staged(path) as file:
        write_atomically(file, _package(config, task.stem, model))
        found = _difference(restorer, told, read_package(file)[1][f"{task.stem}.onnx"], side)
        check_difference(found, path)
    return [
        f'darktable\'s task: {task.name}, "{config["name"]}", in tiles of {side} x {side}',
        *lines,
        f"verified in onnxruntime: largest difference from torch {found:.1e} in a tile",
    ]


def _task(restorer: Restorer) -> Task:
    scale = restorer.scale
    if restorer.layout.raw and scale == 1:
        return RAW_DENOISE
    if restorer.layout.raw:
        raise UserError(
            f"{restorer.path} enlarges mosaics {scale} times, and darktable's raw denoising keeps their size; "
            f"take a model of scale 1"
        )
    if scale > 1 and scale not in UPSCALE:
        raise UserError(f"{restorer.path} enlarges {scale} times, and darktable 2 or 4 times; take another model")
    return UPSCALE[scale] if scale > 1 else DENOISE


def _tile(restorer: Restorer, task: Task, tile: int | None) -> int:
    multiple = restorer.network.size_multiple
    side = task.tile if tile is None else tile
    if side < task.least_tile or side % TILE_UNIT or side % multiple:
        unit = max(multiple, TILE_UNIT)
        raise UserError(
            f"tile: {side} given; give a multiple of {unit} from {max(unit, task.least_tile)} on, such as "
            f"{-(-512 // unit) * unit}"
        )
    return side


def _noise(restorer: Restorer, noise: tuple[float, float] | None) -> tuple[nn.Module | None, list[str]]:
    """What tells the network the noise, and a line about it."""
    if not restorer.chain.conditioning:
        if noise:
            raise UserError(f"noise: given, and {restorer.path} does not use it; leave it out")
        return None, []
    if noise is None:
        return NoiseEstimate(), ["noise: estimated in each tile, as darktable does not tell it"]
    shot, read = noise
    if not (0 <= shot <= 1 and 0 <= read <= 1):
        raise UserError(f"noise: {shot} {read} given; give shot and read as in the DNG's NoiseProfile, from 0 to 1")
    profile = NoiseProfile(torch.full((4,), shot), torch.full((4,), read))
    return FixedNoise(profile), [f"noise: shot {shot:g} and read {read:g} of every image"]


def _config(restorer: Restorer, name: str, task: Task, tile: int, card: Card) -> dict[str, Any]:
    attributes: dict[str, Any] = {"input_sizes": [tile]}
    if task is RAW_DENOISE:
        # Since 5.6 by the file's name; builds before it, and the documentation, look below "variants".
        bayer = BAYER | {"input_sizes": [tile]}
        attributes |= {task.stem: bayer, "variants": {"bayer": {"onnx": f"{task.stem}.onnx"} | bayer}}
    elif task is not DENOISE:
        attributes[task.stem] = {"input_sizes": [tile]}
    return {
        "id": name,
        "name": restorer.information.data.get("name") or name,
        "description": card.description,
        "task": task.name,
        "arch": restorer.information.generator.class_name.lower(),
        "backend": "onnx",
        "version": "1.0",
        "tiling": True,
        "num_inputs": 1,
        "coreml_format": "mlprogram",
        "attributes": attributes,
        "model_card": {
            "long_description": card.description,
            "scope": {"rawdenoise": "raw image denoising", "denoise": "image restoration"}.get(task.name, "enlarging"),
            "author": card.author,
            **({"source": card.source} if card.source else {}),
            "license": card.licence,
            "training_data": card.training_data,
            "training_data_license": card.training_data_licence,
        },
    }


def _package(config: dict[str, Any], stem: str, model: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in {"config.json": json.dumps(config, indent=2).encode(), f"{stem}.onnx": model}.items():
            archive.writestr(zipfile.ZipInfo(f"{config['id']}/{name}"), part, zipfile.ZIP_DEFLATED)  # without a date
    return content.getvalue()


def read_package(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """config.json, and the contents of the ONNX files by their names, of a package, which must be sound."""
    with zipfile.ZipFile(path) as archive:
        parts = [Path(name).parts for name in archive.namelist()]
        content = {name: archive.read(f"{folder}/{name}") for folder, name in parts}
    config = json.loads(content.pop("config.json"))
    assert {folder for folder, _ in parts} == {config["id"]}, parts
    return config, content


def _difference(restorer: Restorer, told: nn.Module | None, model: bytes, side: int) -> float:
    run, size = running(model), (side, side)
    if not restorer.layout.raw:
        return difference(restorer, run, size, None)

    def packed(inputs: Mapping[str, Tensor]) -> Tensor:
        """What darktable takes from the model's output, as packed raw."""
        red, green, blue = run({"input": inputs["input"]})[0]
        return torch.stack([red[::2, ::2], green[::2, 1::2], green[1::2, ::2], blue[1::2, 1::2]])[None]

    return difference(
        restorer, packed, size, NoiseProfile(*told(example(restorer.layout, size)[None])) if told else None
    )
