"""The four Bayer phases: every colour stays at its sites, whichever way a mosaic is cut, padded, flipped or turned."""

from itertools import product

import numpy as np
import pytest
import torch

from transforms.sensor.bayer import PATTERNS, rearrange, unify, unify_padded
from transforms.sensor.cameras import draw_camera
from transforms.sensor.mosaicking import packed_raw
from transforms.sensor.rendering import develop, pack, unpack

START = {"RGGB": (0, 0), "GRBG": (0, 1), "GBRG": (1, 0), "BGGR": (1, 1)}
"""Where a mosaic of this pattern begins in an RGGB mosaic."""
SIZES = [(8, 10), (8, 9), (7, 10), (7, 9)]
MOVES = {
    "as it is": (lambda mosaic: mosaic, lambda mosaic: mosaic),
    "left to right": (np.fliplr, np.fliplr),
    "top to bottom": (np.flipud, np.flipud),
    "transposed": (np.transpose, np.transpose),
    **{
        f"{90 * turns} degrees": (
            lambda mosaic, turns=turns: np.rot90(mosaic, turns),
            lambda mosaic, turns=turns: np.rot90(mosaic, -turns),
        )
        for turns in (1, 2, 3)
    },
}
FOUR_PATTERNS = pytest.mark.parametrize("pattern", PATTERNS)
FOUR_SIZES = pytest.mark.parametrize(("height", "width"), SIZES)


def labelled(pattern, height, width):
    """A mosaic whose sites say what they are: 1 R, 2 the green beside R, 3 the green beside B, 4 B; and which one."""
    top, left = START[pattern]
    colours = np.tile([[1.0, 2.0], [3.0, 4.0]], (height, width))[top : top + height, left : left + width]
    return colours + np.arange(height * width).reshape(height, width) / (2 * height * width)


def planes(mosaic):
    return pack(torch.from_numpy(np.ascontiguousarray(mosaic)))


def colours_of(mosaic):
    """The one colour of each of the packed planes."""
    colours = [plane.unique().tolist() for plane in planes(np.floor(mosaic))]
    assert [len(colour) for colour in colours] == [1, 1, 1, 1]
    return [colour for (colour,) in colours]


def grey_mosaic(height=64, width=64):
    """An RGGB mosaic of a grey scene that gets brighter from corner to corner, and the camera that develops it."""
    brightness = np.add.outer(np.arange(height), np.arange(width)) / (height + width)
    image = np.repeat((40 + 120 * brightness)[..., None], 3, axis=2) / 255
    camera = draw_camera("fixed", torch.Generator().manual_seed(0))
    return unpack(torch.from_numpy(packed_raw(image.astype(np.float32), camera))).numpy(), camera


def cast(mosaic, camera):
    """The greatest difference between the colours of a pixel, once this RGGB mosaic is rendered: 0 to 1.

    Near the edges, where demosaicing sees the scene mirrored, its ramp has a crease, and so a little colour.
    """
    picture = develop(planes(mosaic), camera)[:, 5:-5, 5:-5]
    return (picture.amax(0) - picture.amin(0)).max().item()


def test_the_labels_are_the_patterns():
    for pattern in PATTERNS:
        assert "".join("_RGGB"[int(colour)] for colour in labelled(pattern, 2, 2).flat) == pattern


@FOUR_PATTERNS
@FOUR_SIZES
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_unifying_leaves_the_pixels_that_make_a_whole_rggb_mosaic(pattern, height, width, kind):
    mosaic = labelled(pattern, height, width)
    top, left = -np.array(START[pattern]) % 2
    unified = np.asarray(unify(kind(mosaic), pattern))
    assert colours_of(unified) == [1, 2, 3, 4]
    assert unified.shape == ((height - top) // 2 * 2, (width - left) // 2 * 2)
    np.testing.assert_array_equal(unified, mosaic[top : top + unified.shape[0], left : left + unified.shape[1]])


@FOUR_PATTERNS
@pytest.mark.parametrize(("height", "width"), [*SIZES, (2, 2), (2, 3), (3, 2)])
def test_padding_makes_an_rggb_mosaic_from_which_every_pixel_is_cut_back(pattern, height, width):
    mosaic = labelled(pattern, height, width)
    padded, window = unify_padded(np.stack([mosaic, mosaic]), pattern)
    assert colours_of(padded[0]) == [1, 2, 3, 4]
    np.testing.assert_array_equal(padded[..., *window], np.stack([mosaic, mosaic]))
    assert max(padded.shape[1] - height, padded.shape[2] - width) <= 2


@FOUR_PATTERNS
@FOUR_SIZES
@pytest.mark.parametrize("move", MOVES)
def test_a_mosaic_that_is_moved_has_the_pattern_that_is_told(pattern, height, width, move):
    mosaic, (there, back) = labelled(pattern, height, width), MOVES[move]
    moved, moved_pattern = rearrange(mosaic, pattern, there)
    red, *greens, blue = colours_of(unify(moved, moved_pattern))
    assert (red, sorted(greens), blue) == (1, [2, 3], 4)
    np.testing.assert_array_equal(moved, there(mosaic))
    again, again_pattern = rearrange(moved, moved_pattern, back)
    np.testing.assert_array_equal(again, mosaic)
    assert again_pattern == pattern


def test_a_flip_changes_the_phase_along_even_sides_alone():
    patterns = [rearrange(labelled("RGGB", *size), "RGGB", np.fliplr)[1] for size in ((8, 10), (7, 10), (8, 9))]
    assert patterns == ["GRBG", "GRBG", "RGGB"]


@FOUR_PATTERNS
@pytest.mark.parametrize("move", MOVES)
def test_a_grey_scene_stays_grey_in_every_phase_and_any_way_round(pattern, move):
    mosaic, camera = grey_mosaic()
    top, left = START[pattern]
    for bottom, right in product((-1, -2), repeat=2):
        moved = rearrange(mosaic[top:bottom, left:right], pattern, MOVES[move][0])
        assert cast(unify(*moved), camera) < 1e-3
        assert cast(unify_padded(*moved)[0], camera) < 1e-3


@FOUR_PATTERNS
def test_a_phase_taken_for_another_would_show(pattern):
    mosaic, camera = grey_mosaic()
    top, left = START[pattern]
    for wrong in set(PATTERNS) - {pattern}:
        assert cast(unify(mosaic[top:, left:], wrong), camera) > 0.1
