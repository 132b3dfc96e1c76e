"""Models and pictures that tests of restoring write."""

import json

import numpy as np
import torch

from restore.files.images import write_image
from restore.networks import build_generator


def identity_model(path, chain=(), n_channels=3, scale=1, **information):
    """Writes a model that returns what it gets, enlarged, with a hand-written information file; returns its path."""
    section = {"class_name": "UNet", "n_channels": n_channels, "widths": [4, 8], "scale": scale}
    network = build_generator(section)
    if scale == 1:  # else the tail begins with weights of 0
        torch.nn.init.zeros_(network.tail.weight)
        torch.nn.init.zeros_(network.tail.bias)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), path)
    path.with_suffix(".json").write_text(
        json.dumps({"generator": section, "transforms_test": list(chain), **information})
    )
    return path


def pictures(folder, count=2, dtype=np.uint8):
    """Writes pictures of noise, 56 x 40 pixels, named 0.png, 1.png, ...; returns their folder."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        values = rng.integers(0, np.iinfo(dtype).max, (40, 56, 3), endpoint=True)
        write_image(folder / f"{number}.png", values.astype(dtype))
    return folder
