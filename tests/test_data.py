"""From files to batches: nothing is silently left out, and a sample depends on its position alone."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT

import transforms
from options.errors import UserError
from restore.compute.process import Process
from restore.data.batches import Batches, Samples, Stage, ValidationBatches, failure_of_workers
from restore.data.sample_photographs import TRAIN, VALIDATION
from restore.data.sources import Folder
from restore.data.store import STORE, in_both, open_photographs

CHAIN = [
    {"class_name": "RandomCrop", "h": 16, "w": 16},
    {"class_name": "RandomFlip"},
    {"class_name": "RgbToRawTransform"},
    {"class_name": "ToTensor2"},
]
CPU = torch.device("cpu")
whole_image = transforms.build([{"class_name": "ToTensor2"}])


def write_photographs(folder, count, size=(24, 32)):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(count)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:02}.png"), rng.integers(0, 256, (*size, 3), np.uint8))
    return folder


def folders(*paths):
    """What an option file's list of these folders becomes."""
    return [Folder(path=str(path)) for path in paths]


def samples_of(folder, seed=0):
    pipeline = transforms.build(CHAIN)
    return Samples(open_photographs(folders(folder), pipeline, "training_path").usable, pipeline, seed, "training")


def batches_of(folder, workers=0, batch_size=3, seed=0):
    return Batches([Stage(0, samples_of(folder, seed), batch_size)], workers, CPU)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_worker_count_changes_no_bit_of_any_batch(workplace, workers):
    folder = write_photographs(workplace / "photos", 7)
    alone = list(batches_of(folder).after(0, 5))
    helped = list(batches_of(folder, workers).after(0, 5))
    for one, other in zip(alone, helped, strict=True):
        assert torch.equal(one.degraded, other.degraded)
        assert torch.equal(one.clean, other.clean)
        assert one.files == other.files
        assert torch.equal(one.metadata.camera.white_balance, other.metadata.camera.white_balance)
        assert torch.equal(one.metadata.noise.shot, other.metadata.noise.shot)


def test_a_run_that_goes_on_gets_the_batches_that_it_would_have_got(workplace):
    folder = write_photographs(workplace / "photos", 7)
    whole = list(batches_of(folder).after(0, 7))
    rest = list(batches_of(folder).after(3, 7))  # in the middle of the second epoch
    assert len(rest) == 4
    for one, other in zip(whole[3:], rest, strict=True):
        assert torch.equal(one.degraded, other.degraded)


def test_an_epoch_takes_every_photograph_at_most_once_and_the_order_changes(workplace):
    batches = batches_of(write_photographs(workplace / "photos", 7))
    assert batches.iterations(1) == 2
    epochs = [[file for batch in batches.after(2 * epoch, 2 * epoch + 2) for file in batch.files] for epoch in range(4)]
    assert all(len(set(files)) == 6 for files in epochs)
    assert len({tuple(files) for files in epochs}) == 4
    assert len({file for files in epochs for file in files}) == 7, "what one epoch leaves over, another takes"


def test_the_processes_of_a_run_share_each_batch_among_them(workplace):
    folder = write_photographs(workplace / "photos", 9)
    whole = list(batches_of(folder, batch_size=4).after(0, 5))
    for rank in range(2):
        share = Batches([Stage(0, samples_of(folder), 4)], 0, CPU, Process(rank, 2)).after(0, 5)
        for batch, part in zip(whole, share, strict=True):
            assert torch.equal(part.degraded, batch.degraded[rank::2])
            assert part.files == batch.files[rank::2]


def test_the_order_of_all_photographs_is_drawn_once_an_epoch(workplace, monkeypatch):
    batches = batches_of(write_photographs(workplace / "photos", 7), batch_size=1)
    drawn = []
    permutation = torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda *given, **named: drawn.append(given) or permutation(*given, **named))
    list(batches.after(3, 16))  # of three epochs of seven batches
    assert len(drawn) == 3


def test_the_parts_of_a_batch_are_the_batch(workplace):
    (batch,) = batches_of(write_photographs(workplace / "photos", 6), batch_size=6).after(0, 1)
    parts = batch.parts(3)
    assert [len(part.degraded) for part in parts] == [2, 2, 2]
    assert torch.equal(torch.cat([part.degraded for part in parts]), batch.degraded)
    assert sum((part.files for part in parts), ()) == batch.files
    shots = [part.metadata.noise.shot for part in parts]
    assert torch.equal(torch.cat(shots), batch.metadata.noise.shot)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are "
            "out of shared memory. Please try to raise your shared memory limit.",
            "set workers to 0",
        ),
        ("unable to write to file </torch_7_8_9>: No space left on device (28)", "set workers to 0"),
        ("DataLoader worker (pid 7) is killed by signal: Killed. ", "process 7, which makes samples, is killed"),
        ("DataLoader worker (pid(s) 7) exited unexpectedly", "process 7, which makes samples, exited unexpectedly"),
    ],
)
def test_the_end_of_a_worker_is_told_in_one_line_with_its_remedy(text, line):
    assert line in str(failure_of_workers(RuntimeError(text)))


def test_an_error_in_a_workers_work_is_not_taken_for_its_end():
    assert failure_of_workers(RuntimeError("The size of tensor a must match the size of tensor b")) is None


def test_another_seed_and_another_epoch_give_other_samples(workplace):
    folder = write_photographs(workplace / "photos", 3)
    first = samples_of(folder)[0, 0][0]
    assert not torch.equal(first.degraded, samples_of(folder, seed=1)[0, 0][0].degraded)
    assert not torch.equal(first.degraded, samples_of(folder)[1, 0][0].degraded)
    assert torch.equal(first.degraded, samples_of(folder)[0, 0][0].degraded)


def test_validation_uses_every_photograph_and_is_the_same_every_time(workplace):
    samples = samples_of(write_photographs(workplace / "photos", 5))
    batches = ValidationBatches(samples, 0, CPU)
    first, second = list(batches), list(batches)
    assert [batch.files for batch in first] == [(str(photograph.source),) for photograph in samples.photographs]
    assert all(torch.equal(one.degraded, other.degraded) for one, other in zip(first, second, strict=True))


ENDS_EARLY = """
import gc, sys, torch
from test_data import batches_of
gc.disable()  # what is still referred to at the end of the program is not tidied up before
batches = batches_of(sys.argv[1], workers=1).after(0, 100)
next(batches)
kept = [batches]
kept.append(kept)
"""


def test_a_program_that_ends_in_the_middle_of_an_epoch_takes_its_workers_along(workplace):
    folder = write_photographs(workplace / "photos", 7)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    subprocess.run([sys.executable, "-c", ENDS_EARLY, folder], env=environment, check=True, timeout=300)


def test_fewer_photographs_than_a_batch_is_a_mistake(workplace):
    folder = write_photographs(workplace / "photos", 2)
    with pytest.raises(UserError, match=r"batch_size: 3 given, but training_path holds only 2 usable photographs"):
        batches_of(folder)


def test_damaged_and_small_files_are_named_and_left_out(workplace):
    folder = write_photographs(workplace / "photos", 3)
    whole = (folder / "00.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("no picture")
    cv2.imwrite(str(folder / "small.png"), np.zeros((8, 20, 3), np.uint8))
    found = open_photographs(folders(folder), transforms.build(CHAIN), "training_path")
    assert len(found.usable) == 3
    cut, small, text = sorted(found.left_out)
    assert str(folder / "cut.png") in cut
    assert small == (
        f"{folder / 'small.png'}: image: 8 x 20 pixels (height x width) given, and the transforms need 16 x 16; "
        f"take a larger image or a smaller crop"
    )
    assert str(folder / "text.jpg") in text


def test_a_single_file_that_is_too_small_is_told_with_its_own_size(workplace):
    folder = write_photographs(workplace / "photos", 1, size=(24, 30))
    chain = transforms.build([{"class_name": "RandomCrop", "h": 32, "w": 32}, {"class_name": "ToTensor2"}])
    with pytest.raises(UserError, match=r"00\.png: image: 24 x 30 pixels \(height x width\) given, .* need 32 x 32"):
        open_photographs(folders(folder), chain, "training_path")


def test_many_files_left_out_for_one_reason_are_one_line_that_says_what_needs_the_size(workplace):
    folder = write_photographs(workplace / "photos", 3, size=(24, 30))
    cv2.imwrite(str(folder / "turned.png"), np.zeros((30, 24, 3), np.uint8))
    (folder / "text.jpg").write_text("no picture")
    chain = transforms.build(
        [DOWNSAMPLES[0], {"class_name": "RandomCrop", "h": 16, "w": 16}, {"class_name": "ToTensor2"}]
    )
    with pytest.raises(UserError) as caught:
        open_photographs(folders(folder), chain, "training_path")
    first, small, text = sorted(str(caught.value).splitlines(), key=lambda line: "files" not in line or line[0] != "t")
    assert first == "training_path: none of the 5 files can be used:"
    small, text = (small, text) if "too small" in small else (text, small)
    assert small.startswith(f"4 files ({folder / '00.png'}, ")
    assert ", ...): image: too small, the transforms need 32 x 32: " in small
    assert ("RandomCrop 16 x 16 (transforms_train.1) behind Downsample by 2 (transforms_train.0)") in small
    assert text.startswith(f"{folder / 'text.jpg'}: ")


def test_photographs_that_are_in_training_and_validation_are_counted(workplace):
    folder, other = write_photographs(workplace / "photos", 2), workplace / "other"
    other.mkdir()
    (other / "copy.png").write_bytes((folder / "00.png").read_bytes())
    cv2.imwrite(str(other / "new.png"), np.full((64, 64, 3), 77, np.uint8))
    first, second = (open_photographs(folders(place), whole_image, "x").usable for place in (folder, other))
    assert in_both(first, second) == 1
    assert in_both(first, first) == 2


def test_a_folder_without_one_usable_file_is_a_mistake_that_names_each(workplace):
    folder = workplace / "photos"
    folder.mkdir()
    (folder / "text.jpg").write_text("no picture")
    with pytest.raises(UserError) as caught:
        open_photographs(folders(folder), whole_image, "training_path")
    first, second = str(caught.value).splitlines()
    assert first == "training_path: none of the 1 files can be used:"
    assert "text.jpg" in second


@pytest.mark.parametrize("make", [False, True], ids=["missing", "empty"])
def test_a_missing_or_empty_folder_is_a_mistake_at_its_option(workplace, make):
    if make:
        (workplace / "photos").mkdir()
    with pytest.raises(UserError, match=r"^testing_path\.0: photos: "):
        open_photographs(folders("photos"), whole_image, "testing_path")


def test_a_photograph_is_decoded_once_and_again_when_its_file_has_changed(workplace):
    folder = write_photographs(workplace / "photos", 1)
    (photograph,) = open_photographs(folders(folder), whole_image, "x").usable
    written = photograph.stored[0].array.stat().st_mtime_ns
    (again,) = open_photographs(folders(folder), whole_image, "x").usable
    assert again == photograph
    assert again.stored[0].array.stat().st_mtime_ns == written
    cv2.imwrite(str(photograph.source), np.full((24, 32, 3), 7, np.uint8))
    os.utime(photograph.source, ns=(written + 10**9, written + 10**9))
    (changed,) = open_photographs(folders(folder), whole_image, "x").usable
    assert (changed.image() == 7).all()


DOWNSAMPLES = [{"class_name": "Downsample", "downsampling_factor": 2, "sigma": 1}, *CHAIN]


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_what_was_downsampled_once_gives_the_very_samples_of_the_whole_chain(workplace, depth):
    folder = workplace / "photos"
    folder.mkdir()
    picture = np.random.default_rng(0).integers(0, np.iinfo(depth).max, (601, 83, 3), depth, endpoint=True)
    cv2.imwrite(str(folder / "one.png"), picture[..., ::-1])
    chain = transforms.build(DOWNSAMPLES)
    (photograph,) = open_photographs(folders(folder), chain, "x").usable
    assert photograph.image().shape == (300, 41, 3)
    for seed in range(5):
        one = chain(picture, torch.Generator().manual_seed(seed))
        other = chain.tail(photograph.image(), torch.Generator().manual_seed(seed))
        assert torch.equal(one.degraded, other.degraded)
        assert torch.equal(one.clean, other.clean)


def test_each_downsampling_has_its_own_place_in_the_store(workplace):
    folder = write_photographs(workplace / "photos", 1, size=(48, 64))
    chains = [DOWNSAMPLES, CHAIN, [{**DOWNSAMPLES[0], "sigma": 2}, *CHAIN]]
    stored = [open_photographs(folders(folder), transforms.build(chain), "x").usable[0] for chain in chains]
    assert len({photograph.stored[0].array for photograph in stored}) == 3
    assert [photograph.image().shape[:2] for photograph in stored] == [(24, 32), (48, 64), (24, 32)]


@pytest.mark.parametrize("size", [(1, 1), (24, 32)])
def test_a_photograph_too_small_to_be_downsampled_is_named_with_its_own_size(workplace, size):
    folder = write_photographs(workplace / "photos", 1, size=(64, 64))
    cv2.imwrite(str(folder / "small.png"), np.zeros((*size, 3), np.uint8))
    (line,) = open_photographs(folders(folder), transforms.build(DOWNSAMPLES), "x").left_out
    assert f"small.png: image: {size[0]} x {size[1]} pixels (height x width) given, and the transforms need" in line


def test_sixteen_bits_stay_sixteen_bits_in_the_store(workplace):
    folder = workplace / "photos"
    folder.mkdir()
    deep = np.random.default_rng(0).integers(0, 65536, (8, 8, 3)).astype(np.uint16)
    cv2.imwrite(str(folder / "deep.png"), deep[..., ::-1])
    (photograph,) = open_photographs(folders(folder), whole_image, "x").usable
    assert np.array_equal(photograph.image(), deep)


def test_the_store_holds_no_half_written_file(workplace):
    open_photographs(folders(write_photographs(workplace / "photos", 3)), whole_image, "x")
    assert len(list(STORE.glob("*.npy"))) == 3
    assert not list(STORE.glob("*.unfinished"))


def test_the_sample_photographs_are_made_on_first_use_in_colour_and_of_their_own_size(workplace):
    contents = []
    for folder, names in (("training_data/sample/train", TRAIN), ("training_data/sample/val", VALIDATION)):
        found = open_photographs(folders(folder), whole_image, "x")
        assert [photograph.source.stem for photograph in found.usable] == sorted(names)
        assert found.left_out == []
        images = [photograph.image() for photograph in found.usable]
        assert all((image[..., 0] != image[..., 2]).mean() > 0.5 for image in images)
        contents += [photograph.contents for photograph in found.usable]
    assert len(VALIDATION) >= 4
    assert len(set(contents)) == len(TRAIN) + len(VALIDATION)
    sizes = {image.shape[:2] for image in images}
    assert sizes == {(600, 512), (512, 512), (300, 451), (427, 640)}


def test_sample_photographs_of_an_older_version_do_not_stay_among_the_targets(workplace):
    (workplace / "training_data/sample").mkdir(parents=True)
    write_photographs(workplace / "training_data/sample/train", 2)
    found = open_photographs(folders("training_data/sample/train"), whole_image, "x")
    assert [photograph.source.stem for photograph in found.usable] == sorted(TRAIN)
    assert len(found.left_out) == 2
    assert all(line.endswith("is no sample photograph; move it to a folder of your own") for line in found.left_out)
    assert len(list((workplace / "training_data/sample/train").iterdir())) == 2 + len(TRAIN)


def test_a_file_reached_by_two_ways_counts_once(workplace):
    folder = write_photographs(workplace / "photos", 3)
    (workplace / "more").mkdir()
    (workplace / "more/link").symlink_to(folder)
    found = open_photographs(folders(folder, folder, workplace / "more"), whole_image, "x")
    assert len(found.usable) == 3


def test_linked_folders_are_searched_and_a_circle_of_links_has_an_end(workplace):
    folder = write_photographs(workplace / "photos", 3)
    (workplace / "more").mkdir()
    (workplace / "more/link").symlink_to(folder)
    (folder / "circle").symlink_to(workplace / "more")
    assert len(open_photographs(folders(workplace / "more"), whole_image, "x").usable) == 3


def test_an_interrupted_making_of_the_sample_is_completed(workplace):
    open_photographs(folders("training_data/sample/val"), whole_image, "x")
    (workplace / "training_data/sample/val/cat.png").unlink()
    assert len(open_photographs(folders("training_data/sample/val"), whole_image, "x").usable) == len(VALIDATION)
