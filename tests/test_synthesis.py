"""Synthesis where the network is: batches of the same distribution as the workers' samples, whoever makes them."""

import cv2
import numpy as np
import pytest
import torch
from conftest import CPU, train
from data_set_files import write_raw
from scipy.stats import ks_2samp
from skimage import data
from test_resume import assert_same_bits, interrupt_after, weights

import transforms
from options.errors import Interrupted, UserError
from restore.compute.process import Process
from restore.data.batches import Batch, Batches, Samples, Stage, collate, seeded_generator
from restore.data.sources import Folder
from restore.data.store import open_photographs
from restore.training.assembly import _synthesised_on_device, assemble
from restore.training.option_file import read_option_file
from transforms.clean_crop import stacked
from transforms.sensor.cameras import Camera, draw_camera
from transforms.sensor.mosaicking import packed_raw, recorded_of_batch

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here"))]
CROP = {"class_name": "RandomCrop", "h": 128, "w": 128}
FLIP = {"class_name": "RandomFlip"}
TO_TENSOR = {"class_name": "ToTensor2"}
DEFECTS = {"class_name": "SensorDefects", "black_jitter": 0.01}
NOISES = {
    "dng": {"noise_model": {"class_name": "dng", "jitter": 3}, "iso": [100, 25600]},
    "few electrons": {"noise_model": {"class_name": "dng", "shot": 0.05, "read": 1e-6}},
    "unprocessing": {"noise_model": "unprocessing"},
    "gaussian": {"noise_model": "gaussian"},
    "mixed": {"noise_model": "mixed", "iso": [100, 25600]},
    "eld": {"noise_model": "eld", "iso": [100, 6400]},
}


def raw(**options):
    return {"class_name": "RgbToRawTransform"} | options


def chain_of(*steps):
    return transforms.build([CROP, FLIP, *steps, TO_TENSOR])


def pictures(bits=8):
    picture = data.astronaut()
    return picture if bits == 8 else picture.astype(np.uint16) * np.uint16(257) ^ np.uint16(85)


def batches(chain, device, count=12, bits=8):
    """The same positions made in both ways: by workers, and on the device."""
    image = pictures(bits)
    made = [(chain(image, seeded_generator(number)), "") for number in range(count)]
    crops = stacked([chain.clean_crop(image, seeded_generator(number)) for number in range(count)])
    return collate(made), Batch(*chain.synthesised(crops.to(torch.device(device))), ("",) * count).to(CPU)


def noise_in_units_of_its_deviation(batch):
    shot, read = (values[..., None, None] for values in batch.metadata.noise)
    return (batch.degraded - batch.clean) / (shot * batch.clean + read).sqrt()


def assert_same_noise(one, other):
    """Of two batches, by the distribution of all numbers, their first four moments and how bright pixels' differ."""
    assert ks_2samp(one.flatten(), other.flatten()).statistic < 0.008
    for power in (1, 2, 3, 4):
        difference = one.pow(power).mean() - other.pow(power).mean()
        spread = torch.stack([one, other]).pow(power).flatten(2).mean(-1).std()  # of the planes' means
        assert abs(difference) < 0.05 + spread


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_both_ways_give_the_same_crops_cameras_and_noise_levels_and_noise_of_one_distribution(noise, device):
    one, other = batches(chain_of(raw(**noise)), device)
    assert torch.allclose(one.clean, other.clean, atol=2e-6)
    for mine, theirs in zip(tensors_of(one.metadata), tensors_of(other.metadata), strict=True):
        assert torch.equal(mine, theirs)
    assert not torch.equal(one.degraded, other.degraded), "the noise of the pixels is drawn anew"
    assert_same_noise(noise_in_units_of_its_deviation(one), noise_in_units_of_its_deviation(other))
    dark = one.clean < 0.05
    assert_same_noise_of(one, other, dark)
    assert_same_noise_of(one, other, ~dark)


def assert_same_noise_of(one, other, pixels):
    mine, theirs = (noise_in_units_of_its_deviation(batch)[pixels] for batch in (one, other))
    assert ks_2samp(mine, theirs).statistic < 0.02


def test_the_comparison_notices_noise_that_is_a_twentieth_stronger():
    one, other = (noise_in_units_of_its_deviation(batch) for batch in batches(chain_of(raw()), "cpu"))
    with pytest.raises(AssertionError):
        assert_same_noise(one, 1.05 * other)


@pytest.mark.parametrize("bits", [8, 16])
def test_the_mosaic_of_a_batch_is_that_of_its_images(bits):
    picture = pictures(bits)[:65, :71].copy()
    picture[:20, :30] = np.iinfo(picture.dtype).max  # where white is protected
    cameras = [draw_camera("normal", seeded_generator(number)) for number in range(3)]
    images = torch.from_numpy(np.stack([picture, picture[::-1], picture[:, ::-1]]))
    made = recorded_of_batch(images, Camera(*map(torch.stack, zip(*cameras, strict=True))))
    for image, camera, packed in zip(images, cameras, made, strict=True):
        assert np.allclose(packed, packed_raw(image.numpy(), camera), atol=2e-6)


@pytest.mark.parametrize("conditioning", [None, "NoiseLevelMap", "VarianceStabilization"])
@pytest.mark.parametrize("options", [{}, {"exposure": [-1, 1], "clean_share": 0.4}, {"clean_share": 1}], ids=str)
def test_a_batch_is_made_of_the_same_parts_in_both_ways(conditioning, options):
    steps = [{"class_name": conditioning}] if conditioning else []
    one, other = batches(chain_of(raw(**options), *steps), "cpu")
    assert one.layout == other.layout
    facts = [list(tensors_of(batch)) for batch in (one, other)]
    assert [(tensor.shape, tensor.dtype) for tensor in facts[0]] == [
        (tensor.shape, tensor.dtype) for tensor in facts[1]
    ]
    assert torch.allclose(one.clean, other.clean, atol=1e-6)
    assert torch.allclose(one.degraded, other.degraded, atol=2), "in one unit"
    noiseless = one.metadata.noise.shot[:, 0] == 0
    assert noiseless.sum() == {0: 0, 0.4: noiseless.sum().clamp(1, 11), 1: 12}[options.get("clean_share", 0)]
    assert torch.allclose(one.degraded[noiseless], other.degraded[noiseless], atol=1e-6)


def tensors_of(record):
    if isinstance(record, torch.Tensor):
        yield record
    elif isinstance(record, tuple):
        for field in record:
            yield from tensors_of(field)


def test_a_sample_does_not_depend_on_the_batch_that_it_is_in():
    chain = chain_of(raw(noise_model="eld", iso=[100, 6400]), {"class_name": "VarianceStabilization"})
    crops = [chain.clean_crop(pictures(), seeded_generator(number)) for number in range(4)]
    deep = chain.clean_crop(pictures(16), seeded_generator(9))
    together = chain.synthesised(stacked([deep, *crops]))
    for place, crop in enumerate([deep, *crops]):
        assert_equal_records(chain.synthesised(stacked([crop])), together, place)


def assert_equal_records(alone, together, place):
    for one, other in zip(tensors_of(alone), tensors_of(together), strict=True):
        assert torch.allclose(one[0], other[place], atol=1e-6)


def stored(workplace, chain):  # of 8 bits, and one of 16
    for number in range(6):
        file = workplace / f"photos/{number}.png"
        file.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(file), pictures(16 if number == 3 else 8)[number * 40 :, number * 40 :])
    return open_photographs([Folder(path="photos")], chain, "training_path").usable


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_for_any_number_of_workers_and_processes_and_from_any_iteration_on(workplace, workers):
    chain = chain_of(raw())
    samples = Samples(stored(workplace, chain), chain, 5, "training", on_device=True)

    def made(process=Process(), workers=0, after=0):
        return list(Batches([Stage(0, samples, 4)], workers, CPU, process, 2).after(after, 5))

    whole = made()
    for batch, again in zip(whole[2:], made(workers=workers, after=2), strict=True):
        assert torch.equal(batch.degraded, again.degraded)
        assert batch.files == again.files
    for rank in range(2):
        for batch, part in zip(whole, made(Process(rank, 2), workers), strict=True):
            assert torch.equal(batch.degraded[rank::2], part.degraded)
            assert torch.equal(batch.metadata.noise.shot[rank::2], part.metadata.noise.shot)


def test_an_interrupted_run_with_synthesis_on_the_device_goes_on_to_the_same_bits(option_file, monkeypatch):
    path = option_file(synthesis="device", workers=0, total_iterations=10)
    train("-opt", path, "--run-name", "whole")
    with monkeypatch.context() as patched:
        interrupt_after(patched, 7)
        with pytest.raises(Interrupted):
            train("-opt", path, "--run-name", "stopped")
    train("--resume", "model_zoo/stopped")
    assert_same_bits(weights("stopped", 10), weights("whole", 10))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"transforms_train": [CROP, raw(), DEFECTS, TO_TENSOR]},
            ["transforms_train.2: SensorDefects works on one image"],
        ),
        (
            {"transforms_train": [CROP, {"class_name": "Blur"}, raw(psf_sigma=[0.3, 0.8]), TO_TENSOR]},
            [
                "transforms_train.1: Blur degrades",
                "transforms_train.2: RgbToRawTransform with a scale or psf_sigma works",
            ],
        ),
    ],
    ids=["behind", "before and itself"],
)
def test_each_transform_that_cannot_work_on_the_device_is_named_before_the_run(option_file, change, named):
    with pytest.raises(UserError) as caught:
        read_option_file(option_file(synthesis="device", **change))
    lines = [line for line in str(caught.value).splitlines() if "synthesis" in line]
    assert len(lines) == len(named)
    for line, text in zip(lines, named, strict=True):
        assert f'synthesis: "device" given, but {text}' in line
        assert line.endswith('set it to "auto" or "cpu"')
    read_option_file(option_file(synthesis="auto", **change))


def test_raw_files_among_the_photographs_are_named_and_auto_makes_them_in_the_workers(option_file, workplace):
    write_raw(workplace / "train/one.dng")
    options, said = read_option_file(option_file(synthesis="auto")), []
    photographs = assemble(options, CPU, lambda line: None).batches.samples.photographs
    chains = [transforms.build(options.transforms_train)]
    assert not _synthesised_on_device(options, chains, photographs, torch.device("cuda"), said.append)
    assert said[0].startswith("synthesis: on the CPU, since training_path: train/one.dng is a raw file")
    with pytest.raises(UserError, match=r"training_path: train/one\.dng is a raw file or one of a pair"):
        assemble(read_option_file(option_file(synthesis="device")), CPU, print)


@pytest.mark.parametrize(("synthesis", "on_device"), [("auto", False), ("cpu", False), ("device", True)])
def test_auto_synthesises_in_the_workers_where_the_network_is_on_the_cpu(option_file, synthesis, on_device):
    said = []
    parts = assemble(read_option_file(option_file(synthesis=synthesis)), CPU, said.append)
    assert parts.batches.samples.on_device == on_device
    assert ("synthesis: on the device, a batch at a time" in said) == on_device
    assert not parts.validation.samples.on_device, "validation measures the same images wherever it runs"
