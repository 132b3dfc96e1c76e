"""The option file: strict, documented, and every mistake reported at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import command

from options.errors import UserError
from restore.data.sources import Folder
from restore.training.option_file import TrainingOptions, json_schema, read_option_file

ROOT = Path(__file__).parents[1]
OPTION_FILES = sorted(path for path in (ROOT / "options").glob("*.json") if path.name != "schema.json")


TO_RAW = {"class_name": "RgbToRawTransform", "iso": 12500, "noise_model": "dng", "wb_gains_mode": "normal"}
PLAIN = {
    "name": "plain",
    "generator": {"class_name": "UNet", "n_channels": 4},
    "losses": {"pixel": {"class_name": "L1", "weight": 1}},
    "training_path": ["training_data/sample/train"],
    "testing_path": ["training_data/sample/val"],
    "transforms_train": [
        {"class_name": "RandomCrop", "h": 128, "w": 128},
        {"class_name": "RandomFlip"},
        {"class_name": "RandomRotate"},
        TO_RAW,
        {"class_name": "ToTensor2"},
    ],
    "transforms_test": [{"class_name": "CenterCrop", "h": 256, "w": 256}, TO_RAW, {"class_name": "ToTensor2"}],
    "batch_size": 8,
    "crops_per_photograph": 401,
    "total_epochs": 12,
    "total_iterations": 3000,
    "validate_every": 250,
    "optimizer": {"class_name": "Adam", "initial_learning_rate": 0.001},
    "scheduler": {"class_name": "ReduceLROnPlateau", "factor": 0.5, "patience": 1, "min_lr": 1e-05},
}
"""A raw denoiser without anything that tells it the noise."""


@pytest.fixture
def plain(tmp_path):
    """Writes a changed copy of these options and returns its path."""

    def write(**changes):
        path = tmp_path / "options.json"
        path.write_text(json.dumps(PLAIN | changes))
        return path

    return write


def mistakes_of(path, *overrides):
    with pytest.raises(UserError) as caught:
        read_option_file(path, list(overrides))
    return str(caught.value).splitlines()


@pytest.mark.parametrize("path", OPTION_FILES, ids=lambda path: path.name)
def test_every_option_file_shipped_is_valid_and_survives_being_resolved(path):
    options = read_option_file(path)
    again = TrainingOptions.model_validate_json(options.model_dump_json(by_alias=True))
    assert again.model_dump() == options.model_dump()


def test_schema_documents_every_key_and_refuses_unknown_ones():
    schema = json_schema()
    for section in [schema, *schema["$defs"].values()]:
        assert section["additionalProperties"] is False
        for name, field in section["properties"].items():
            assert name in ("class_name", "$schema") or field.get("description"), f"{section['title']}.{name}"


def test_all_mistakes_are_reported_at_once_each_with_place_value_and_remedy(plain):
    path = plain(
        generator={"class_name": "UNet", "n_chanels": 4},
        losses={"pixel": {"class_name": "L1", "weight": -2}, "second": {"class_name": "Charbonier"}},
        optimizer={"class_name": "Adam", "learning_rate": 1e-3},
        batch_size="eight",
        amp="BF16",
    )
    lines = mistakes_of(path)
    for expected in (
        'generator.n_chanels: unknown key (given 4); did you mean "n_channels"?',
        "generator.n_channels: missing",
        "losses.pixel.weight: -2 given",
        'losses.second.class_name: "Charbonier" is unknown; did you mean "Charbonnier"?',
        "optimizer.learning_rate: unknown key (given 0.001)",
        'batch_size: "eight" given',
        'amp: "BF16" is not a choice; did you mean "bf16"?',
    ):
        assert any(f"{path}: {expected}" in line for line in lines), (expected, lines)
    assert len(lines) == 7


@pytest.mark.parametrize("key", ["transforms_train", "transforms_test"])
def test_unknown_key_inside_a_transform_is_a_mistake(plain, key):
    path = plain(**{key: [{"class_name": "RandomCrop", "h": 8, "w": 8, "size": 3}, {"class_name": "ToTensor2"}]})
    assert f"{path}: {key}.0.size: unknown key (given 3); known: class_name, h, w" in mistakes_of(path)


def test_text_for_a_number_is_refused_rather_than_converted(plain):
    assert any("total_epochs" in line for line in mistakes_of(plain(total_epochs="30")))


def test_one_folder_given_where_a_list_is_wanted_is_shown_as_a_list(plain):
    path = plain(training_path="photos")
    assert mistakes_of(path) == [f'{path}: training_path: "photos" given; give a list, as ["photos"]']


def test_a_key_that_stands_twice_is_refused_since_one_loss_would_replace_the_other(tmp_path):
    path = tmp_path / "options.json"
    path.write_text('{"losses": {"pixel": {"class_name": "L1"}, "pixel": {"class_name": "L2"}}}')
    assert mistakes_of(path) == [f'{path}: the key "pixel" appears twice in one section; keep one']


def test_faulty_json_is_reported_with_its_line(tmp_path):
    path = tmp_path / "options.json"
    path.write_text('{\n  "name": "x",\n  "seed": 0,,\n}')
    (line,) = mistakes_of(path)
    assert line.startswith(f"{path}: line 3, column ")


def test_slashes_in_a_path_are_text_and_no_comment(plain):
    options = read_option_file(plain(training_path=["s3://bucket//photos"]))
    assert options.training_path == [Folder(path="s3://bucket//photos")]


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b"[]", b"3"])
def test_what_is_no_option_file_gets_lines_that_name_it(tmp_path, content):
    path = tmp_path / "options.json"
    if content is not None:
        path.write_bytes(content)
    assert all(line.startswith(f"{path}: ") for line in mistakes_of(path))


def test_channels_that_do_not_fit_the_transforms_are_a_mistake_with_its_remedy(plain):
    path = plain(generator={"class_name": "UNet", "n_channels": 3})
    assert mistakes_of(path) == [
        f"{path}: {key}: gives 4 channels, but generator.n_channels is 3; set generator.n_channels to 4, "
        f"or remove the RgbToRawTransform"
        for key in ("transforms_train", "transforms_test")
    ]


def test_a_training_chain_that_degrades_nothing_is_a_mistake(plain):
    chain = [{"class_name": "RandomCrop", "h": 32, "w": 32}, {"class_name": "ToTensor2"}]
    path = plain(generator={"class_name": "UNet", "n_channels": 3}, transforms_train=chain, transforms_test=chain)
    assert mistakes_of(path) == [
        f"{path}: {key}: nothing degrades the image, so there is nothing to learn; add a degradation, such as "
        f"PictureNoise, or train on pairs"
        for key in ("transforms_train", "transforms_test")
    ]


def test_crops_that_make_no_batch_or_are_too_small_to_measure_are_mistakes(plain):
    chain = [{"class_name": "RgbToRawTransform"}, {"class_name": "ToTensor2"}]
    small = {"class_name": "CenterCrop", "h": 20, "w": 64}
    first, second = mistakes_of(plain(transforms_train=chain, transforms_test=[small, *chain]))
    assert "transforms_train: photographs of different sizes cannot form a batch; add a RandomCrop" in first
    assert "transforms_test.0: 20 x 64 given, too small to measure SSIM on; give at least 22 x 22" in second


def test_adversarial_loss_without_a_discriminator_is_a_mistake(plain):
    path = plain(losses={"pixel": {"class_name": "L1"}, "gan": {"class_name": "wgan"}})
    (line,) = mistakes_of(path)
    assert "losses.gan: wgan needs a discriminator" in line


def test_overrides_reach_keys_list_items_and_new_terms(plain):
    options = read_option_file(
        plain(),
        [
            "batch_size=3",
            "optimizer.initial_learning_rate=2e-4",
            "transforms_train.0.h=64",
            "transforms_train.0.w=64",
            "losses.second.class_name=L2",
            "name=other words",
            "training_path.0=elsewhere",
        ],
    )
    assert options.batch_size == 3
    assert options.optimizer.initial_learning_rate == 2e-4
    assert options.transforms_train[0].h == 64
    assert options.losses["second"].class_name == "L2"
    assert options.name == "other words"
    assert options.training_path == [Folder(path="elsewhere")]


def test_overrides_are_validated_like_the_file(plain):
    path = plain()
    assert mistakes_of(path, "batch_sise=3") == [
        f'{path}: batch_sise: unknown key (given 3); did you mean "batch_size"?'
    ]
    assert mistakes_of(path, "transforms_train.9.h=3", "name.x=3", "seed") == [
        "--set transforms_train.9.h=3: transforms_train is a list: name an item by its number, 0 to 4",
        '--set name.x=3: name is "plain", which holds no keys',
        "--set seed: give it as key=value or section.key=value",
    ]


def test_an_override_is_data_and_never_run(plain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_option_file(plain(), ["name=open('made', 'w')"]).name == "open('made', 'w')"
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("module", "flag"),
    [("restore.train", "--resume"), ("restore.export", "--licence"), ("restore.chart", "--contrast")],
)
def test_help_answers_without_loading_torch(module, flag):
    code = f"""
import runpy, sys
sys.argv = ["x", "--help"]
try:
    runpy.run_module("{module}", run_name="__main__")
except SystemExit:
    print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")
    assert flag in done.stdout


def test_a_users_mistake_exits_with_2_and_no_traceback(plain):
    path = plain(batch_size=0)
    process = command("restore.train", "-opt", path)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert err == f"error: {path}: batch_size: 0 given; input should be greater than 0\n"


RAW_CHAIN = [
    {"class_name": "RandomCrop", "h": 32, "w": 32},
    {"class_name": "RgbToRawTransform"},
    {"class_name": "ToTensor2"},
]


def test_contradictions_between_sections_that_are_whole_are_reported_beside_the_mistakes_of_others(plain):
    path = plain(
        batch_size=0,
        transforms_train=[RAW_CHAIN[0], RAW_CHAIN[2]],
        transforms_test=[{"class_name": "CenterCrop", "h": 20, "w": "64"}],
        losses={"gan": {"class_name": "wgan"}},
        optimizer={"class_name": "Adam", "initial_learning_rate": 1e-6},
    )
    assert mistakes_of(path) == [
        f'{path}: transforms_test.0.w: "64" given; input should be a valid integer',
        f"{path}: batch_size: 0 given; input should be greater than 0",
        f"{path}: transforms_train: gives 3 channels, but generator.n_channels is 4; "
        "set generator.n_channels to 3, or add an RgbToRawTransform",
        f'{path}: losses.gan: wgan needs a discriminator; add "discriminator": {{"class_name": "PatchDiscriminator"}}',
        f"{path}: scheduler.min_lr: 1e-05 is not below optimizer.initial_learning_rate, 1e-06, so the learning rate "
        f"would never fall; give a smaller one",
    ]


def test_batches_that_nothing_makes_ahead_are_a_mistake(plain):
    (line,) = mistakes_of(plain(workers=0, prefetch=4))
    assert line.endswith("prefetch: 4 given, but workers is 0, so that no batch is made ahead; leave it out")


def test_what_needs_a_faulty_section_is_not_asked(plain):
    path = plain(
        generator={"class_name": "UNet", "n_channels": "3"},
        discriminator={"class_name": "PatchDiscriminator", "width": 0},
        losses={"gan": {"class_name": "wgan"}, "other": {"class_name": "gan"}},
    )
    first, second, third = mistakes_of(path)
    assert "generator.n_channels: " in first
    assert "discriminator.width: " in second
    assert "losses: gan, other are adversarial, and there is one discriminator" in third


def test_a_chains_second_contradiction_is_not_hidden_by_its_first(plain):
    lines = mistakes_of(plain(generator={"class_name": "UNet", "n_channels": 3, "in_channels": 8}))
    assert len(lines) == 4
    assert sum("generator.in_channels: 8 given, but transforms_" in line for line in lines) == 2
    assert sum("gives 4 channels, but generator.n_channels is 3" in line for line in lines) == 2


@pytest.mark.parametrize("model", ["gaussian", "unprocessing", {"class_name": "dng", "shot": 0.01, "read": 1e-5}])
def test_an_iso_speed_that_makes_no_difference_is_a_mistake(plain, model):
    noisy = {"class_name": "RgbToRawTransform", "iso": [100, 3200], "noise_model": model}
    (line,) = mistakes_of(plain(transforms_train=[RAW_CHAIN[0], noisy, RAW_CHAIN[2]]))
    assert "transforms_train.1.iso: [100, 3200] given, but the noise of" in line


def test_a_run_with_noise_of_one_strength_is_read_again_from_its_resolved_options(plain, tmp_path):
    noisy = {"class_name": "RgbToRawTransform", "noise_model": "gaussian"}
    options = read_option_file(plain(transforms_train=[RAW_CHAIN[0], noisy, RAW_CHAIN[2]]))
    (tmp_path / "resolved.json").write_text(options.model_dump_json(by_alias=True))
    assert read_option_file(tmp_path / "resolved.json").model_dump() == options.model_dump()


@pytest.mark.parametrize("losses", [{}, {"gan": {"class_name": "wgan", "weight": 0}}])
def test_a_discriminator_that_no_loss_needs_is_a_mistake(plain, losses):
    path = plain(discriminator={"class_name": "PatchDiscriminator"}, losses={"pixel": {"class_name": "L1"}, **losses})
    (line,) = mistakes_of(path)
    assert line.startswith(f"{path}: discriminator: given, but losses has no adversarial term with a weight above 0;")


UNET, SCUNET = {"class_name": "UNet", "n_channels": 4}, {"class_name": "SCUNet", "n_channels": 4}
BLURRED = {"class_name": "Downsample", "downsampling_factor": 2, "sigma": 2**31}
PROFILE = {"A": 1, "B": 0, "C": 1e6, "D": 0, "max_analog_iso": 100}


@pytest.mark.parametrize(
    ("place", "changes"),
    [
        ("seed", {"seed": 2**63}),
        ("batch_size", {"batch_size": 10**9}),
        ("workers", {"workers": 10**6}),
        ("prefetch", {"prefetch": 10**6}),
        ("total_epochs", {"total_epochs": 10**30}),
        ("generator.n_channels", {"generator": {"class_name": "UNet", "n_channels": 10**9}}),
        ("generator.widths.0", {"generator": {**UNET, "widths": [200_000, 16]}}),
        ("generator.widths", {"generator": {**UNET, "widths": [1] * 11}}),
        ("generator.depth", {"generator": {**UNET, "depth": 10**9}}),
        ("generator.config.1", {"generator": {**SCUNET, "config": [1, 2**31, 1, 1, 1, 1, 1]}}),
        ("generator.dim", {"generator": {**SCUNET, "dim": 2048}}),
        ("discriminator.width", {"discriminator": {"class_name": "PatchDiscriminator", "width": 10**19}}),
        ("discriminator.n_layers", {"discriminator": {"class_name": "PatchDiscriminator", "n_layers": 99}}),
        ("losses.pixel.weight", {"losses": {"pixel": {"class_name": "L1", "weight": 1e308}}}),
        ("optimizer.initial_learning_rate", {"optimizer": {"class_name": "Adam", "initial_learning_rate": 1e308}}),
        ("optimizer.weight_decay", {"optimizer": {"class_name": "AdamW", "weight_decay": 2**64}}),
        ("transforms_train.0.sigma", {"transforms_train": [BLURRED, *RAW_CHAIN]}),
        (
            "transforms_train.0.noise_model.iso_profile.C",
            {
                "transforms_train": [
                    {"class_name": "RgbToRawTransform", "noise_model": {"class_name": "dng", "iso_profile": PROFILE}}
                ]
            },
        ),
    ],
)
def test_a_number_that_would_take_all_memory_or_make_an_absurd_run_is_a_mistake(plain, place, changes):
    path = plain(**changes)
    lines = [line for line in mistakes_of(path) if line.startswith(f"{path}: {place}: ")]
    assert len(lines) == 1
    assert "given; " in lines[0]
    assert len(lines[0].removeprefix(str(path))) < 200


@pytest.mark.parametrize(
    "entry",
    ["", "x" * 300, "x/" * 3000, "a\0b", {"class_name": "RAWIR", "path": ""}, {"degraded": "x", "clean": "y" * 300}],
)
def test_a_path_that_no_file_can_have_is_a_mistake(plain, entry):
    path = plain(training_path=[entry])
    (line,) = mistakes_of(path)
    assert line.startswith(f"{path}: training_path.0")
    assert len(line.removeprefix(str(path))) < 250


@pytest.mark.parametrize("name", ["", "x" * 61, "a\0b", "a\nb", "a/b", " a"])
def test_a_name_that_cannot_name_files_is_a_mistake(plain, name):
    path = plain(name=name)
    (line,) = mistakes_of(path)
    assert line.startswith(f"{path}: name: ")


def test_a_loss_named_as_their_sum_is_a_mistake(plain):
    path = plain(losses={"total": {"class_name": "L1"}})
    assert mistakes_of(path) == [
        f"{path}: losses.total: the weighted sum of all terms is called so; give the term another name"
    ]


def test_long_values_and_keys_are_shortened_in_messages(plain):
    path = plain(losses={"n" * 300: {"class_name": "c" * 300}, "pixel": {"class_name": "L1", "k" * 300: "v" * 300}})
    lines = mistakes_of(path)
    assert len(lines) == 2
    assert all(letter * 61 not in line for line in lines for letter in "nckv")


def test_crops_too_small_for_a_loss_or_the_discriminator_are_a_mistake_of_the_file(plain):
    crop = {"class_name": "RandomCrop", "h": 40, "w": 40}
    path = plain(
        transforms_train=[crop, *RAW_CHAIN[1:]],
        losses={"pixel": {"class_name": "L1"}, "gan": {"class_name": "gan"}, "fine": {"class_name": "ms_ssim"}},
        discriminator={"class_name": "PatchDiscriminator"},
    )
    lines = mistakes_of(path)
    assert any(
        "transforms_train.0: 40 x 40 given, too small to compute losses.fine (ms_ssim) on; give at" in line
        for line in lines
    )
    assert any(
        "transforms_train.0: 40 x 40 given, too small to show to PatchDiscriminator; give at least 48" in line
        for line in lines
    )


def test_a_generator_of_another_scale_than_the_chain_is_a_mistake_of_the_file(plain):
    path = plain(generator={"class_name": "UNet", "n_channels": 4, "scale": 2})
    lines = mistakes_of(path)
    assert [line.split(": ", 1)[1] for line in lines] == [
        f"{chain}: makes clean images 1 times as large as degraded ones, but generator.scale is 2; give both the same"
        for chain in ("transforms_train", "transforms_test")
    ]
