"""Training of networks that enlarge keeps the promises of all training: resuming, and shares of several processes."""

import signal

import pytest
import torch
from conftest import CPU, command, train
from test_data import folders, write_photographs
from test_resume import interrupt_after, stop
from test_strategies import assert_same_state, state

import transforms
from options.errors import Interrupted
from restore.compute.process import Process
from restore.data.batches import Batches, Samples, Stage
from restore.data.store import open_photographs

CROP = {"class_name": "RandomCrop", "h": 32, "w": 32}
END = {"class_name": "ToTensor2"}
PICTURES = [CROP, {"class_name": "RandomFlip"}, {"class_name": "BicubicDownsample", "scale": 2}, END]
RAW = [
    CROP,
    {"class_name": "RandomRotate"},
    {"class_name": "RgbToRawTransform", "scale": 2, "psf_sigma": [0.3, 0.8]},
    END,
]
SPAN = {"class_name": "SPAN", "n_channels": 3, "scale": 2, "feature_channels": 8}
UNET = {"class_name": "UNet", "n_channels": 4, "scale": 2, "widths": [8, 16]}
RUNS = pytest.mark.parametrize(("generator", "chain"), [(SPAN, PICTURES), (UNET, RAW)], ids=["pictures", "raw"])
STRATEGIES = {"ema": {"decay": 0.9}, "accumulation": 3, "workers": 0, "validate_every": 3}


def changes(generator, chain, **more):
    return {"generator": generator, "transforms_train": chain, "transforms_test": chain, **STRATEGIES, **more}


@RUNS
def test_a_run_at_scale_2_goes_on_to_the_same_state_from_wherever_it_was_stopped(
    option_file, monkeypatch, generator, chain
):
    path = option_file(**changes(generator, chain, total_iterations=7))
    train("-opt", path, "--run-name", "whole")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(Interrupted):
            train("-opt", path, "--run-name", "parted")
    train("--resume", "model_zoo/parted")
    assert_same_state(state("parted"), state("whole"))


@RUNS
def test_a_run_at_scale_2_that_is_killed_goes_on_to_the_same_state(option_file, workplace, generator, chain):
    path = option_file(**changes(generator, chain, total_iterations=24))
    train("-opt", path, "--run-name", "whole")
    process = command("restore.train", "-opt", path, "--run-name", "killed", start_new_session=True)
    status, _, _ = stop(process, signal.SIGKILL, workplace / "model_zoo/killed", "model_3.json")
    assert status == -signal.SIGKILL
    assert state("killed")["progress"]["iteration"] < 24, "killed too late to show anything"
    train("--resume", "model_zoo/killed")
    assert_same_state(state("killed"), state("whole"))


@pytest.mark.parametrize("chain", [PICTURES, RAW], ids=["pictures", "raw"])
def test_the_processes_of_a_run_share_pairs_of_unequal_sizes(workplace, chain):
    folder = write_photographs(workplace / "photos", 9)
    pipeline = transforms.build([{**CROP, "h": 16, "w": 16}, *chain[1:]])
    photographs = open_photographs(folders(folder), pipeline, "training_path", scale=2).usable
    stages = [Stage(0, Samples(photographs, pipeline, 0, "training"), 4)]
    whole = list(Batches(stages, 0, CPU).after(0, 4))
    assert whole[0].clean.shape[-1] == 2 * whole[0].degraded.shape[-1]
    for rank in range(2):
        for batch, part in zip(whole, Batches(stages, 0, CPU, Process(rank, 2)).after(0, 4), strict=True):
            assert torch.equal(part.degraded, batch.degraded[rank::2])
            assert torch.equal(part.clean, batch.clean[rank::2])
