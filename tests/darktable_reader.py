"""Uses a .dtmodel as darktable 5.6 does, written after its sources: restore_raw_bayer.c, restore_common.h, ai_models.c.

It shares nothing with the suite. Names are darktable's.
"""

import json
import zipfile

import numpy as np
import onnxruntime

OVERLAP_PACKED = 32
FILTERS = {"RGGB": (0, 1, 1, 2), "GRBG": (1, 0, 2, 1), "GBRG": (1, 2, 0, 1), "BGGR": (2, 1, 1, 0)}
"""FC(row & 1, column & 1) of each pattern: 0 red, 1 green, 2 blue."""


def install(path):
    """config.json and the ONNX files of a package, refused as darktable refuses it."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        top = entries[0].filename.split("/")[0]
        assert top not in ("", ".", "..")
        for entry in entries:
            assert ".." not in entry.filename
            assert not entry.is_dir()
            assert entry.filename.split("/")[0] == top
            assert len(entry.filename.split("/")) == 2
        files = {entry.filename.split("/")[1]: archive.read(entry) for entry in entries}
    config = json.loads(files.pop("config.json"))
    assert config["id"] == top
    assert config["backend"] == "onnx"
    major, minor = map(int, config["version"].split("."))
    assert (major, minor) >= (1, 0)
    assert all(name.endswith(".onnx") for name in files)
    return config, files


def session_of(content):
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def mirror_in_range(values, low, high):
    period = 2 * (high - low - 1)
    offset = np.abs((values - low) % period)
    return low + np.minimum(offset, period - offset)


def seam(positions, start, end, overlap, has_before, has_after):
    """The ramp of darktable's seams: 0.5 at the border between two cores, and 1 an overlap inside."""
    weights = np.ones(len(positions))
    if has_before:
        weights = np.minimum(weights, (positions + 0.5 - (start - overlap)) / (2 * overlap))
    if has_after:
        weights = np.minimum(weights, (end + overlap - positions - 0.5) / (2 * overlap))
    return weights.clip(0, 1)


def raw_denoise(path, cfa, pattern, black, white, attributes=None):
    """dt_restore_raw_bayer: (H, W) uint16 of the whole sensor -> the same, at strength 1.

    black  of the four sites, indexed as ((row & 1) << 1) | (column & 1)
    """
    config, files = install(path)
    assert config["task"] == "rawdenoise"
    attributes = config["attributes"]["model_bayer"] | (attributes or {})
    assert attributes["input_kind"] == "bayer_v1"
    assert attributes["wb_norm"] == "none"
    assert attributes["bayer_orientation"] == "force_rggb"
    assert attributes["edge_pad"] == "mirror_cropped"
    session = session_of(files["model_bayer.onnx"])
    side, overlap = attributes["input_sizes"][0], OVERLAP_PACKED
    assert side >= 4 * overlap
    height, width = cfa.shape
    filters = np.array(FILTERS[pattern]).reshape(2, 2)
    y0, x0 = np.argwhere(filters == 0)[0]
    rows, columns = np.arange(height)[:, None], np.arange(width)
    level = np.array(black, np.float32)[((rows & 1) << 1) | (columns & 1)]
    span = np.float32(white) - level
    colours = filters[rows & 1, columns & 1]
    linear = (cfa.astype(np.float32) - level) / span

    values, sums = np.zeros((height, width)), np.zeros((height, width))
    packed_height, packed_width = (height - y0) // 2, (width - x0) // 2
    vertical, horizontal = (y0, y0 + (height - y0) // 2 * 2), (x0, x0 + (width - x0) // 2 * 2)
    step = side - 2 * overlap
    tiles_down, tiles_across = -(-packed_height // step), -(-packed_width // step)
    for ty in range(tiles_down):
        for tx in range(tiles_across):
            y, x = ty * step, tx * step
            sensor_rows = mirror_in_range(y0 + 2 * (y - overlap) + np.arange(2 * side), *vertical)
            sensor_columns = mirror_in_range(x0 + 2 * (x - overlap) + np.arange(2 * side), *horizontal)
            window = linear[np.ix_(sensor_rows, sensor_columns)]
            tile = np.stack([window[row::2, column::2] for row in (0, 1) for column in (0, 1)])[None]
            (model,) = session.run(["output"], {"input": tile})
            assert model.shape == (1, 3, 2 * side, 2 * side)
            assert model.dtype == np.float32
            if attributes["output_scale"] == "match_gain":
                model = model * (tile.mean() / model.mean())
            else:
                assert attributes["output_scale"] == "absolute"
            end_y, end_x = min(y + step, packed_height), min(x + step, packed_width)
            top, bottom = y0 + 2 * y, y0 + 2 * end_y
            left, right = x0 + 2 * x, x0 + 2 * end_x
            has = (ty > 0, ty < tiles_down - 1, tx > 0, tx < tiles_across - 1)
            own_rows = np.arange(top - 2 * overlap * has[0], min(bottom + 2 * overlap * has[1], y0 + 2 * packed_height))
            own_columns = np.arange(
                left - 2 * overlap * has[2], min(right + 2 * overlap * has[3], x0 + 2 * packed_width)
            )
            place = np.ix_(own_rows, own_columns)
            picked = model[0][
                colours[place],
                (2 * overlap + own_rows - top)[:, None],
                2 * overlap + own_columns - left,
            ]
            weight = seam(own_rows, top, bottom, 2 * overlap, *has[:2])[:, None] * seam(
                own_columns, left, right, 2 * overlap, *has[2:]
            )
            values[place] += weight * (picked * span[place] + level[place])
            sums[place] += weight
    covered = sums > 0
    np.testing.assert_allclose(sums[covered], 1, atol=1e-9)
    assert np.count_nonzero(covered) == 4 * packed_height * packed_width
    return (np.where(covered, values, cfa).clip(0, white) + 0.5).astype(np.uint16)
