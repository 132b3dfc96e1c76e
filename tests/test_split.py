"""restore.split: like content stays together, the same seed gives the same lists, and FileList reads them."""

import json
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image
from raw_files import write_dng

from options.base import parse
from options.errors import UserError
from restore.command.arguments import splitting_arguments
from restore.data.content_groups import content, content_groups
from restore.data.sources import FileList, Folder, PathOptions
from restore.data.store import open_photographs
from restore.split import divide, main, split
from transforms import build

WHOLE = build([{"class_name": "ToTensor2"}])


def photograph(seed, size=96):
    """Large smooth forms, as photographs have, and some detail."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.integers(0, 256, (9, 9, 3)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(coarse + rng.normal(0, 5, coarse.shape), 0, 255).astype(np.uint8)


def like(image, seed):
    """The same a moment later: a little to the side, brighter, and compressed."""
    moved = np.roll(image, 1, axis=seed % 2)
    brighter = np.clip(moved * 1.1, 0, 255).astype(np.uint8)
    return cv2.imdecode(cv2.imencode(".jpg", brighter, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)


@pytest.fixture
def photos(workplace):
    """30 photographs, of every fifth of which there are two more, in another folder and under other names."""
    (workplace / "photos/more").mkdir(parents=True)
    for number in range(30):
        image = photograph(number)
        cv2.imwrite(f"photos/{number:02}.png", image)
        if number % 5 == 0:
            for copy in range(2):
                cv2.imwrite(f"photos/more/z{copy}{number:02}.jpg", like(image, copy))
    return workplace / "photos"


def lists_of(folder):
    return {path.stem: [str(file[0].path) for file in FileList(path=str(path)).find().photographs]
            for path in sorted(folder.glob("*.txt"))}  # fmt: skip


def number_of(path):
    return path[-6:-4]


def run(*words):
    main(splitting_arguments(list(map(str, words))))


def test_groups_never_cross_lists_and_every_photograph_is_in_one(photos):
    for seed in range(4):
        run(photos, "--validation", 0.2, "--held-out", 0.2, "--seed", seed, "-o", f"lists{seed}")
        lists = lists_of(photos.parent / f"lists{seed}")
        assert set(lists) == {"train", "validation", "held_out"}
        numbers = [{number_of(path) for path in paths} for paths in lists.values()]
        assert sum(map(len, numbers)) == 30  # no number in two lists
        assert sum(map(len, lists.values())) == 42
        for name in ("validation", "held_out"):
            assert len(lists[name]) == pytest.approx(0.2 * 42, abs=2)


def test_the_same_seed_gives_the_same_lists_and_another_one_others(photos):
    for folder, seed in (("one", 3), ("same", 3), ("other", 4)):
        run(photos, "--validation", 0.2, "--seed", seed, "-o", folder)
    texts = [[(photos.parent / folder / f"{name}.txt").read_text() for name in ("train", "validation")]
             for folder in ("one", "same", "other")]  # fmt: skip
    assert texts[0] == texts[1]
    assert texts[0][1].splitlines()[1:] != texts[2][1].splitlines()[1:]


def test_a_photograph_more_or_less_changes_little(photos):
    run(photos, "--validation", 0.2, "--held-out", 0.2, "-o", "before")
    cv2.imwrite(str(photos / "a_new_one.png"), photograph(99))
    run(photos, "--validation", 0.2, "--held-out", 0.2, "-o", "after")
    (photos / "01.png").unlink()
    run(photos, "--validation", 0.2, "--held-out", 0.2, "-o", "less")
    before, after, less = (lists_of(photos.parent / name) for name in ("before", "after", "less"))
    for one, other in ((before, after), (after, less)):
        for name in one:
            changed = {path.split("photos/")[1] for path in one[name]} ^ {
                path.split("photos/")[1] for path in other[name]
            }
            assert len(changed) <= 7  # the file itself, and a group of up to 3 at either edge


def test_what_is_printed_goes_into_an_option_file_and_is_read_from_the_list_s_own_folder(photos, capsys, monkeypatch):
    run(photos, "--validation", 0.1, "--held-out", 0.1, "-o", "lists")
    printed = capsys.readouterr().out
    assert "42 photographs in 30 groups of like content" in printed
    lines = printed.split("for the option file:\n")[1].rstrip(",\n")
    keys = json.loads("{" + lines + "}")
    assert list(keys) == ["training_path", "testing_path", "held_out_path"]
    sources = parse(list[PathOptions], keys["testing_path"])
    expected = open_photographs(sources, WHOLE, "testing_path").usable
    assert len(expected) >= 3
    (photos.parent / "elsewhere").mkdir()
    monkeypatch.chdir(photos.parent / "elsewhere")
    again = open_photographs([FileList(path="../lists/validation.txt")], WHOLE, "testing_path").usable
    assert [photo.stored[0].array.name for photo in again] == [photo.stored[0].array.name for photo in expected]


def test_lists_and_photographs_move_together(photos):
    run(photos, "-o", "photos/lists")
    count = len(FileList(path="photos/lists/train.txt").find().photographs)
    shutil.move("photos", "moved")
    found = open_photographs([FileList(path="moved/lists/train.txt")], WHOLE, "training_path")
    assert (len(found.usable), found.left_out) == (count, [])


def test_a_list_says_which_of_its_files_cannot_be_used_and_reads_the_others(photos):
    (photos.parent / "list.txt").write_text("# a remark\n\nphotos/00.png\r\nphotos/gone.png\nphotos/notes.md\n")
    source = parse(PathOptions, {"class_name": "FileList", "path": "list.txt"})
    found = open_photographs([source, Folder(path="photos")], WHOLE, "training_path")
    assert len(found.usable) == 42  # the file that both name counts once
    assert len(found.left_out) == 2
    assert any("gone.png: cannot be read" in line for line in found.left_out)
    assert any("notes.md: is no image file by its name (.md); take it off the list" in line for line in found.left_out)


@pytest.mark.parametrize(
    ("content_of_list", "line"),
    [(None, "cannot be read .*No such file"), (b"", "lists no file; write"), (b"\x89PNG\0\0", "is no text file")],
)
def test_a_list_that_is_none_is_a_mistake(workplace, content_of_list, line):
    if content_of_list is not None:
        (workplace / "list.txt").write_bytes(content_of_list)
    with pytest.raises(UserError, match=f"list.txt: {line}"):
        FileList(path="list.txt").find()


def test_names_of_every_kind_survive_a_list(workplace):
    (workplace / "photos").mkdir()
    names = ["# one.png", " two .png", "drei ü.png", "four.PNG"]
    for number, name in enumerate(names):
        (workplace / "photos" / name).write_bytes(cv2.imencode(".png", photograph(number))[1].tobytes())
    split(workplace / "photos", 0.25, 0, 0, workplace / "photos", say=lambda line: None)
    lists = lists_of(workplace / "photos")
    assert sorted(path.split("photos/")[1] for paths in lists.values() for path in paths) == sorted(names)


def test_a_burst_is_known_by_its_times_and_a_raw_file_by_the_picture_beside_it(workplace):
    for number, second in enumerate((0, 2, 4, 30)):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[36867] = f"2024:05:01 12:00:{second:02}"
        Image.fromarray(photograph(number)).save(f"burst{number}.jpg", exif=exif)
    rng = np.random.default_rng(0)
    write_dng(workplace / "raw.dng", rng.integers(500, 60000, (64, 64), np.uint16))
    cv2.imwrite("raw.jpg", photograph(50))
    write_dng(
        workplace / "later.dng",
        rng.integers(500, 60000, (64, 64), np.uint16),
        more_tags=[(306, 2, 20, "2024:05:01 12:00:31")],
    )
    names = ("burst0.jpg", "burst1.jpg", "burst2.jpg", "burst3.jpg", "later.dng", "raw.dng", "raw.jpg")
    groups = content_groups([content(workplace / name) for name in names])
    assert [[one.file.name for one in group] for group in groups] == [
        ["burst0.jpg", "burst1.jpg", "burst2.jpg"],
        ["burst3.jpg", "later.dng"],
        ["raw.dng", "raw.jpg"],
    ]


def test_damaged_files_are_left_out_and_named(photos, capsys):
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    run(photos, "-o", "lists")
    assert "left out 1 files:" in capsys.readouterr().out
    assert not any("broken" in path for paths in lists_of(photos.parent / "lists").values() for path in paths)


def test_a_list_that_is_no_longer_wanted_does_not_stay_behind(photos):
    run(photos, "--held-out", 0.1, "-o", "lists")
    run(photos, "-o", "lists")
    assert set(lists_of(photos.parent / "lists")) == {"train", "validation"}


def test_a_large_group_does_not_swell_a_small_list(workplace):
    groups = [[workplace / f"burst/{n}.png" for n in range(50)], *([workplace / f"{n}.png"] for n in range(50))]
    for seed in range(20):
        division = divide(groups, workplace, 0.05, 0.05, seed)
        assert [len(division.validation), len(division.held_out)] == [5, 5]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--validation", "1"], "--validation: 1.0 given; give a share"),
        (["--held-out", "-0.1"], "--held-out: -0.1 given; give a share"),
        (["--validation", "0.5", "--held-out", "0.5"], "leaves nothing to train on; lower them"),
    ],
)
def test_shares_that_leave_nothing_to_train_on_are_mistakes(photos, words, line):
    with pytest.raises(UserError, match=line):
        run(photos, *words)


def test_one_burst_alone_cannot_be_divided(workplace):
    (workplace / "photos").mkdir()
    for number in range(3):
        cv2.imwrite(f"photos/{number}.png", like(photograph(0), number))
    with pytest.raises(UserError, match="photos holds 1 groups of like content, and 2 lists need one each"):
        run("photos")
