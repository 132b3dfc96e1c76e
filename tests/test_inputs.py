"""What goes into a model: photographs that its chain degrades, and pictures as they are, of any scale."""

from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest
from restoring_files import pictures

from options.errors import UserError
from restore.files.images import read_image, write_image
from restore.inference import degradation
from restore.inference.inputs import LeftOut, Way
from restore.inference.pictures import Photographs, Pictures, RestoredPicture
from transforms import SRGB, Pipeline
from transforms.base import Degradation
from transforms.sample import ToTensor2


class Shrink(Degradation):
    """Keeps every second row and column."""

    class_name: Literal["Shrink"] = "Shrink"

    @property
    def scale(self):
        return 2

    def degrade(self, image, rng):
        return image[::2, ::2]


def model(scale, *steps):
    information = SimpleNamespace(note=None)
    chain = Pipeline(steps)
    return SimpleNamespace(path=Path("run/best.pth"), chain=chain, layout=SRGB, scale=scale, information=information)


def test_photographs_of_a_3_channel_model_are_degraded_by_its_own_chain(workplace):
    folder = pictures(workplace / "in")
    inputs = Photographs(folder, [Path("0.png")], model(2, Shrink(), ToTensor2()), Way())
    opened = inputs.open(Path("0.png"))
    assert opened.size == (56, 40)
    assert opened.degraded.shape == (3, 20, 28)
    assert opened.clean.shape == (3, 40, 56)
    RestoredPicture(opened, opened.clean).write({"png": workplace / "clean.png"})
    assert np.array_equal(read_image("clean.png"), read_image(folder / "0.png"))


def test_a_chain_of_another_scale_than_the_network_is_refused():
    message = r"best\.json: transforms_test: makes clean images 2 times as large .* generator enlarges 1 times"
    with pytest.raises(UserError, match=message):
        degradation.Degradation(model(1, Shrink(), ToTensor2()))


def test_an_iso_speed_is_refused_by_a_chain_that_has_none():
    with pytest.raises(UserError, match=r"^iso: 800 given; no transform of the model's chain goes by an ISO speed"):
        degradation.Degradation(model(2, Shrink(), ToTensor2()), iso=800)


def test_the_target_of_a_model_that_enlarges_is_so_much_larger(workplace):
    folder, target = pictures(workplace / "in"), pictures(workplace / "target")
    write_image(target / "0.png", np.zeros((80, 112, 3), np.uint8))
    inputs = Pictures(folder, [Path("0.png"), Path("1.png")], model(2), Way(), target)
    assert inputs.notes == ("restored at 2 times each side: the model enlarges",)
    opened = inputs.open(Path("0.png"))
    assert (opened.degraded.shape, opened.clean.shape) == ((3, 40, 56), (3, 80, 112))
    message = r"in/1\.png: 56 x 40 pixels, but .*target/1\.png has 56 x 40; .* must be 2 times as wide and as high"
    with pytest.raises(LeftOut, match=message):
        inputs.open(Path("1.png"))
