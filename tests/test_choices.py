"""Tables of sections told apart by class_name: what they take, and how code elsewhere adds to them."""

import json
from typing import Annotated, ClassVar, Literal

import pytest
import torch
from torch import nn

import losses
import options.base
import transforms
from losses import LOSSES
from losses.term import TermOptions
from options.base import Options, parse
from options.choices import NAME_ALONE, Choices
from options.errors import UserError
from restore.data.sources import SOURCES, Folder, PairedFolders, PathOptions
from restore.networks import DISCRIMINATORS, GENERATORS, build_generator
from restore.tracking import TRACKERS
from restore.training.optimizers import OPTIMIZERS
from restore.training.option_file import json_schema, read_option_file
from transforms import TRANSFORMS
from transforms.base import Transform
from transforms.noise import NOISE_MODELS


class Shape(Options):
    class_name: str


class Circle(Shape):
    class_name: Literal["circle"] = "circle"
    radius: float = 1
    centre: tuple[float, float] = (0, 0)


class Text(Shape):
    class_name: Literal["text"] = "text"
    content: str


class Square(Shape):
    class_name: Literal["square"] = "square"
    side: float


def drawing(*kinds, **more):
    """A table, and an option class with one of its sections and a list of them."""
    table = Choices(Shape, *kinds, **more)

    class Drawing(Options):
        frame: Annotated[Shape, table]
        shapes: tuple[Annotated[Shape, table], ...] = ()

    return table, Drawing


def mistakes_of(kind, data):
    with pytest.raises(UserError) as caught:
        parse(kind, data)
    return str(caught.value).splitlines()


@pytest.fixture
def added():
    """Adds a class to a table for the time of a test."""
    tables = []

    def add(table, kind):
        table.add(kind)
        tables.append((table, kind))

    yield add
    for table, kind in tables:
        del table.kinds[kind.model_fields["class_name"].default]


def test_the_class_name_chooses_the_class_and_its_lists_become_tuples():
    _, kind = drawing(Circle, Text)
    made = parse(kind, {"frame": {"class_name": "circle", "centre": [1, 2]}, "shapes": [{"class_name": "circle"}]})
    assert made.frame == Circle(centre=(1, 2))
    assert made.shapes == (Circle(),)


def test_a_finished_section_is_taken_as_it_is():
    _, kind = drawing(Circle)
    circle = Circle(radius=3)
    made = parse(kind, {"frame": circle, "shapes": [circle, {"class_name": "circle"}]})
    assert made.frame is circle
    assert made.shapes[0] is circle


def test_a_class_added_later_is_known_to_option_classes_that_are_there_already():
    table, kind = drawing(Circle)
    assert "square" in mistakes_of(kind, {"frame": {"class_name": "square", "side": 2}})[0]
    table.add(Square)
    assert parse(kind, {"frame": {"class_name": "square", "side": 2}}).frame == Square(side=2)
    assert "Square" in kind.model_json_schema()["$defs"]


def test_each_mistake_is_one_line_with_its_place_and_what_would_do():
    _, kind = drawing(Circle, Text)
    data = {
        "frame": {"class_name": "circle", "radis": 2, "centre": [0, "x"]},
        "shapes": [3, {}, {"class_name": "circel"}, {"class_name": ["circle"]}, {"class_name": "text", "size": 3}],
    }
    assert mistakes_of(kind, data) == [
        'frame.centre.1: "x" given; input should be a valid number',
        'frame.radis: unknown key (given 2); did you mean "radius"?',
        'shapes.0: 3 given; give a section, as {"class_name": ...}',
        "shapes.1.class_name: missing; it says which kind this is",
        'shapes.2.class_name: "circel" is unknown; did you mean "circle"?',
        'shapes.3.class_name: ["circle"] is unknown; did you mean "circle"?',
        "shapes.4.content: missing, and it has no default",
        "shapes.4.size: unknown key (given 3); known: class_name, content",
    ]


def test_a_name_alone_stands_for_a_section_that_needs_no_parameter():
    _, kind = drawing(Circle, Text, shorthand=NAME_ALONE)
    assert parse(kind, {"frame": "circle"}).frame == Circle()
    assert mistakes_of(kind, {"frame": "text"}) == ["frame.content: missing, and it has no default"]
    written, section = kind.model_json_schema()["properties"]["frame"]["anyOf"]
    assert written["const"] == "circle"
    assert len(section["oneOf"]) == 2


class Nameless(Shape):
    pass


class OtherCircle(Shape):
    class_name: Literal["circle"] = "circle"


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (losses.L1, "no choice here; derive it from Shape"),
        (3, "no choice here; derive it from Shape"),
        (Nameless, r'has no name; give it a field class_name: Literal\["Name"\] = "Name"'),
        (OtherCircle, 'the class_name "circle" is taken by Circle; choose another'),
    ],
)
def test_a_class_that_cannot_be_a_choice_is_refused(kind, line):
    table, _ = drawing(Circle)
    with pytest.raises(ValueError, match=line):
        table.add(kind)
    assert list(table.kinds) == ["circle"]


@pytest.mark.parametrize(
    "table", [LOSSES, TRANSFORMS, NOISE_MODELS, GENERATORS, DISCRIMINATORS, OPTIMIZERS, SOURCES, TRACKERS]
)
def test_the_schema_shows_every_choice_of_every_table(table):
    schema = json_schema()["$defs"]
    for name, kind in table.kinds.items():
        assert schema[kind.__name__]["properties"]["class_name"]["const"] == name


class Negative(Transform):
    """A photograph's negative."""

    class_name: Literal["Negative"] = "Negative"

    def __call__(self, image, rng):
        return 255 - image


class Cubic(TermOptions):
    """Mean cube of the difference."""

    family: ClassVar = "pixel"
    class_name: Literal["cubic"] = "cubic"
    scale: float = 1

    def build(self):
        return CubicLoss()


class CubicLoss(nn.Module):
    def forward(self, restored, clean):
        return (restored - clean).abs().pow(3).mean()


def test_an_option_file_uses_a_loss_and_a_transform_that_were_added_from_outside(option_file, added):
    data = json.loads(option_file().read_text())
    chain = [{"class_name": "Negative"}, *data["transforms_train"]]
    path = option_file(losses={"own": {"class_name": "cubic", "scale": 2}}, transforms_train=chain)
    with pytest.raises(UserError, match=r'losses\.own\.class_name: "cubic" is unknown'):
        read_option_file(path)
    added(TRANSFORMS, Negative)
    added(LOSSES, Cubic)
    read = read_option_file(path)
    assert read.transforms_train[0] == Negative()
    assert read.losses["own"] == Cubic(scale=2)
    loss = losses.build(read.losses, n_channels=4)
    values = loss.generator_terms(torch.full((1, 4, 2, 2), 2.0), torch.zeros(1, 4, 2, 2), {})
    assert values["own"] == 8
    schema = json_schema()
    assert schema["$defs"]["Negative"]["required"] == ["class_name"]
    assert "scale" in schema["$defs"]["Cubic"]["properties"]


def test_reading_an_option_file_and_building_its_parts_parses_once(option_file, monkeypatch):
    parsed = []
    adapter = options.base.TypeAdapter

    def counted(kind):
        parsed.append(kind)
        return adapter(kind)

    monkeypatch.setattr(options.base, "TypeAdapter", counted)
    read = read_option_file(option_file())
    train, test = (transforms.build(chain) for chain in (read.transforms_train, read.transforms_test))
    losses.build(read.losses, n_channels=4)
    build_generator(read.generator)
    assert len(parsed) == 1
    assert all(step is section for step, section in zip(train.transforms, read.transforms_train, strict=True))
    assert all(step is section for step, section in zip(test.transforms, read.transforms_test, strict=True))


def test_an_entry_of_a_path_is_a_folder_or_a_pair_of_them_or_a_section_and_is_written_back_so():
    pair = {"class_name": "PairedFolders", "degraded": "noisy", "clean": "clean"}
    folder, pairs, named = parse(
        list[PathOptions],
        ["photos", {"degraded": "noisy", "clean": "clean"}, {"class_name": "Folder", "path": "photos"}],
    )
    assert folder == named == Folder(path="photos")
    assert pairs == PairedFolders(degraded="noisy", clean="clean")
    assert [section.model_dump(mode="json") for section in (folder, pairs)] == ["photos", pair]
    assert str(folder) == "photos"
