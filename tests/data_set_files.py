"""Photographs, raw files and pairs that tests write as data sets have them, and how tests open them."""

import cv2
import h5py
import numpy as np
from raw_files import write_dng

import transforms
from options.base import parse
from restore.data.sources import PathOptions
from restore.data.store import open_photographs
from transforms.sensor.mosaic import Mosaic

TO_TENSOR = {"class_name": "ToTensor2"}
RAW_CHAIN = [{"class_name": "RgbToRawTransform"}, TO_TENSOR]
COLOURS = {"R": 0.1, "G": 0.2, "B": 0.4}


def opened(*entries, chain=RAW_CHAIN):
    """The photographs of the entries as in an option file, checked by the chain."""
    sections = parse(list[PathOptions], list(entries), "training_path")
    return open_photographs(sections, transforms.build(chain), "training_path")


def mosaic_of(pattern, height=40, width=48, scale=1.0):
    """(H, W) whose values tell the colours apart: R 0.1, G 0.2, B 0.4."""
    cell = np.array([COLOURS[colour] for colour in pattern], np.float32).reshape(2, 2)
    return np.tile(cell, (height // 2, width // 2)) * np.float32(scale)


def write_raw(path, pattern="RGGB", level=1.0, **tags):
    """A DNG, whatever its suffix, of mosaic_of, black 1000 and white 11000 DN."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.rint(mosaic_of(pattern, scale=level) * 10000 + 1000).astype(np.uint16)
    return write_dng(path, values, pattern, (1000,) * 4, 11000, **tags)


def write_picture(path, value=100, size=(40, 48), dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), value, dtype))
    return path


def write_mat(path, values):
    """As MATLAB 7.3 writes an array (rows, columns): HDF5 has it as columns, rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["x"] = values.T
    return path


def assert_rggb(mosaic, scale=1.0, shape=None):
    assert isinstance(mosaic, Mosaic)
    expected = mosaic_of("RGGB", *mosaic.shape, scale)
    assert np.allclose(mosaic.values, expected, atol=1e-4)
    assert shape is None or mosaic.shape == shape


def write_sidd(root, folder, pattern, number="010"):
    """A pair of a scene: the noisy one half as bright. pattern as MATLAB has the array."""
    for kind, scale in (("NOISY", 0.5), ("GT", 1.0)):
        name = f"{folder[:4]}_{kind}_RAW_{number}.MAT"
        write_mat(root / "Data" / folder / name, mosaic_of(pattern, 30, 44, scale))
