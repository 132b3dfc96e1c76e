"""Strips show one scene in all their pictures, pixel by pixel as they are."""

import pytest
import torch

from restore.evaluation.strips import GAP, display_gain, stack, strip
from transforms.sensor.unprocessing import linear_to_srgb, srgb_to_linear


def parts(shown: torch.Tensor, count: int) -> list[torch.Tensor]:
    """The pictures of a strip (3, h, w)."""
    width = (shown.shape[-1] + GAP) // count - GAP
    return [shown[..., number * (width + GAP) : number * (width + GAP) + width] for number in range(count)]


def test_pictures_of_one_size_are_shown_as_they_are():
    pictures = list(torch.rand(3, 3, 20, 30))
    for part, picture in zip(parts(strip(pictures, 384), 3), pictures, strict=True):
        assert torch.equal(part, picture)
    assert torch.equal(parts(strip(pictures, 10), 3)[1], pictures[1][:, 5:15, 10:20])


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("largest", [384, 17, 8])
def test_a_smaller_picture_is_enlarged_by_repeating_its_pixels_and_cut_at_the_same_place(scale, largest):
    small = torch.rand(3, 15, 22)
    large = small.repeat_interleave(scale, -2).repeat_interleave(scale, -1)
    first, second = parts(strip([small, large], largest), 2)
    assert torch.equal(first, second)
    assert first.shape[-1] == min(largest, scale * 22)


def test_strips_of_other_sizes_are_stacked_with_white_beside_the_narrower():
    rows = [strip([torch.zeros(3, 8, 10)], 384), strip([torch.zeros(3, 6, 20)], 384)]
    sheet = stack(rows)
    assert sheet.shape == (3, 8 + GAP + 6, 20)
    assert bool((sheet[:, :8, 10:] == 1).all())


def test_dark_pictures_are_shown_brighter_by_one_factor_that_is_written_beside():
    clean = torch.rand(3, 40, 60) * 0.02
    degraded = (clean + 0.005 * torch.randn(3, 40, 60)).clamp(0, 1)
    first, last = parts(strip([degraded, clean], 384), 2)
    gain = display_gain(clean)
    assert gain > 1
    assert gain & (gain - 1) == 0, "a power of two"
    brighter = [linear_to_srgb((gain * srgb_to_linear(picture)).clamp(0, 1)) for picture in (degraded, clean)]
    assert brighter[1].max() > 0.5
    assert torch.equal(first, brighter[0])
    assert torch.equal(last[:, 20:], brighter[1][:, 20:])
    assert not torch.equal(last[:, :20], brighter[1][:, :20]), "the factor is written there"


@pytest.mark.parametrize("level", [0.0, 1e-7, 0.6, 1.0])
def test_pictures_that_are_bright_or_wholly_black_are_shown_as_they_are(level):
    picture = torch.full((3, 8, 8), level)
    assert display_gain(picture) == 1
    assert torch.equal(strip([picture], 384), picture)
