"""The store: an image is decoded once for each content and each way to decode it, and nothing damaged is trained on."""

import fcntl
import multiprocessing
import os
import pickle
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from data_set_files import TO_TENSOR, assert_rggb, mosaic_of, opened, write_mat, write_picture, write_raw

import transforms
from options.errors import SaveError, UserError
from restore import store as store_command
from restore.data import store, store_size
from restore.data.batches import Samples
from restore.data.claims import _opened_lock, claimed, removing
from restore.data.index import Index
from restore.data.sources import folders
from restore.data.store import STORE, open_photographs
from restore.data.store_size import clean_store, clear_store, limit, set_limit
from restore.data.stored_image import MissingImage
from restore.files import images
from restore.files.atomic import open_atomically
from restore.files.images import count_pixels
from transforms.downsample import Downsample

DOWNSAMPLE = {"class_name": "Downsample", "downsampling_factor": 2, "sigma": 1}
PAIRS = {"degraded": "noisy", "clean": "clean"}
DAY = 24 * 3600
pipeline = transforms.build([TO_TENSOR])


def write_photographs(folder, count=1):
    """Pictures that all differ, last changed an hour ago."""
    for number in range(count):
        file = write_picture(folder / f"{number}.png", 10 + number)
        os.utime(file, (time.time() - 3600,) * 2)
    return folder


def files_of(photographs):
    """The store's file of each photograph, and when it was written."""
    return [(one.array, one.array.stat().st_mtime_ns) for photograph in photographs for one in photograph.stored]


def fingerprint(photographs):
    return Samples(photographs, pipeline, 0, "training").fingerprint()


def touch(folder):
    for file in folder.iterdir():
        os.utime(file)


def copy_back(folder):
    """As a checkout does: new files of the same content."""
    shutil.copytree(folder, "copy", copy_function=shutil.copyfile)
    shutil.rmtree(folder)
    Path("copy").rename(folder)


@pytest.mark.parametrize("change", [touch, copy_back])
def test_files_of_the_same_content_are_the_same_photographs(workplace, change):
    write_photographs(workplace / "photos", 3)
    first = opened("photos", chain=[TO_TENSOR]).usable
    files = files_of(first)
    change(workplace / "photos")
    second = opened("photos", chain=[TO_TENSOR]).usable
    assert files_of(second) == files, "nothing was decoded anew"
    assert fingerprint(second) == fingerprint(first)


def test_a_moved_folder_is_not_decoded_anew(workplace):
    write_photographs(workplace / "photos", 3)
    first = opened("photos", chain=[TO_TENSOR]).usable
    (workplace / "photos").rename(workplace / "moved")
    moved = opened("moved", chain=[TO_TENSOR]).usable
    assert files_of(moved) == files_of(first)
    assert [photograph.source.parent.name for photograph in moved] == ["moved"] * 3


def test_changed_pixels_are_another_photograph(workplace):
    write_photographs(workplace / "photos", 2)
    first = opened("photos", chain=[TO_TENSOR]).usable
    write_picture(workplace / "photos/1.png", 77)
    second = opened("photos", chain=[TO_TENSOR]).usable
    assert (second[1].image() == 77).all()
    assert fingerprint(second) != fingerprint(first)
    write_photographs(workplace / "photos", 2)
    assert fingerprint(opened("photos", chain=[TO_TENSOR]).usable) == fingerprint(first)


def test_an_untouched_file_is_not_read_again(workplace):
    file = write_photographs(workplace / "photos") / "0.png"
    about, content = file.stat(), file.read_bytes()
    opened("photos", chain=[TO_TENSOR])
    with file.open("r+b") as target:  # an unreadable file that looks untouched
        target.write(bytes(len(content)))
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    (photograph,) = opened("photos", chain=[TO_TENSOR]).usable
    assert (photograph.image() == 10).all()


def test_another_version_of_a_reader_or_transform_decodes_anew(workplace, monkeypatch):
    write_photographs(workplace / "photos")
    chain = [DOWNSAMPLE, TO_TENSOR]
    names = {opened("photos", chain=chain).usable[0].stored[0].array}
    monkeypatch.setattr(images, "READER_VERSION", images.READER_VERSION + 1)
    names.add(opened("photos", chain=chain).usable[0].stored[0].array)
    monkeypatch.setattr(Downsample, "version", Downsample.version + 1)
    names.add(opened("photos", chain=chain).usable[0].stored[0].array)
    assert len(names) == 3


def test_one_content_that_is_read_in_two_ways_is_stored_twice(workplace):
    for phone in ("IP", "GP"):  # whose mosaics are of other patterns
        for kind in ("NOISY", "GT"):
            file = workplace / f"Data/0001_001_{phone}_00100_00060_3200_L/0001_{kind}_RAW_010.MAT"
            write_mat(file, mosaic_of("RGGB", 30, 44))
    bggr, rggb = (photograph.image().clean for photograph in opened({"class_name": "SIDD", "path": "."}).usable)
    assert_rggb(rggb)
    assert bggr.shape == (28, 42)


def test_file_names_that_are_not_utf8_are_used_and_can_be_printed(workplace):
    folder = write_photographs(workplace / "photos", 2)
    for file, content in ((b"good\xff.png", (folder / "0.png").read_bytes()), (b"bad\xfe.png", b"no picture")):
        (folder / os.fsdecode(file)).write_bytes(content)
    found = opened("photos", chain=[TO_TENSOR])
    assert len(found.usable) == 3
    (line,) = found.left_out
    assert line.encode().startswith(rb"photos/bad\xfe.png: ")
    _, file = Samples(found.usable, pipeline, 0, "training")[0, 2]
    assert file.encode() == rb"photos/good\xff.png"


def zeroed_behind_the_header(content):
    return content[:128] + bytes(len(content) - 128)


DAMAGE = {
    "empty": lambda content: b"",
    "4 zeros": lambda content: bytes(4),
    "cut off": lambda content: content[: len(content) // 2],
    "longer": lambda content: content + b"x",
    "one bit": lambda content: content[:500] + bytes([content[500] ^ 1]) + content[501:],
    "last byte": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "zeroed": zeroed_behind_the_header,
    "all zeros": lambda content: bytes(len(content)),
    "a pickle": lambda content: pickle.dumps([1, 2, 3] * 1000),
}


@pytest.mark.parametrize("starts", [1, 2], ids=["just written", "checked before"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_image_is_found_and_decoded_anew(workplace, damage, starts):
    write_photographs(workplace / "photos")
    write_raw(workplace / "photos/raw.dng", noise_profile=[(1e-3, 1e-6)])
    for _ in range(starts):
        before = opened("photos").usable
    time.sleep(0.05)  # coarser than any clock of a file system
    for photograph in before:
        array = photograph.stored[0].array
        array.write_bytes(damage(array.read_bytes()))
    found = opened("photos")
    assert found.damaged == 2
    picture, raw = found.usable
    assert (picture.image() == 10).all()
    assert_rggb(raw.image())
    assert raw.image().metadata.noise.shot.tolist() == pytest.approx([1e-3] * 4)
    assert opened("photos").damaged == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-20],
        lambda content: b"0\nnot JSON",
        lambda content: b'223132457\n{"a": 1}',
        lambda content: bytes(len(content)),
    ],
)
def test_a_damaged_index_does_no_harm(workplace, damage):
    write_photographs(workplace / "photos", 2)
    before = opened("photos", chain=[TO_TENSOR]).usable
    index = STORE / "index"
    index.write_bytes(damage(index.read_bytes()))
    found = opened("photos", chain=[TO_TENSOR])
    assert found.usable == before
    assert found.damaged == 0


def test_photographs_that_the_chain_cannot_take_are_named_at_every_start(workplace):
    write_photographs(workplace / "photos", 2)
    write_picture(workplace / "photos/small.png", size=(8, 48))
    chain = [{"class_name": "CenterCrop", "h": 16, "w": 16}, TO_TENSOR]
    first, second, third = (opened("photos", chain=chain) for _ in range(3))
    assert first.left_out == second.left_out == third.left_out
    assert len(third.left_out) == 1
    assert len(third.usable) == 2
    assert opened("photos", chain=[TO_TENSOR]).left_out == [], "another chain takes it"


def test_an_image_that_vanishes_in_training_is_one_line(workplace):
    write_photographs(workplace / "photos")
    (photograph,) = opened("photos", chain=[TO_TENSOR]).usable
    shutil.rmtree(STORE)
    with pytest.raises(MissingImage) as caught:
        photograph.image()
    line = f"{photograph.stored[0].array}: this decoded image was removed or cut off while it was in use; start again"
    assert str(caught.value).startswith(line)
    traceback = f"Caught MissingImage in DataLoader worker.\n  File x\nrestore.data.MissingImage: {caught.value}\n"
    assert str(MissingImage(traceback)) == str(caught.value), "as a worker's error arrives"


def test_no_more_pixels_than_the_budget_are_decoded_at_once_and_a_larger_picture_alone(workplace, monkeypatch):
    sizes = [(10, 10)] * 8 + [(20, 40)] * 2 + [(10, 20)] * 4
    for number, size in enumerate(sizes):
        write_picture(workplace / f"photos/{number:02}.png", number, size)
    monkeypatch.setattr(store, "PIXELS_AT_A_TIME", 400)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    lock, decoding, seen = threading.Lock(), [], []
    read = folders.read_picture_or_raw

    def watched(file):
        pixels = count_pixels(file.path)
        with lock:
            decoding.append(pixels)
            seen.append(list(decoding))
        time.sleep(0.02)
        image = read(file)
        with lock:
            decoding.remove(pixels)
        return image

    monkeypatch.setattr(folders, "read_picture_or_raw", watched)
    assert len(opened("photos", chain=[TO_TENSOR]).usable) == len(sizes)
    assert all(sum(together) <= 400 or len(together) == 1 for together in seen)
    assert max(map(len, seen)) > 1, "small ones are decoded side by side"


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_the_pixels_of_a_picture_are_known_from_its_header(workplace, suffix):
    assert count_pixels(write_picture(workplace / f"one{suffix}", size=(40, 50))) == 2000


def test_what_is_no_picture_counts_with_its_bytes(workplace):
    for name in ("one.png", "one.dng"):
        (workplace / name).write_bytes(b"no picture")
        assert count_pixels(workplace / name) == 10


def age(days, *files):
    for file in files:
        os.utime(file, (time.time() - days * DAY,) * 2)


def test_images_unused_for_30_days_are_removed_and_others_stay(workplace, monkeypatch):
    write_photographs(workplace / "photos", 3)
    kept, old, used = (array for array, _ in files_of(opened("photos", chain=[TO_TENSOR]).usable))
    age(29, kept)
    age(31, old, used)
    (workplace / "photos/1.png").unlink()
    assert len(opened("photos", chain=[TO_TENSOR]).usable) == 2
    monkeypatch.setattr(store_size, "LARGE", 1)
    line = clean_store()
    assert (kept.exists(), old.exists(), used.exists()) == (True, False, True)
    assert line.startswith("training_data/.decoded: 0.0 MB of decoded images;")
    assert "1 that were unused for 30 days (0.0 MB) were removed" in line
    assert b"1.png" not in (STORE / "index").read_bytes()
    assert len(opened("photos", chain=[TO_TENSOR]).usable) == 2


def aged_images(folder, ages):
    """Stored images of so many days without use, in this order; no list of photographs claims them."""
    write_photographs(folder, len(ages))
    arrays = [array for array, _ in files_of(opened(folder.name, chain=[TO_TENSOR]).usable)]
    for array, days in zip(arrays, ages, strict=True):
        age(days, array)
    return arrays


def test_beyond_the_limit_the_least_recently_used_images_are_removed(workplace):
    arrays = aged_images(workplace / "photos", [1, 9, 5, 7])
    set_limit(f"{2.5 * arrays[0].stat().st_size / 1e6:f}MB")
    line = clean_store()
    assert [array.exists() for array in arrays] == [True, False, True, False]
    assert "2 that were unused for longest (0.0 MB) were removed for the limit" in line
    assert clean_store() is None, "the rest is below the limit"
    assert len(opened("photos", chain=[TO_TENSOR]).usable) == 4, "what was removed is decoded again"


def test_what_a_run_uses_stays_though_it_is_beyond_the_limit(workplace):
    used, idle = aged_images(workplace / "photos", [20, 10])
    (workplace / "photos/1.png").unlink()
    run = opened("photos", chain=[TO_TENSOR]).usable
    set_limit("0MB")
    assert clean_store().endswith("The limit is 0.0 MB, but runs use what is left")
    assert (used.exists(), idle.exists()) == (True, False)
    assert (run[0].image() == 10).all()
    del run
    clean_store()
    assert not used.exists()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_another_process_uses_stays_until_that_process_has_ended(workplace, end):
    (array,) = aged_images(workplace / "photos", [10])
    ours, theirs = multiprocessing.Pipe()

    def use():
        photographs = opened("photos", chain=[TO_TENSOR]).usable
        theirs.send("opened")
        time.sleep(60)
        del photographs

    other = multiprocessing.get_context("fork").Process(target=use)
    other.start()
    assert ours.recv() == "opened"
    assert clear_store()
    assert array.exists()
    os.kill(other.pid, end)
    other.join()
    assert clear_store()
    assert not array.exists()


def test_a_claim_is_removed_as_left_behind_only_by_who_holds_the_store_alone(workplace):
    (workplace / "store/in_use").mkdir(parents=True)
    claim = workplace / "store/in_use/host.1.fresh"
    claim.write_text("one.npy")  # made, and not yet locked
    assert claimed(workplace / "store", alone=False) == set()
    assert claim.exists()
    claimed(workplace / "store", alone=True)
    assert not claim.exists()


def test_the_store_is_locked_by_a_file_that_network_file_systems_can_lock_in_both_ways(workplace):
    number = _opened_lock(workplace)
    for how in (fcntl.LOCK_SH, fcntl.LOCK_EX):
        fcntl.lockf(number, how | fcntl.LOCK_NB)  # what NFS makes of flock; of a file opened to write alone it fails
    os.close(number)


def test_a_worker_that_drops_its_photographs_leaves_them_claimed(workplace):
    photographs = opened(str(write_photographs(workplace / "photos")), chain=[TO_TENSOR]).usable
    worker = multiprocessing.get_context("fork").Process(target=photographs.__dict__.clear)
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    assert clear_store()
    assert photographs[0].stored[0].array.exists()
    assert pickle.loads(pickle.dumps(photographs)) == list(photographs), "as a worker gets them that is not forked"


def test_nothing_is_removed_while_a_run_looks_for_its_photographs(workplace):
    arrays = aged_images(workplace / "photos", [40, 40])
    answers = []

    def progress(photographs, total):
        answers.append((clear_store(), clean_store()))
        return photographs

    open_photographs([folders.Folder(path="photos")], pipeline, "training_path", progress)
    assert answers == [(False, None)]
    assert all(array.exists() for array in arrays)


def test_a_run_that_begins_while_images_are_removed_waits_and_decodes_them_anew(workplace):
    (array,) = aged_images(workplace / "photos", [40])
    found = []
    run = threading.Thread(target=lambda: found.append(opened("photos", chain=[TO_TENSOR]).usable))
    with removing(STORE) as possible:
        assert possible
        run.start()
        run.join(0.3)
        assert run.is_alive()
        array.unlink()
    run.join()
    assert (found[0][0].image() == 10).all()


def test_a_second_start_reads_no_stored_image(workplace, monkeypatch):
    write_photographs(workplace / "photos", 3)
    first = opened("photos", chain=[TO_TENSOR]).usable
    monkeypatch.setattr(store, "read_stored", None)
    assert opened("photos", chain=[TO_TENSOR]).usable == first


def test_processes_that_fill_the_store_together_keep_what_each_has_found(workplace):
    first, second = Index(STORE), Index(STORE)
    for index, name in ((first, "a"), (second, "b")):
        file = write_photographs(workplace / name) / "0.png"
        index.content(str(file))
        STORE.mkdir(parents=True, exist_ok=True)
        index.save()
    assert {Path(path).parent.name for path in Index(STORE).photographs} == {"a", "b"}


def test_the_command_shows_the_store_keeps_a_limit_and_clears_what_is_unused(workplace, capsys):
    def shown(*words):
        store_command.main(store_command.read_arguments(list(words)))
        return capsys.readouterr().out

    assert "training_data/.decoded: 0 decoded images, 0.0 MB\nlimit: none" in shown()
    aged_images(workplace / "photos", [0, 3, 29])
    (workplace / "photos/0.png").unlink()
    (workplace / "photos/1.png").unlink()
    run = opened("photos", chain=[TO_TENSOR]).usable
    lines = [" ".join(line.split()) for line in shown("--limit", "1.5 gb").splitlines()]
    assert "limit: 1.5 GB" in lines
    for name in ("used by runs that go on", "last used today", "last used 1 to 7 days ago"):
        assert f"{name} 1 0.0 MB" in lines
    assert ": 1 decoded images" in shown("--clear")
    assert run[0].stored[0].array.exists()
    assert "limit: none" in shown("--limit", "none")


@pytest.mark.parametrize("size", ["200", "GB", "-1GB", "many", ""])
def test_a_limit_that_is_no_size_is_one_line(workplace, size):
    with pytest.raises(UserError, match=r"^--limit: .*give a size in MB, GB or TB, as 200GB, or none$"):
        store_command.main(store_command.read_arguments([f"--limit={size}"]))
    assert limit() is None


def test_a_small_store_is_not_worth_a_line(workplace):
    write_photographs(workplace / "photos")
    opened("photos", chain=[TO_TENSOR])
    assert clean_store() is None


def test_what_killed_processes_left_is_removed_and_what_others_write_is_not(workplace):
    STORE.mkdir(parents=True)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = platform.node()
    gone = [
        STORE / f".{ended.pid}.1.unfinished",
        STORE / f".{here}.{ended.pid}.1.unfinished",
        STORE / ".other.1.1.unfinished",
    ]
    alive = [STORE / f".{here}.{os.getpid()}.1.unfinished", STORE / ".other.2.1.unfinished"]
    alive.append(STORE / ".x.unfinished")
    for file in gone + alive:
        file.touch()
    age(2, gone[2])
    clean_store()
    assert {path for path in STORE.iterdir() if path.is_file()} == set(alive)


@pytest.mark.parametrize(
    ("error", "seen_as"), [(OSError(28, "No space left on device"), SaveError), (KeyError("own"), KeyError)]
)
def test_a_file_whose_writing_fails_keeps_its_old_content(workplace, error, seen_as):
    path = workplace / "file"
    path.write_bytes(b"old")

    def write():
        with open_atomically(path) as target:
            target.write(b"new")
            raise error

    with pytest.raises(seen_as):
        write()
    assert path.read_bytes() == b"old"
    assert list(workplace.iterdir()) == [path]


def opened_pairs(scale):
    return open_photographs([folders.PairedFolders(**PAIRS)], pipeline, "training_path", scale=scale)


def test_pairs_of_another_scale_than_the_generators_are_named(workplace):
    for number, factor in enumerate((1, 2, 3)):
        write_picture(workplace / f"noisy/{number}.png")
        write_picture(workplace / f"clean/{number}.png", size=(40 * factor, 48 * factor))
    for scale in (1, 2, 3):
        found = opened_pairs(scale)
        assert [photograph.source.name for photograph in found.usable] == [f"{scale - 1}.png"]
        assert len(found.left_out) == 2
    assert opened_pairs(1).left_out[0] == (
        "noisy/1.png: its clean partner is 2 times as large, and generator.scale is 1; "
        "set generator.scale to 2, or give pairs of the right sizes"
    )


def test_a_photograph_that_vanishes_while_others_are_decoded_is_left_out(workplace, monkeypatch):
    write_photographs(workplace / "photos", 2)
    found = folders.Folder(path="photos").find()
    monkeypatch.setattr(folders.Folder, "find", lambda self: found)
    (workplace / "photos/0.png").unlink()
    opening = opened("photos", chain=[TO_TENSOR])
    assert [photograph.source.name for photograph in opening.usable] == ["1.png"]
    (line,) = opening.left_out
    assert line.endswith("photos/0.png: cannot be read (No such file or directory); allow it or remove it")
