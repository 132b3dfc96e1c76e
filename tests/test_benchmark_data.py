"""The benchmark of the training chain: it compares like with like, and runs where it stands."""

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT

from restore.benchmark.__main__ import main, read_arguments
from restore.benchmark.plain_synthesis import FACTOR, SIDE, SIGMA, plain_clean
from transforms.downsample import Downsample
from transforms.sensor.cameras import draw_camera
from transforms.sensor.mosaicking import packed_raw


def test_the_plain_formulation_gives_the_same_clean_image():
    coarse = np.random.default_rng(0).integers(
        30, 220, (40, 40, 3), np.uint8
    )  # short of white, where tables are coarse
    window = cv2.resize(coarse, (FACTOR * SIDE, FACTOR * SIDE), interpolation=cv2.INTER_CUBIC)
    camera = draw_camera("normal", torch.Generator().manual_seed(0))
    lazy = Downsample(downsampling_factor=FACTOR, sigma=SIGMA)(window, torch.Generator())
    np.testing.assert_allclose(packed_raw(np.asarray(lazy), camera), plain_clean(window, camera), rtol=0, atol=1e-4)


def test_it_times_an_option_files_chain_and_leaves_no_file_behind(workplace, capsys):
    main(read_arguments(["data", "--opt", str(ROOT / "options/scunet_raw.json"), "--repeats", "1", "--crops", "1"]))
    lines = capsys.readouterr().out.splitlines()
    rates = {line[:34].strip(): float(line.split()[-2].replace(",", "")) for line in lines if line.endswith("x")}
    assert len(rates) == 8
    assert all(rate > 0 for rate in rates.values())
    timed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert timed[-4:] == ["Downsample", "RandomCrop", "RgbToRawTransform", "ToTensor2"]
    assert list(workplace.iterdir()) == []


def test_an_option_file_that_is_not_there_is_named(workplace):
    with pytest.raises(ValueError, match="nowhere"):
        main(read_arguments(["data", "--opt", "nowhere.json"]))
