"""The chain of transforms: built from data, checked when built, and giving the same sample for the same generator."""

import json

import cv2
import numpy as np
import pytest
import torch

import transforms
from options.base import parse
from options.errors import UserError
from transforms import RGGB, TRANSFORMS, TransformOptions

TO_TENSOR = {"class_name": "ToTensor2"}
TO_RAW = {"class_name": "RgbToRawTransform"}
DOWNSAMPLE = {"class_name": "Downsample", "downsampling_factor": 2, "sigma": 1}
CHAIN = [DOWNSAMPLE, {"class_name": "RandomCrop", "h": 64, "w": 48}, {"class_name": "RandomFlip"}, TO_RAW, TO_TENSOR]
JPEG = {"class_name": "JpegCompression", "probability": 1.0, "quality": [50, 60]}
SIZES = {"directions": {"down": 1.0}, "up_factor": [1.0, 1.1], "down_factor": [0.5, 0.9], "modes": ["area"]}
NOISE = {
    "class_name": "PictureNoise",
    "sigma": [1.0, 50.0],
    "poisson_share": 0.5,
    "poisson_scale": 0.1,
    "grey_probability": 0.4,
    "clipped": True,
}
BLUR = {
    "class_name": "Blur",
    "probability": 0.8,
    "kernels": {"plateau_isotropic": 1.0, "sinc": 0.5},
    "sizes": [5, 7],
    "sigma": [0.1, 2.0],
    "generalised_shape": [0.5, 2.0],
    "plateau_shape": [1.0, 1.5],
    "sinc_cutoff": [0.3, 0.9],
    "small_sinc_cutoff": [0.4, 0.8],
}
EVERY_TRANSFORM = [
    {"class_name": "Downsample", "downsampling_factor": 3, "sigma": 1.5},
    {"class_name": "RandomCrop", "h": 32, "w": 30},
    {"class_name": "Defocus", "probability": 0.3, "sigma": [2.0, 3.0]},
    {"class_name": "Grain", "probability": 0.2, "deviation": [0.01, 0.02]},
    {"class_name": "RandomResizedCrop", "h": 32, "w": 30, "shrink": [1.5, 3.0], "candidates": 2},
    {"class_name": "CenterCrop", "h": 20, "w": 24},
    {"class_name": "RandomFlip"},
    {"class_name": "RandomRotate"},
    {"class_name": "Mixup", "probability": 0.5, "alpha": 0.4},
    {"class_name": "CutMix", "probability": 0.5, "side": 0.3},
    {"class_name": "CutBlur", "probability": 0.5, "side": 0.3},
    {
        "class_name": "RgbToRawTransform",
        "iso": 3200,
        "noise_model": {"class_name": "dng", "shot": 0.01, "read": 0.002, "iso_profile": None, "jitter": 2.0},
        "clean_share": 0.1,
        "exposure": [-1, 1],
        "wb_gains_mode": "uniform",
        "camera_matrix": None,
        "scale": 2,
        "psf_sigma": [0.3, 0.8],
        "pooling": "light",
    },
    {
        "class_name": "SensorDefects",
        "black_jitter": 0.002,
        "white_jitter": 0.1,
        "hot_pixels": 0.001,
        "row_noise": [0.1, 0.2],
    },
    {"class_name": "BicubicDownsample", "scale": 3, "border": "replicate", "rounded": False},
    BLUR,
    {"class_name": "Resize", **SIZES, "scale": 2},
    NOISE,
    {"class_name": "JpegCompression", "probability": 0.5, "quality": 40},
    {
        "class_name": "BsrganDegradation",
        "scale": 4,
        "halving_probability": 0.1,
        "blur_sizes": [7, 9],
        "anisotropic_share": 0.4,
        "isotropic_sigma": [0.1, 2.8],
        "anisotropic_variance": None,
        "resize_probability": 0.5,
        "resize_factor": [1.0, 3.0],
        "resize_sigma": None,
        "modes": ["bicubic"],
        "noise_level": [1, 5],
        "noise_kinds": {"grey": 1.0},
        "jpeg": JPEG,
        "camera_probability": 0.0,
        "final_jpeg": JPEG,
    },
    {
        "class_name": "RealEsrganDegradation",
        "scale": 2,
        "sharpen_target": True,
        "blur": BLUR,
        "resize": SIZES,
        "noise": NOISE,
        "jpeg": JPEG,
        "second_blur": BLUR,
        "second_resize": SIZES,
        "second_noise": NOISE,
        "final_blur": BLUR,
        "final_jpeg": JPEG,
    },
    {"class_name": "VarianceStabilization", "noise_level": True},
    {"class_name": "NoiseLevelMap"},
    {"class_name": "ToTensor2"},
]


def generator(seed):
    return torch.Generator().manual_seed(seed)


def photograph(height=150, width=170, kind=np.uint8):
    values = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (height // 5, width // 5, 3), kind, endpoint=True)
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC)


def crop(h, w=None, name="RandomCrop"):
    return {"class_name": name, "h": h, "w": w or h}


def test_the_table_names_every_transform():
    named = {kind["class_name"] for kind in EVERY_TRANSFORM}
    assert set(TRANSFORMS.kinds) == named


@pytest.mark.parametrize("data", EVERY_TRANSFORM, ids=lambda data: data["class_name"])
def test_every_transform_is_rebuilt_from_its_json(data):
    transform = parse(TransformOptions, data)
    written = transform.model_dump_json()
    assert json.loads(written) == data
    again = parse(TransformOptions, json.loads(written))
    assert type(again) is type(transform)
    assert again == transform


def test_the_pipelines_options_build_the_same_pipeline():
    pipeline = transforms.build(CHAIN)
    again = transforms.build([json.loads(section.model_dump_json()) for section in pipeline.transforms])
    assert again.transforms == pipeline.transforms
    assert torch.equal(pipeline(photograph(), generator(5)).degraded, again(photograph(), generator(5)).degraded)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_same_generator_state_gives_the_same_sample_and_another_state_another(kind):
    pipeline, image = transforms.build(CHAIN), photograph(kind=kind)
    sample, again, other = (pipeline(image, generator(seed)) for seed in (7, 7, 8))
    assert torch.equal(sample.degraded, again.degraded)
    assert torch.equal(sample.clean, again.clean)
    for name in ("rgb_to_camera", "white_balance"):
        assert torch.equal(getattr(sample.metadata.camera, name), getattr(again.metadata.camera, name))
    assert torch.equal(torch.stack(sample.metadata.noise), torch.stack(again.metadata.noise))
    assert not torch.equal(sample.clean, other.clean)
    assert not torch.equal(sample.metadata.camera.white_balance, other.metadata.camera.white_balance)
    assert not torch.equal(sample.degraded - sample.clean, other.degraded - other.clean)


def test_a_sample_does_not_depend_on_the_number_of_threads():
    pipeline, image = transforms.build([DOWNSAMPLE, TO_RAW, TO_TENSOR]), photograph(1200, 1300)
    before = torch.get_num_threads(), cv2.getNumThreads()
    samples = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            cv2.setNumThreads(threads)
            samples.append(pipeline(image, generator(1)))
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
    assert all(torch.equal(sample.degraded, samples[0].degraded) for sample in samples[1:])


def test_a_raw_sample_has_four_half_size_planes_and_the_metadata_that_rendering_needs():
    pipeline = transforms.build(CHAIN)
    sample = pipeline(photograph(), generator(0))
    assert sample.degraded.shape == sample.clean.shape == (4, 32, 24)
    assert sample.degraded.dtype == sample.clean.dtype == torch.float32
    (matrix, balance), (shot, read), stabilization = sample.metadata
    assert (matrix.shape, balance.shape, shot.shape, read.shape) == ((3, 3), (3,), (4,), (4,))
    assert {values.dtype for values in (matrix, balance, shot, read)} == {torch.float32}
    assert stabilization is None
    assert RGGB.render(sample.clean, sample.metadata).shape == (3, 64, 48)
    assert pipeline.layout.channels == 4


@pytest.mark.parametrize(("kind", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_an_srgb_sample_is_the_image_itself_twice(kind, white):
    pipeline = transforms.build([crop(6, 8, "CenterCrop"), TO_TENSOR])
    image = photograph(10, 10, kind)
    sample = pipeline(image, generator(0))
    expected = torch.from_numpy(image[2:8, 1:9].astype(np.float64) / white).permute(2, 0, 1)
    assert sample.metadata is None
    assert pipeline.layout.channels == 3
    torch.testing.assert_close(sample.clean.double(), expected, rtol=1e-7, atol=0)
    assert torch.equal(sample.degraded, sample.clean)
    assert sample.clean.is_contiguous()


def test_a_blurred_srgb_sample_stays_between_black_and_white():
    for sigma in np.linspace(0.1, 5, 60):  # for some, the taps' sum is rounded up
        pipeline = transforms.build([{**DOWNSAMPLE, "sigma": float(sigma)}, TO_TENSOR])
        sample = pipeline(np.full((20, 20, 3), 255, np.uint8), generator(0))
        assert sample.clean.max() <= 1
        torch.testing.assert_close(sample.clean, torch.ones(3, 10, 10), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("chain", "line"),
    [
        ([], r"chain: empty; end with .*ToTensor2"),
        ([TO_RAW], r"chain: RgbToRawTransform is the last; end with .*ToTensor2"),
        ([TO_TENSOR, crop(8), TO_TENSOR], r"chain\.0: ToTensor2 stands before other transforms; move it to the end"),
        ([TO_RAW, crop(8), TO_TENSOR], r"chain\.1: RandomCrop works on the RGB image; move it before .*chain\.0"),
        ([TO_RAW, {"class_name": "RandomFlip"}, TO_TENSOR], r"chain\.1: RandomFlip works on the RGB image; move it"),
        ([TO_RAW, {"class_name": "RandomRotate"}, TO_TENSOR], r"chain\.1: RandomRotate works on the RGB image; move"),
        ([TO_RAW, DOWNSAMPLE, TO_TENSOR], r"chain\.1: Downsample works on the RGB image; move it before"),
        ([TO_RAW, TO_RAW, TO_TENSOR], r"chain\.1: a second RgbToRawTransform; remove it, as chain\.0 makes"),
        ([crop(9, 8), TO_RAW, TO_TENSOR], r"chain\.0: 9 x 8 given .*even"),
        ([crop(8, 9, "CenterCrop"), TO_RAW, TO_TENSOR], r"chain\.0: 8 x 9 given .*even"),
        ([crop(64), DOWNSAMPLE, crop(64), TO_TENSOR], r"chain\.0: 64 x 64 given .*needs 128 x 128; enlarge"),
        ([crop(64, 32), {"class_name": "RandomRotate"}, TO_TENSOR], r"chain\.0: 64 x 32 given .*two shapes; make"),
        ([{**crop(8), "h": 0}, TO_TENSOR], r"chain: .*h: 0 given; .*greater than"),
        ([{"class_name": "RandomCorp", "h": 8, "w": 8}, TO_TENSOR], r'chain: .*did you mean "RandomCrop"'),
        ([{**DOWNSAMPLE, "downsampling_factor": 1.5}, TO_TENSOR], r"chain: .*downsampling_factor: 1.5 given"),
        ([{**DOWNSAMPLE, "sigma": -1}, TO_TENSOR], r"chain: .*sigma: -1 given"),
        ([{**TO_RAW, "noise_model": "gauss"}, TO_TENSOR], r'noise_model.*"gauss" is unknown; did you mean "gaussian"'),
    ],
)
def test_a_wrong_chain_is_refused_with_the_place_and_the_remedy(chain, line):
    with pytest.raises(UserError, match=line) as mistake:
        transforms.build(chain, "chain")
    assert len(str(mistake.value).splitlines()) == 1


def test_all_mistakes_of_a_chain_are_told_at_once():
    with pytest.raises(UserError) as mistake:
        transforms.build([crop(9), TO_RAW, {"class_name": "RandomFlip"}, TO_RAW])
    lines = str(mistake.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["transforms.2", "transforms.3", "transforms.0", "transforms"]


@pytest.mark.parametrize(
    ("chain", "smallest"),
    [
        ([DOWNSAMPLE, crop(64, 48), TO_RAW, TO_TENSOR], (128, 96)),
        ([crop(100, 80), DOWNSAMPLE, crop(20), TO_RAW, TO_TENSOR], (100, 80)),
        ([{"class_name": "RandomRotate"}, crop(30, 20), TO_TENSOR], (30, 30)),
        ([DOWNSAMPLE, DOWNSAMPLE, TO_RAW, TO_TENSOR], (16, 16)),
        ([TO_TENSOR], (1, 1)),
    ],
)
def test_the_smallest_image_is_accepted_and_a_smaller_one_refused_with_both_sizes(chain, smallest):
    pipeline = transforms.build(chain)
    height, width = smallest
    assert pipeline.smallest_image() == smallest
    for seed in range(8):  # whichever way a rotation turns it
        pipeline(photograph(200, 200)[:height, :width], generator(seed))
    for size in ((height - 1, width), (height, width - 1)):
        with pytest.raises(UserError, match=rf"{size[0]} x {size[1]} pixels .*need {height} x {width}; take a larger"):
            pipeline(np.zeros((*size, 3), np.uint8), generator(0))


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3))])
def test_what_is_not_an_rgb_image_of_integers_is_refused(image):
    with pytest.raises(UserError, match=r"image: \w+ \(8, 8.* given; \(H, W, 3\) in uint8 or uint16 is needed"):
        transforms.build([TO_TENSOR])(image, generator(0))


def test_without_its_crops_the_chain_takes_whole_images_and_leaves_out_an_odd_row_and_column():
    pipeline = transforms.build(
        [crop(64), DOWNSAMPLE, crop(32, name="CenterCrop"), TO_RAW, TO_TENSOR]
    ).for_whole_images()
    assert pipeline.smallest_image() == (8, 8)
    sample = pipeline(photograph(103, 87), generator(0))  # 51 x 43 once downsampled
    assert sample.clean.shape == (4, 25, 21)
    even = pipeline(photograph(103, 87)[:102, :86], generator(0))
    torch.testing.assert_close(sample.clean[:, :20, :16], even.clean[:, :20, :16], rtol=0, atol=0)
