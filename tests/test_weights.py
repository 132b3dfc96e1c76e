"""Weights find their place by name, or the user hears which did not; a file is never run."""

import json
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from options.errors import UserError
from restore.networks import build_generator
from restore.networks.weights import load_weights, read_state_dict

SMALL = {"class_name": "UNet", "n_channels": 4, "widths": [4, 8], "depth": 1}


@pytest.fixture
def network():
    torch.manual_seed(1)
    return build_generator(SMALL)


@pytest.fixture
def trained():
    torch.manual_seed(2)
    return build_generator(SMALL).state_dict()


def refusal(action, *arguments, **keywords) -> str:
    """The one line with which an action is refused."""
    with pytest.raises(UserError) as mistake:
        action(*arguments, **keywords)
    assert len(str(mistake.value).splitlines()) == 1
    return str(mistake.value)


def test_a_generator_built_with_weights_has_them(tmp_path, trained):
    torch.save(trained, tmp_path / "model.pth")
    loaded = build_generator(SMALL, tmp_path / "model.pth").state_dict()
    assert all(torch.equal(loaded[name], trained[name]) for name in trained)


@pytest.mark.parametrize("prefix", ["module.", "netG.", "module.netG."])
@pytest.mark.parametrize(
    "key", ["params", "params_ema", "params-ema", "state_dict", "model_state_dict", "model", "net", "the only key"]
)
def test_weights_are_found_inside_the_usual_wrappers(tmp_path, network, trained, key, prefix):
    wrapped = {key: {f"{prefix}{name}": weights for name, weights in trained.items()}}
    wrapped |= {} if key == "the only key" else {"iteration": 7}
    torch.save(wrapped, tmp_path / "model.pth")
    report = load_weights(network, read_state_dict(tmp_path / "model.pth"), "model.pth")
    assert (len(report.matched), report.missing, report.unexpected) == (len(trained), [], [])
    assert str(report) == f"{len(trained)} of {len(trained)} weights loaded"


def test_averaged_weights_are_preferred(tmp_path, trained):
    torch.save({"params": {"tail.bias": torch.zeros(4)}, "params_ema": trained}, tmp_path / "model.pth")
    assert read_state_dict(tmp_path / "model.pth").keys() == trained.keys()


def test_part_of_the_weights_load_by_name_and_the_rest_is_reported(network, trained):
    before = network.state_dict()["tail.bias"].clone()
    # The other way round and incomplete: only names can put these right.
    partial = {name: trained[name] for name in reversed(trained) if name != "tail.bias"} | {"extra": torch.ones(4)}
    report = load_weights(network, partial, "model.pth")
    after = network.state_dict()
    assert report.missing == ["tail.bias"]
    assert report.unexpected == ["extra"]
    assert len(report.matched) == len(trained) - 1
    assert torch.equal(after["tail.bias"], before)
    assert all(torch.equal(after[name], trained[name]) for name in report.matched)
    assert "1 missing in the file (tail.bias); 1 in the file alone (extra)" in str(report)


def test_incomplete_weights_are_refused_where_all_are_needed(network, trained):
    del trained["tail.bias"]
    assert "model.pth: lacks 1 of" in refusal(load_weights, network, trained, "model.pth", complete=True)


def test_weights_of_another_network_are_refused_by_name(network):
    line = refusal(load_weights, network, {"conv.weight": torch.ones(4)}, "model.pth")
    assert line.startswith("model.pth: no name in the file (conv.weight) is one of the network's (")
    assert "down_levels.0.0.weight" in line


def test_other_shapes_are_refused_with_both_named_and_nothing_is_changed(network):
    before = {name: weights.clone() for name, weights in network.state_dict().items()}
    wider = build_generator(SMALL | {"n_channels": 3}).state_dict()
    line = refusal(load_weights, network, wider, "model.pth")
    assert "down_levels.0.0.weight: 4x3x3x3 in the file, 4x4x3x3 here" in line
    assert "tail.bias: 3 in the file, 4 here" in line
    assert all(torch.equal(weights, before[name]) for name, weights in network.state_dict().items())


class Code:
    def __reduce__(self):
        return print, ("this ran",)


def test_a_pickle_that_carries_code_is_refused_and_never_run(tmp_path, capfd):
    torch.save({"weight": Code()}, tmp_path / "zip.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"weight": Code()}, protocol=2))
    for name in ("zip.pth", "plain.pth"):
        assert "holds code" in refusal(read_state_dict, tmp_path / name)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_holds_no_weights_is_refused(tmp_path, trained):
    torch.save(trained, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    for name, content in {
        "cut.pth": whole[: len(whole) // 2],
        "stub.pth": whole[:40],
        "empty.pth": b"",
        "text.pth": b"not a checkpoint at all",
        "picture.pth": b"\x89PNG\r\n\x1a\n" + bytes(100),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert refusal(read_state_dict, tmp_path / name).startswith(f"{tmp_path / name}: not a file of weights")


@pytest.mark.parametrize(
    "content", [torch.ones(3), [torch.ones(3)], {}, {"epoch": 3}, {"weight": torch.ones(3), "n": 1}]
)
def test_a_checkpoint_without_a_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    assert "holds no state dict" in refusal(read_state_dict, tmp_path / "other.pth")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert "there is no such file" in refusal(read_state_dict, tmp_path / "none.pth")
    assert "this is a folder" in refusal(read_state_dict, tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_not_finite_are_refused_by_name_and_nothing_is_changed(network, trained, value):
    before = {name: weights.clone() for name, weights in network.state_dict().items()}
    weights = trained | {"tail.bias": torch.tensor([0, 1, value, 2], dtype=torch.float64)}
    line = refusal(load_weights, network, weights, "model.pth")
    assert line.startswith("model.pth: holds values that are not finite (NaN, infinite or too large) in tail.bias;")
    assert all(torch.equal(weights, before[name]) for name, weights in network.state_dict().items())


def test_names_that_are_no_text_are_refused(tmp_path, trained):
    torch.save({**trained, 7: torch.ones(2)}, tmp_path / "model.pth")
    assert "names a tensor 7, which is no text" in refusal(read_state_dict, tmp_path / "model.pth")


@pytest.mark.filterwarnings("ignore")  # torch warns of reading sparse, and of making quantised tensors
@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("sparse", lambda: torch.eye(3).to_sparse()),
        ("meta", lambda: torch.ones(3, device="meta")),
        ("complex", lambda: torch.ones(3, dtype=torch.complex64)),
        ("quantised", lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)),
    ],
)
def test_tensors_that_no_network_can_take_are_refused_by_name(tmp_path, trained, kind, make):
    torch.save({**trained, "odd.weight": make()}, tmp_path / "model.pth")
    assert f"odd.weight is a {kind}" in refusal(read_state_dict, tmp_path / "model.pth")


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_safetensors_file_is_read(tmp_path, network, trained, prefix):
    save_file({f"{prefix}{name}": weights for name, weights in trained.items()}, tmp_path / "model.safetensors")
    load_weights(network, read_state_dict(tmp_path / "model.safetensors"), "model.safetensors", complete=True)
    assert all(torch.equal(weights, trained[name]) for name, weights in network.state_dict().items())


def header(**tensors) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


def four(dtype="F32", shape=(4,), data_offsets=(0, 16)):
    return {"dtype": dtype, "shape": shape, "data_offsets": data_offsets}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234",
        (2**63).to_bytes(8, "little") + b"{}",
        (10**9).to_bytes(8, "little") + b"{}",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        header(a=four())[:30],
        header(a=four()) + bytes(15),
        header(a=four()) + bytes(17),
        header(a=four(shape=[2**62, 2**62])) + bytes(16),
        header(a=four(data_offsets=[16, 0])) + bytes(16),
        header(a=four(data_offsets=[-16, 0])) + bytes(16),
        header(a=four(), b=four()) + bytes(16),
        header(a=four(dtype="F99")) + bytes(16),
        header(a=four(dtype="F6_E2M3", shape=[32], data_offsets=[0, 24])) + bytes(24),
        b"PK\x03\x04" + bytes(100),
    ],
)
def test_a_safetensors_file_that_is_cut_off_or_made_to_harm_is_one_line(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    assert "model.safetensors: not a file of weights, or cut off" in refusal(
        read_state_dict, tmp_path / "model.safetensors"
    )


def test_safetensors_that_no_network_can_take_are_refused_by_name(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(header(a=four(dtype="F8_E4M3", shape=[16])) + bytes(16))
    assert "a is a low-precision (8-bit) tensor" in refusal(read_state_dict, path)
    path.write_bytes(header(a=four(dtype="C64", shape=[2])) + bytes(16))
    assert "a is a complex tensor" in refusal(read_state_dict, path)
    path.write_bytes(header(**{"a\nb": four()}) + bytes(16))
    assert r'names a tensor "a\nb", which is no text' in refusal(read_state_dict, path)
    path.write_bytes(header())
    assert "holds no state dict" in refusal(read_state_dict, path)
    assert "there is no such file" in refusal(read_state_dict, tmp_path / "none.safetensors")


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7])
def test_a_flipped_bit_in_a_weight_is_found(tmp_path, place):
    path = tmp_path / "model.pth"
    torch.save({"weight": torch.rand(10_000)}, path)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    assert "model.pth: damaged, as the checksum of" in refusal(read_state_dict, path)


def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused_unread(tmp_path, monkeypatch):
    torch.save({"weight": torch.zeros(100_000)}, tmp_path / "stored.pth")
    with (
        zipfile.ZipFile(tmp_path / "stored.pth") as stored,
        zipfile.ZipFile(tmp_path / "small.pth", "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for name in stored.namelist():
            small.writestr(name, stored.read(name))
    monkeypatch.setattr(torch, "load", None)
    assert "which weights never do" in refusal(read_state_dict, tmp_path / "small.pth")


def test_the_older_format_of_torch_save_is_read(tmp_path, trained):
    torch.save(trained, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert read_state_dict(tmp_path / "old.pth").keys() == trained.keys()
