"""restore.chart: what is measured of known images is what theory says, and mistakes are told in a line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from restoring_files import identity_model
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab

from restore import load_model
from restore.chart.__main__ import main
from restore.chart.charts import CHARTS
from restore.chart.edge import FREQUENCIES, crossing, measure_edge
from restore.chart.measures import FREQUENCIES as STEPS
from restore.chart.measures import autocorrelation, measure_patches, measure_ramp, measure_waves
from restore.chart.patterns import (
    LENS_BLUR,
    PATCHES,
    STRENGTHS,
    edge_raw,
    patches_raw,
    ramp_raw,
    star,
    sweep,
    waves_raw,
    zone_plate,
)
from restore.chart.plots import edge_plot
from restore.chart.report import measure_charts
from restore.command.arguments import chart_arguments, run_command
from transforms import RGGB, RawMetadata
from transforms.noise import Dng, add_noise
from transforms.sensor.cameras import NEUTRAL
from transforms.sensor.unprocessing import linear_to_srgb, srgb_to_linear

SIZE = 256


def chart(*words):
    """The exit status of `python -m restore.chart words`, run here."""
    return run_command(main, chart_arguments(["--device", "cpu", *map(str, words)]))


def blurred_by(frequency, blur):
    """The modulation transfer of a Gaussian [px]."""
    return np.exp(-2 * (np.pi * blur * frequency) ** 2)


def pixel(frequency, degrees):
    """The modulation transfer of a square pixel for waves in this direction."""
    direction = np.radians(degrees)
    return np.sinc(frequency * np.cos(direction)) * np.sinc(frequency * np.sin(direction))


def noise_of(iso):
    return Dng().draw(iso, torch.Generator())


def noisy(clean, iso, seed=0):
    return add_noise(clean, noise_of(iso), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("blur", [0.4, 0.5, 0.8, 1.5])
@pytest.mark.parametrize("angle", [3, 5, 8, 12])
def test_mtf50_of_an_edge_of_known_blur_is_within_two_percent_of_theory(blur, angle):
    theory = blurred_by(FREQUENCIES, blur) * pixel(FREQUENCIES, angle)
    raw = edge_raw(2 * SIZE, 0.6, blur, angle)
    for colour in ("R", "G", "B"):
        measured = measure_edge(raw, colour)
        assert measured.mtf50 == pytest.approx(crossing(FREQUENCIES, theory, 0.5), rel=0.02)
        seen = FREQUENCIES <= 0.5
        np.testing.assert_allclose(measured.mtf[seen], theory[seen], atol=0.02)


def test_mtf50_depends_neither_on_contrast_nor_on_moderate_noise():
    sharp = measure_edge(edge_raw(2 * SIZE, 0.6)).mtf50
    assert measure_edge(edge_raw(2 * SIZE, 0.05)).mtf50 == pytest.approx(sharp, rel=1e-3)
    raw = edge_raw(2 * SIZE, 0.6)
    found = [measure_edge(noisy(raw, 1600, seed)).mtf50 for seed in range(12)]
    assert np.mean(found) == pytest.approx(sharp, rel=0.015)


def test_an_image_without_an_edge_has_no_mtf50_and_no_error():
    grey = torch.full((4, SIZE // 2, SIZE // 2), 0.18)
    for raw in (grey, -edge_raw(SIZE, 0.6)):
        measured = measure_edge(raw)
        assert np.isnan(measured.mtf50)
        edge_plot({"restored": measured})
    for seed in range(5):
        measure_edge(noisy(grey, 102400, seed))


@pytest.mark.parametrize("pattern", [star, zone_plate, sweep])
@pytest.mark.parametrize("blur", [0.4, 0.8])
def test_modulation_of_a_chart_of_known_blur_is_as_theory_says(pattern, blur):
    upright = pattern is sweep
    directions = [0] if upright else np.arange(0, 90, 5)
    theory = blurred_by(STEPS, blur) * np.mean([pixel(STEPS, degrees) for degrees in directions], axis=0)
    measured = measure_waves(waves_raw(pattern, 2 * SIZE, 0.6, blur), pattern, 0.6)
    np.testing.assert_allclose(measured, theory, atol=0.02)


def test_the_sweep_has_half_the_contrast_in_each_band():
    raw = waves_raw(sweep, SIZE, 0.6)
    bands = [measure_waves(raw, sweep, 0.6, strength) for strength in STRENGTHS]
    np.testing.assert_allclose(bands, np.broadcast_to(bands[0], (6, len(STEPS))), atol=0.03)


def test_noise_alone_has_no_modulation():
    grey = torch.full((4, SIZE, SIZE), 0.18)
    assert abs(measure_waves(noisy(grey, 6400), zone_plate, 0.6).mean()) < 0.01


def white_noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_autocorrelation_of_white_noise_is_a_peak():
    for values in autocorrelation(white_noise(4, SIZE, SIZE)):
        assert values[0] == pytest.approx(1)
        assert np.abs(values[1:]).max() < 0.01


@pytest.mark.parametrize("sigma", [1, 2, 3])
def test_autocorrelation_of_blurred_noise_is_as_theory_says(sigma):
    planes = np.stack([gaussian_filter(plane, sigma, mode="wrap") for plane in white_noise(4, 512, 512)])
    for values in autocorrelation(planes):
        np.testing.assert_allclose(values, np.exp(-((np.arange(len(values)) / (2 * sigma)) ** 2)), atol=0.05)


def test_noise_of_whole_rows_shows_along_the_rows_alone():
    along_rows, along_columns = autocorrelation(np.repeat(white_noise(4, SIZE, 1), SIZE, axis=2))
    np.testing.assert_allclose(along_rows, 1, atol=1e-6)
    assert np.abs(along_columns[1:]).max() < 0.1


def test_noise_of_the_ramp_is_the_noise_that_was_added():
    clean = ramp_raw(2 * SIZE)
    measured = measure_ramp(noisy(clean, 6400), clean)
    noise = noise_of(6400)
    expected = np.sqrt(float(noise.shot[1]) * measured.light + float(noise.read[1])) / measured.light
    np.testing.assert_allclose(measured.noise, expected, rtol=0.03)
    np.testing.assert_allclose(measured.bias / measured.noise, 0, atol=0.03)
    assert measured.correlation_length == pytest.approx(2 * (1 - np.exp(-1)), rel=0.02)


def test_coarse_noise_and_a_wrong_brightness_are_found_on_the_ramp():
    clean = ramp_raw(2 * SIZE)
    blotches = np.stack([gaussian_filter(plane, 2) for plane in white_noise(4, SIZE, SIZE)])
    wrong = 1.02 * clean + 0.01 * clean * torch.from_numpy(blotches)
    measured = measure_ramp(wrong, clean)
    assert measured.correlation_length == pytest.approx(2 * 2 * RGGB.cell, rel=0.1)
    np.testing.assert_allclose(measured.bias, 0.02, atol=0.001)


def test_patches_render_to_their_published_colours():
    picture = RGGB.render(patches_raw(SIZE), RawMetadata(NEUTRAL, noise_of(100).profile()))
    for number, colour in enumerate(PATCHES.values()):
        row, column = divmod(number, 6)
        shown = picture[:, SIZE * row // 4 + SIZE // 8, SIZE * column // 6 + SIZE // 12]
        np.testing.assert_allclose(255 * shown, colour, atol=0.6)


def test_colour_error_of_a_grey_made_brighter_is_as_the_formula_says():
    clean = patches_raw(SIZE)
    assert measure_patches(clean, clean).delta_e.tolist() == [0] * 24
    level = torch.tensor(200 / 255)
    brighter = linear_to_srgb(1.05 * srgb_to_linear(level))
    before, after = (rgb2lab([float(value)] * 3)[0] for value in (level, brighter))
    off = ((before + after) / 2 - 50) ** 2
    expected = (after - before) / (1 + 0.015 * off / np.sqrt(20 + off))  # CIE DE2000 of two greys
    measured = measure_patches(1.05 * clean, clean)
    assert measured.delta_e[list(PATCHES).index("neutral 8")] == pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(measured.bias, 0.05, atol=1e-5)


def numbers_in(part):
    """All numbers of nested sections and lists in one list."""
    if isinstance(part, dict | list):
        return [number for one in (part.values() if isinstance(part, dict) else part) for number in numbers_in(one)]
    return [np.nan if part is None else part]


def test_a_model_that_changes_nothing_leaves_all_numbers_as_they_were(workplace):
    model = load_model(identity_model(workplace / "identity.pth", n_channels=4, layout="RGGB"), "cpu")
    numbers = measure_charts(model, iso=6400, size=SIZE).numbers
    for name in (*CHARTS, "summary"):
        degraded, restored, clean = (numbers_in(numbers[name][image]) for image in ("degraded", "restored", "clean"))
        np.testing.assert_allclose(restored, degraded, atol=1e-6)
        assert not np.allclose(degraded, clean, equal_nan=True)


def test_the_command_measures_the_model_that_comes_with_the_suite(workplace, capsys):
    noise_model = json.dumps({"class_name": "dng", "shot": 1.5e-3, "read": 3e-6})
    assert chart("--output", "charts", "--size", SIZE, "--noise-model", noise_model) == 0
    numbers = json.loads(Path("charts/chart.json").read_text())
    degraded, restored, clean = (numbers["summary"][image] for image in ("degraded", "restored", "clean"))
    assert restored["grey_noise"] < degraded["grey_noise"] / 8
    assert restored["correlation_length"] > 3 * degraded["correlation_length"]
    assert clean["mtf50"] == pytest.approx(0.323, rel=0.02)  # theory, for the lens's blur
    assert restored["mtf50"] == pytest.approx(clean["mtf50"], rel=0.15)
    assert restored["delta_e"] < 1
    assert (clean["faint_detail"], clean["grey_noise"], clean["delta_e"]) == (1, 0, 0)
    assert (numbers["lens_blur"], numbers["iso"], numbers["noise_model"]["shot"]) == (LENS_BLUR, None, 1.5e-3)
    pictures = {f"{name}{end}.png" for name in CHARTS for end in ("", "_strip")}
    assert {file.name for file in Path("charts").iterdir()} == {*pictures, "chart.json", "index.html"}
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told[2:6]] == ["MTF50", "degraded", "restored", "clean"]


def test_the_noise_depends_on_the_seed_alone(workplace):
    model = load_model(identity_model(workplace / "identity.pth", n_channels=4, layout="RGGB"), "cpu")
    first, again, other = (measure_charts(model, size=SIZE, seed=seed).numbers for seed in (1, 1, 2))
    assert first == again
    assert first["summary"] != other["summary"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--contrast", "0"], "--contrast: 0.0 given; give a number from 0.01 to 1"),
        (["--contrast", "nan"], "--contrast: nan given; give a number from 0.01 to 1"),
        (["--size", "257"], "--size: 257 given; give an even number of pixels from 256 to 2048"),
        (["--size", "100000"], "--size: 100000 given; give an even number of pixels from 256 to 2048"),
        (["--iso", "0"], "--iso: 0 given; give an ISO speed from 1"),
        (["--iso", "100", "--noise-model", "gaussian"], "--iso: 100 given, and the noise of gaussian is the same"),
        (["--noise-model", "dgn"], "--noise-model"),
        (["--noise-model", '{"class_name"'], "--noise-model: not JSON"),
        (["--noise-model", '{"class_name": "profile", "camera": "none.json"}'], "none.json"),
        (["--noise-model", ""], "--noise-model"),
        (["--model", "none"], "--model: none is not there"),
        (["--model", "srgb.pth"], "--model: srgb.pth restores sRGB pictures"),
        (["--model", "larger.pth"], "--model: larger.pth enlarges 2 times"),
        (["--tile", "1"], "--tile: 1 given"),
        (["--output", ""], "--output: empty"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_file(workplace, capsys, words, line):
    identity_model(workplace / "srgb.pth")
    identity_model(workplace / "larger.pth", n_channels=4, layout="RGGB", scale=2)
    before = set(workplace.iterdir())
    assert chart(*words) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith("error: ")
    assert line in told[0]
    assert {path for path in workplace.iterdir() if path.name != "charts"} == before
    assert not list(workplace.glob("charts/*"))
