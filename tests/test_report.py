"""The report of a restored folder: a page that a real browser shows, whatever the files are called."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from browser import FOUND, Browser

from options.errors import SaveError
from restore.report import Report, Shown, Table
from restore.report.pictures import crop_uri

SIDE = 480
NAMES = [
    "<img src=x onerror=alert(1)>.dng",
    "</script><script>alert(2)</script>.dng",
    "<!-- <script> \"quotes' & &amp; \\ ` ${1}.dng",
    "bytes \udcff\udc80.dng",
    "новый 写真 \u2028.dng",
]


def image(name="a.dng", level=128, labels=("recorded", "restored"), side=SIDE, **facts):
    """Noise of an rms of 12 levels before, and its mean after."""
    rng = np.random.default_rng(0)
    flat = np.full((side, side, 3), level, np.uint8)
    noisy = (flat + rng.normal(0, 12, flat.shape)).clip(0, 255).astype(np.uint8)
    crop = {label: noisy if number == 0 else flat for number, label in enumerate(labels)}
    whole = {label: picture[: side // 2] for label, picture in crop.items()}
    removed = {plane: rng.normal(0, 1, (side // 2, side // 2)) for plane in ("R", "G1", "G2", "B")}
    return Shown(name, crop, whole, removed, **facts)


def report_of(*images, **about):
    report = Report("Restored", about, columns=("ISO",))
    for shown in images:
        report.add(shown)
    return report


def written(path, *images):
    report_of(*images).write(path)
    return path.read_bytes()


def names_in(page):
    heads = re.findall(r'class="image">(.*?)</script>', page.read_text(encoding="ascii", errors="replace"))
    return [json.loads(head)["name"] for head in heads]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if FOUND is None:
        pytest.skip("needs Chromium or Chrome, which is not installed")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Writes and opens a page of these images; returns the browser."""

    def open_page(*images, **window):
        report_of(*images).write(tmp_path / "index.html")
        browser.open(tmp_path / "index.html", **window)
        return browser

    return open_page


CLIP = "getComputedStyle(document.querySelector('.crop .pictures img:last-child')).clipPath"
BOX = (
    "(({x, y, width, height}) => [x, y, width, height])(document.querySelector('.crop .frame').getBoundingClientRect())"
)
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def clipped(browser):
    """Pixels from the left at which the picture on the right begins."""
    sides = re.findall(r"[\d.]+", browser.value(CLIP))  # top, right, bottom, left, or fewer where they are equal
    return float(sides[-1])


def seen(browser, selector):
    """The middle of an element in the window, after the page has scrolled to it."""
    browser.value(f"document.querySelector('{selector}').scrollIntoView({{block: 'center'}})")
    x, y, width, height = browser.value(BOX.replace(".crop .frame", selector))
    return x + width / 2, y + height / 2


def test_arrow_keys_move_the_slider_and_the_picture_with_it(opened):
    browser = opened(image())
    assert clipped(browser) == SIDE / 2
    browser.value("document.querySelector('.crop .slider').focus()")
    browser.press("ArrowRight")
    assert clipped(browser) == pytest.approx(0.51 * SIDE, abs=0.1)
    browser.press("Home")
    assert clipped(browser) == 0
    assert browser.value("document.querySelector('.crop .slider').ariaValueText") == "0 % recorded"
    assert browser.mistakes == []


def test_a_mouse_drags_the_line_across_the_picture(opened):
    browser = opened(image())
    x, y = seen(browser, ".crop .frame")
    browser.drag((x - 200, y), (x + 120, y + 30))
    assert clipped(browser) == pytest.approx(SIDE / 2 + 120, abs=1)
    assert browser.value("document.querySelector('.crop .slider').value") == "75"


def test_a_finger_moves_the_line_also_where_the_picture_is_wider_than_the_window(opened):
    browser = opened(image(), width=360, height=780)
    x, y = seen(browser, ".crop .handle")
    before = clipped(browser)
    browser.swipe((x, y), (x + 60, y))
    assert clipped(browser) == pytest.approx(before + 60, abs=1)


def test_the_picture_that_is_shown_changes_on_the_screen_where_the_line_passes(opened):
    """Read from a screenshot: noise on the left of the line, none on the right."""
    browser = opened(image())
    x, y = seen(browser, ".crop .frame")
    browser.drag((x, y), (x + 100, y))
    pixels = browser.screenshot()[round(y) - 80 : round(y) - 30].astype(float)
    around = [pixels[:, round(x) + 100 + shift :][:, :50].std(axis=(0, 1)).mean() for shift in (-60, 10)]
    assert around[0] == pytest.approx(12, rel=0.1)
    assert around[1] < 0.5


def test_which_pictures_are_compared_is_chosen_for_all_images_and_an_image_without_one_shows_its_own(opened):
    browser = opened(image("a.dng", labels=("recorded", "restored", "clean")), image("b.dng"))
    browser.value("document.querySelector('article:nth-child(2)').scrollIntoView()")
    browser.value("document.getElementById('left').focus()")
    browser.type("c")
    tags = "Array.from(document.querySelectorAll('.crop .tag'), (tag) => tag.textContent)"
    assert browser.value(tags) == ["clean", "restored", "recorded", "restored"]


@pytest.mark.parametrize("scale", [1, 1.5, 2])
def test_at_100_percent_a_pixel_of_the_crop_is_a_pixel_of_the_screen(opened, scale):
    browser = opened(image(), scale=scale)
    browser.value("document.querySelector('[name=zoom][value=\"1\"]').click()")
    assert browser.value("document.querySelector('.crop img').width") * scale == pytest.approx(SIDE, abs=1)
    browser.value("document.querySelector('[name=zoom][value=\"4\"]').click()")
    assert browser.value("document.querySelector('.crop img').width") * scale == pytest.approx(4 * SIDE, abs=1)


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_no_name_warning_or_fact_becomes_markup(opened, name):
    facts = {name: name, "ISO": name}
    browser = opened(image(name, side=16, facts=facts, metrics={name: {name: 1.0}}, warnings=(name,)))
    shown = name.replace("\udcff\udc80", r"\xff\x80")
    assert browser.value("document.querySelector('h2').textContent") == shown
    assert browser.value("document.querySelector('#list a').textContent") == shown
    assert browser.value("document.querySelectorAll('article').length") == 1
    assert browser.value("document.querySelectorAll('img:not([src^=\"data:\"])').length") == 0
    assert browser.mistakes == []


def test_a_narrow_window_needs_no_scrolling_sideways(opened):
    metrics = {label: {f"metric_{n}": 0.5 for n in range(12)} for label in ("degraded", "restored", "bm3d")}
    long = "a_folder_with_a_long_name/" * 6 + "IMG_0001.dng"
    facts = {"noise": "shot 0.0001, read 0.000001 " * 10, "output": long}
    browser = opened(image(long, facts=facts, metrics=metrics, warnings=(long,)), width=360, height=780)
    assert browser.value(OVERFLOW) <= 0
    browser.value("document.querySelector('[name=zoom][value=\"4\"]').click()")
    assert browser.value(OVERFLOW) <= 0


def test_the_list_sorts_by_a_metric_with_unknown_ones_last_and_finds_by_name(opened):
    values = {"a.dng": 30.0, "b.dng": None, "c.dng": 40.0, "d.dng": 4.5}
    browser = opened(*(image(n, side=16, metrics={"restored": {"psnr_raw": v}}) for n, v in values.items()))
    listed = "Array.from(document.querySelectorAll('article:not([hidden]) h2'), (name) => name.textContent[0]).join('')"
    heads = "document.querySelectorAll('#list thead button')"
    assert browser.value(listed) == "abcd"
    assert browser.value(f"{heads}[2].click(); {listed}") == "dacb"
    assert browser.value(f"{heads}[2].click(); {listed}") == "cadb"
    browser.value("document.getElementById('find').focus()")
    browser.type("B.D")
    assert browser.value(listed) == "b"


def test_200_images_read_only_the_pictures_near_the_window(browser, tmp_path):
    lines = report_of(*(image(f"{number:03}.dng", side=64) for number in range(200)))
    lines.write(tmp_path / "index.html")
    browser.open(tmp_path / "index.html")
    assert browser.value("document.querySelectorAll('#list tbody tr').length") == 200
    assert browser.value("document.querySelectorAll('article .crop').length") < 10
    browser.value("document.querySelectorAll('#list a')[149].click()")
    browser.wait("document.querySelector('#image-150 .crop img')?.complete")
    assert browser.value("document.querySelector('#image-150').getBoundingClientRect().top") == pytest.approx(
        56, abs=60
    )
    assert browser.mistakes == []


def test_the_page_refers_to_nothing_outside_itself(tmp_path, browser):
    report = report_of(image())
    report.tables.append(Table("Mean", ["", "psnr_raw"], [["restored", "38.60"]]))
    report.figure("Chart", cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes(), "A chart.")
    report.write(tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text()
    assert set(re.findall(r"https?://[^\s\"']*", page)) == {"http://www.w3.org/2000/svg"}
    browser.open(tmp_path / "index.html")
    asked = "performance.getEntriesByType('resource').map(({name}) => name).filter((name) => !name.startsWith('data:'))"
    assert browser.value(asked) == []
    reached = "fetch('http://localhost/').then(() => 'reached', () => 'refused')"
    assert browser.value(reached) == "refused"
    assert "Content Security Policy" in str(browser.mistakes)


def test_tables_and_figures_stand_above_the_images(browser, tmp_path):
    report = report_of(image(side=16), model="raw_denoise_general")
    report.tables.append(Table("Mean of 24", ["", "psnr_raw"], [["restored", "38.60"]]))
    (tmp_path / "chart.png").write_bytes(cv2.imencode(".png", np.zeros((8, 24, 3), np.uint8))[1].tobytes())
    report.figure("Chart", tmp_path / "chart.png", "A chart.")
    report.write(tmp_path / "index.html")
    browser.open(tmp_path / "index.html")
    assert "Mean of 24" in browser.value("document.getElementById('tables').textContent")
    assert "38.60" in browser.value("document.getElementById('tables').textContent")
    assert browser.value("document.querySelector('#figures img').naturalWidth") == 24
    assert "raw_denoise_general" in browser.value("document.getElementById('about').textContent")


def test_a_later_call_keeps_the_images_it_has_not_restored_again(tmp_path):
    page = tmp_path / "index.html"
    written(page, image("a.dng", 40), image("b.dng", 40), *(image(name, side=16) for name in NAMES))
    before = {line for line in page.read_text().splitlines() if 'class="image"' in line}
    report = report_of(image("b.dng", 200))
    report.keep(page)
    report.write(page)
    after = {line for line in page.read_text().splitlines() if 'class="image"' in line}
    assert len(after) == len(before) == 7
    assert len(after - before) == 1  # b.dng, restored again
    report = report_of()
    report.keep(page, ["a.dng"])
    report.write(page)
    assert names_in(page) == ["a.dng"]


def test_of_a_damaged_or_foreign_page_only_whole_images_are_kept(tmp_path):
    page = tmp_path / "index.html"
    whole = written(page, image("a.dng"), image("b.dng"))
    evil = b'<script type="application/json" class="image">{"name": "x"}</script><script>alert(1)</script>\n'
    for content, kept in [
        (whole[: whole.index(b'"b.dng"') + 1000], ["a.dng"]),
        (whole.replace(b'"names"', b'"nomes"'), []),
        (whole.replace(b'"name": "a.dng"', b'"name": 1'), ["b.dng"]),
        (evil + b'<script type="application/json" class="image">[]</script>\n', []),
        (np.random.default_rng(0).bytes(100_000), []),
        (b"", []),
    ]:
        page.write_bytes(content)
        report = report_of()
        report.keep(page)
        report.write(page)
        assert names_in(page) == kept
    report.keep(tmp_path / "not there")
    report.keep(tmp_path)


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    page = tmp_path / "index.html"
    before = written(page, image())
    monkeypatch.setattr("os.fsync", lambda file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(SaveError, match=r"index\.html"):
        written(page, image(level=50))
    assert page.read_bytes() == before
    assert list(tmp_path.iterdir()) == [page]


def test_a_crop_keeps_weak_noise_where_usual_jpeg_quality_removes_a_quarter():
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 4, (256, 256, 3)), (3, 3), 0.5)
    picture = (100 + noise).round().astype(np.uint8)
    content = np.frombuffer(base64.b64decode(crop_uri(picture).split(",")[1]), np.uint8)
    usual = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]

    def kept(data):
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1] - 100.0
        return (decoded * noise).sum() / (noise**2).sum()

    assert kept(content) > 0.93
    assert kept(usual) < 0.75


def test_the_histogram_gives_a_planes_mean_and_deviation_and_what_lies_beyond(tmp_path):
    removed = {"R": np.array([[0.5, 0.5], [0.5, 10.0]]), "G": np.zeros((2, 2)), "B": np.full((2, 2), np.nan)}
    page = written(tmp_path / "index.html", image()._replace(removed=removed)).decode()
    planes = json.loads(re.search(r'class="pictures">(.*?)</script>', page)[1])["removed"]["planes"]
    assert (planes["R"]["mean"], planes["R"]["beyond"], sum(planes["R"]["shares"])) == (2.875, 0.25, 0.75)
    assert planes["B"]["mean"] is None


def test_an_installed_package_has_the_parts_of_the_page(tmp_path):
    """The wheel's files, as pyproject.toml lists them."""
    build = "from setuptools import setup; setup()"
    outside = ["egg_info", "--egg-base", str(tmp_path), "build_py", "--build-lib", str(tmp_path)]
    words = [sys.executable, "-c", build, "-q", *outside]
    subprocess.run(words, cwd=Path(__file__).parents[1], check=True, capture_output=True)
    here = {file.name for file in (Path(__file__).parents[1] / "restore/report").glob("*.*") if file.suffix != ".md"}
    assert here == {file.name for file in (tmp_path / "restore/report").iterdir()}
