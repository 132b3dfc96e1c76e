"""What a training run leaves behind, and what it does when something goes wrong."""

import json
import resource
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import command, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from options.errors import UserError
from restore.training.option_file import read_option_file

INFORMATION = [
    "in_res",
    "n_channels",
    "epoch",
    "total_epochs",
    "iteration",
    "total_iterations",
    "duration",
    "pretrained_model",
    "model_architecture",
    "use_sigmoid",
    "config",
    "batch_size",
    "loss_info",
    "optimizer",
    "initial_learning_rate",
    "last_learning_rate",
    "decay_factor",
    "decay_step",
    "lr_patience",
    "number_params",
    "n_imgs_train",
    "n_imgs_test",
    "training_path",
    "testing_path",
    "transforms_train",
    "transforms_test",
    "final_test_loss",
    "final_val_loss",
]


@pytest.fixture
def finished(option_file, capsys):
    """A finished run, and what it printed."""
    train("-opt", option_file(), "--run-name", "done")
    return Path("model_zoo/done"), capsys.readouterr().out


def test_a_run_leaves_models_information_state_and_options(finished):
    run, _ = finished
    names = {file.name for file in run.iterdir()}
    savepoints = {f"model_{iteration}.{kind}" for iteration in (10, 15, 20) for kind in ("pth", "json")}
    assert names == savepoints | {
        "best.pth", "best.json", "state.pth", "options.json", "log.txt", "curves.csv", "curves.png"
    }  # fmt: skip


def test_information_file_has_the_contracts_keys_and_true_values(finished):
    run, _ = finished
    information = json.loads((run / "model_20.json").read_text())
    assert [key for key in INFORMATION if key not in information] == []
    assert information["iteration"] == information["total_iterations"] == 20
    assert information["epoch"] == 10
    assert information["n_imgs_train"] == information["n_imgs_test"] == 6
    assert information["in_res"] == 32
    assert information["decay_step"] == "auto_plateau"
    assert information["loss_info"]["Pixel_Loss"] == "L1"
    assert information["loss_info"]["GAN_Loss"] is None
    assert information["transforms_train"]["0"] == {"class_name": "RandomCrop", "h": 32, "w": 32}
    weights = torch.load(run / "model_20.pth", weights_only=True)
    assert information["number_params"] == sum(tensor.numel() for tensor in weights.values())


def test_best_is_the_savepoint_with_the_lowest_validation_loss(finished):
    run, _ = finished
    losses = {n: json.loads((run / f"model_{n}.json").read_text())["final_val_loss"] for n in (10, 15, 20)}
    best = min(losses, key=losses.get)
    assert json.loads((run / "best.json").read_text())["iteration"] == best
    assert (run / "best.pth").read_bytes() == (run / f"model_{best}.pth").read_bytes()


def test_resolved_options_run_again_as_they_are(finished):
    run, _ = finished
    options = read_option_file(run / "options.json")
    assert options.total_iterations == 20
    assert "workers" in json.loads((run / "options.json").read_text()), "what was left to its default is written out"


def test_console_begins_with_the_device_and_ends_with_noisy_and_restored_psnr(finished):
    _, printed = finished
    lines = printed.splitlines()
    assert lines[0].startswith("device: cpu")
    assert "degraded PSNR" in printed.split("best model")[1]
    assert "restored PSNR" in printed.split("best model")[1]
    assert "tensorboard --logdir" in lines[-2]
    assert "restore.test --model model_zoo/done" in lines[-1]


def test_tensorboard_has_every_curve_and_one_picture_to_a_savepoint(finished):
    events = EventAccumulator("tensorboard_logs/done", size_guidance={"images": 0})
    events.Reload()
    curves = {"1_validation/loss", "1_validation/psnr_raw", "2_loss/total", "2_loss/pixel", "3_best_model/psnr_raw"}
    curves |= {"5_learning_rate/generator", "7_gradient_norm/generator", "8_speed/images_per_second"}
    assert curves <= set(events.Tags()["scalars"])
    pictures = events.Images("1_validation/strip_degraded_restored_clean")
    assert [picture.step for picture in pictures] == [5, 10, 15, 20]
    strip = cv2.imdecode(np.frombuffer(pictures[-1].encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert strip.shape == (4 * 32 + 3 * 4, 3 * 32 + 2 * 4, 3)


def test_total_epochs_ends_a_run_that_total_iterations_would_not(option_file):
    train("-opt", option_file(total_epochs=2, total_iterations=None, validate_every=None), "--run-name", "two")
    assert sorted(file.name for file in Path("model_zoo/two").glob("model_*.pth")) == ["model_2.pth", "model_4.pth"]


def test_a_run_that_total_epochs_ends_before_its_total_iterations_says_so(option_file, capsys):
    train("-opt", option_file(total_epochs=2, total_iterations=20, validate_every=None), "--check")
    printed = capsys.readouterr().out
    assert "warning: total_epochs, 2, ends the run after 4 updates, before total_iterations, 20, does; raise" in printed


def test_a_finished_run_goes_on_when_it_is_given_more_iterations(finished):
    run, _ = finished
    train("--resume", run, "--set", "total_iterations=25")
    assert (run / "model_25.pth").exists()


def test_a_run_name_that_exists_is_refused_and_the_run_untouched(finished, option_file):
    run, _ = finished
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    with pytest.raises(UserError, match=r"--run-name: model_zoo/done exists"):
        train("-opt", option_file(), "--run-name", "done")
    assert before == {file.name: file.read_bytes() for file in run.iterdir()}


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b"])
def test_a_run_name_that_is_no_folder_name_is_refused(option_file, name):
    with pytest.raises(UserError, match="--run-name"):
        train("-opt", option_file(), "--run-name", name)
    assert not Path("model_zoo").exists() or list(Path("model_zoo").iterdir()) == []


def test_a_mistake_leaves_no_run_behind(option_file):
    with pytest.raises(UserError):
        train("-opt", option_file(training_path=["nowhere"]))
    assert not Path("model_zoo").exists()


def test_a_full_disk_leaves_the_former_state_whole_and_says_so(finished):
    run, _ = finished
    before = (run / "state.pth").read_bytes()
    size = len(before) // 2

    def fill_the_disk():  # no file can grow beyond half of the state
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    process = command(
        "restore.train", "--resume", run, "--set", "total_iterations=40", "--device", "cpu", preexec_fn=fill_the_disk
    )
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert f"error: {run}/" in err
    assert "could not be written (File too large)" in err
    assert "Traceback" not in err
    assert (run / "state.pth").read_bytes() == before
    assert list(run.glob(".*")) == [], "nothing half-written stays behind"


def test_photographs_that_vanish_save_the_state_and_exit_with_1_and_one_line(option_file, workplace):
    path = option_file(total_iterations=10000, validate_every=10000)
    process = command("restore.train", "-opt", path, "--run-name", "broken", "--device", "cpu")
    state = workplace / "model_zoo/broken/state.pth"
    while not state.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    time.sleep(1)
    shutil.rmtree("training_data/.decoded")  # in the middle of the run the photographs are gone
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "Traceback" not in out + err
    assert err.count("this decoded image was removed or cut off while it was in use; start again") == 1
    assert "state saved at iteration" in out
    assert torch.load(state, weights_only=True)["progress"]["iteration"] > 0


@pytest.mark.parametrize("damage", ["missing", "cut", "code"])
def test_a_state_that_cannot_be_read_is_one_line(finished, damage):
    run, _ = finished
    state = run / "state.pth"
    if damage == "missing":
        state.unlink()
    elif damage == "cut":
        state.write_bytes(state.read_bytes()[:1000])
    else:
        torch.save({"iteration": Path("/")}, state)
    with pytest.raises(UserError, match=rf"^{state}: [^\n]*$"):
        train("--resume", run)


SMALLER = {  # what the tests' time allows
    "quickstart": [],
    "quickstart_gan": [],
    "raw_denoise_general": ["batch_size=2", "generator.widths=[8,8,8,8]"],
    "unet_raw_l1": ["batch_size=2", "generator.widths=[8,8,8,8]"],
    "scunet_raw": ["batch_size=2", "generator.config=[1,1,1,1,1,1,1]", "losses.feature.weight=0"],
    "sr_quickstart": [],
    "sr_span_x4": ["batch_size=2", "generator.feature_channels=8"],
    "sr_realesrnet_x4": ["batch_size=4", "generator.num_block=1", "generator.num_feat=8"],
    "sr_realesrgan_x4": [
        "batch_size=4",
        "generator.num_block=1",
        "generator.num_feat=8",
        "discriminator.width=4",
        "losses.feature.weight=0",
    ],
    "sr_raw_x2": ["batch_size=2", "generator.widths=[8,8,8]"],
    "denoise_rgb_scunet": ["batch_size=2", "generator.config=[1,1,1,1,1,1,1]"],
}


def test_every_option_file_shipped_is_trained_by_a_test():
    shipped = {path.stem for path in (Path(__file__).parents[1] / "options").glob("*.json")}
    assert shipped == {"schema", *SMALLER}


@pytest.mark.parametrize("name", SMALLER)
def test_every_option_file_shipped_trains_on_the_sample_photographs(workplace, capsys, name):
    path = Path(__file__).parents[1] / f"options/{name}.json"
    train("-opt", path, "--check", "--set", "workers=0", *SMALLER[name])
    printed = capsys.readouterr().out
    large_crops = name in (
        "unet_raw_l1",
        "scunet_raw",
    )  # those need 512 px a side, and the smaller photographs are named
    assert f"training: {3 if large_crops else 5} photographs" in printed
    assert f"validation: {2 if large_crops else 4} photographs" in printed
    assert ("2 files (" in printed) == large_crops
    assert "one update:" in printed
    assert "warning" not in printed


def test_resuming_what_is_no_run_is_one_line(workplace):
    with pytest.raises(UserError, match=r"^--resume: nowhere is no run, it has no options\.json; [^\n]*$"):
        train("--resume", "nowhere")


def test_check_draws_pairs_and_estimates_without_training(option_file, capsys):
    train("-opt", option_file(), "--check")
    printed = capsys.readouterr().out
    assert [file.name for file in Path("model_zoo").iterdir()] == ["check_small.png"]
    assert not Path("tensorboard_logs").exists()
    sheet = cv2.imread("model_zoo/check_small.png")
    assert sheet.shape == (6 * 32 + 5 * 4, 2 * 32 + 4, 3)
    for promised in ("contact sheet: model_zoo/check_small.png", "one update", "memory", "one epoch: 2 updates"):
        assert promised in printed


def test_pretrained_weights_are_counted_and_those_of_another_network_refused(finished, option_file, capsys):
    run, _ = finished
    train("-opt", option_file(pretrained_model=str(run / "best.pth")), "--run-name", "tuned")
    count = len(torch.load(run / "best.pth", weights_only=True))
    assert f"{count} of {count}" in capsys.readouterr().out
    wider = {"class_name": "UNet", "n_channels": 4, "widths": [12, 16]}
    with pytest.raises(UserError, match=r"best\.pth"):
        train("-opt", option_file(pretrained_model=str(run / "best.pth"), generator=wider), "--run-name", "wider")
