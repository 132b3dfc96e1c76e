"""Networks that are told how strong the noise is, and learn it in units of its strength."""

import json

import pytest
import torch
from skimage import data
from torch.testing import assert_close

import losses
import transforms
from options.errors import UserError
from restore import load_model
from restore.networks import build_generator
from restore.networks.means import with_means_of
from restore.training.option_file import read_option_file
from transforms import RGGB, NoiseProfile, RawMetadata, noise_deviation
from transforms.sensor.cameras import NEUTRAL

TO_RAW = {"class_name": "RgbToRawTransform"}
TO_TENSOR = {"class_name": "ToTensor2"}
MAPPED = {"class_name": "NoiseLevelMap"}
STABILIZED = {"class_name": "VarianceStabilization", "noise_level": True}
PLAIN = {"class_name": "VarianceStabilization"}
CROP = {"class_name": "RandomCrop", "h": 32, "w": 32}
TOLD = [MAPPED, STABILIZED]
UNET = {"class_name": "UNet", "n_channels": 4, "in_channels": 8, "noise_residual": True, "widths": [8, 8]}
SCUNET = {"class_name": "SCUNet", "n_channels": 4, "in_channels": 8, "noise_residual": True, "config": [1] * 7}
IN_NOISE_UNITS = {"pixel": {"class_name": "L1", "noise_units": True}}


def sample_of(*conditioning, **to_raw):
    chain = [{**TO_RAW, **to_raw}, *conditioning, TO_TENSOR]
    return transforms.build(chain)(data.astronaut()[100:164, 100:164], torch.Generator().manual_seed(0))


def metadata_of(shot, read):
    return RawMetadata(NEUTRAL, NoiseProfile(torch.full((4,), shot), torch.full((4,), read)))


def model_of(folder, generator, conditioning):
    """A model with random weights, whose last layer is not small."""
    torch.manual_seed(0)
    network = build_generator(generator)
    torch.save(network.state_dict(), folder / "model.pth")
    chain = [TO_RAW, conditioning, TO_TENSOR]
    (folder / "model.json").write_text(json.dumps({"generator": generator, "transforms_test": chain}))
    return load_model(folder / "model.pth", "cpu")


@pytest.mark.parametrize("generator", [UNET, SCUNET], ids=["UNet", "SCUNet"])
@pytest.mark.parametrize("conditioning", TOLD, ids=["map", "stabilised"])
def test_an_image_without_noise_passes_unchanged(tmp_path, generator, conditioning):
    model = model_of(tmp_path, generator, conditioning)
    clean = sample_of().clean
    unchanged = model(clean, noise=(0, 0))
    assert torch.equal(unchanged, clean)
    assert unchanged.data_ptr() != clean.data_ptr(), "what is done to the result must not change the input"
    assert not torch.equal(model(clean, noise=(1e-3, 1e-5)), clean)


@pytest.mark.parametrize("conditioning", TOLD, ids=["map", "stabilised"])
def test_what_the_network_gives_is_in_units_of_the_noise_that_is_told(tmp_path, conditioning):
    model, degraded = model_of(tmp_path, UNET, conditioning), sample_of().degraded
    same = torch.randn(1, 8, 72, 72, generator=torch.Generator().manual_seed(0))
    model.network.core = lambda known: same[..., : known.shape[-2], : known.shape[-1]]  # whatever it sees
    # Half, right and double the standard deviation.
    changes = [(model(degraded, (s * 3e-3, s * 1e-5)) - degraded).std() for s in (0.25, 1, 4)]
    assert 1.8 < changes[1] / changes[0] < 2.2
    assert 1.8 < changes[2] / changes[1] < 2.2


@pytest.mark.parametrize("conditioning", TOLD, ids=["map", "stabilised"])
def test_a_network_that_is_wrong_by_a_cast_gives_none(tmp_path, conditioning):
    model = model_of(tmp_path, UNET, conditioning)
    cast = torch.tensor([0.4, -0.2, 0.1, -0.4])[:, None, None]  # of the noise's standard deviation

    def wrong(known):
        return torch.cat([cast.expand(1, 4, *known.shape[-2:]), torch.full((1, 4, *known.shape[-2:]), 9.0)], dim=1)

    model.network.core = wrong
    degraded = torch.full((4, 96, 128), 0.01) + 0.002 * torch.randn(
        4, 96, 128, generator=torch.Generator().manual_seed(0)
    )
    moved = (model(degraded, (1e-4, 3e-6)) - degraded).mean((1, 2))
    assert moved.abs().max() < 1e-2 * 0.002


def test_means_are_those_of_the_areas_around_each_pixel():
    degraded, restored = torch.rand(2, 4, 80, 150), torch.rand(2, 4, 80, 150)
    kept = with_means_of(degraded, restored) - restored
    around = (degraded - restored)[:, :, 8:73, 20:85].mean((2, 3))  # whole, and cut off by the corner
    corner = (degraded - restored)[:, :, :33, :33].mean((2, 3))
    assert_close(kept[:, :, 40, 52], around, rtol=0, atol=1e-6)
    assert_close(kept[:, :, 0, 0], corner, rtol=0, atol=1e-6)


def test_the_level_is_the_standard_deviation_of_the_stabilised_noise():
    for iso in (100, 1600, 25600):
        sample = sample_of(STABILIZED, iso=iso)
        level = sample.degraded[4:]
        assert_close(level, level[:, :1, :1].expand_as(level))
        measured = (sample.degraded[:4] - sample.clean).std(dim=(1, 2))
        assert_close(level[:, 0, 0], measured, rtol=0.06, atol=0)


@pytest.mark.parametrize("conditioning", TOLD, ids=["map", "stabilised"])
def test_the_loss_of_the_noisy_image_in_noise_units_is_the_same_at_every_iso_speed(conditioning):
    loss = losses.build(IN_NOISE_UNITS, 4)
    values = []
    for iso in (100, 1600, 25600):
        sample = sample_of(conditioning, iso=iso)
        values.append(float(loss.comparison(sample.degraded[None, :4], sample.clean[None], sample.metadata)))
    assert values == pytest.approx([(2 / torch.pi) ** 0.5] * 3, rel=0.05)  # the mean of |n| of Gaussian noise


def test_a_difference_without_noise_gives_a_finite_loss_and_gradient():
    loss, clean = losses.build(IN_NOISE_UNITS, 4), torch.rand(1, 4, 8, 8)
    restored = (clean + 0.1).requires_grad_()
    value = loss.comparison(restored, clean, metadata_of(0.0, 0.0))
    value.backward()
    assert value.isfinite()
    assert restored.grad.isfinite().all()


def test_losses_in_noise_units_refuse_images_whose_noise_is_not_known():
    with pytest.raises(UserError, match="noise_units: true given, and the noise of sRGB images is not known"):
        losses.build(IN_NOISE_UNITS, 3).comparison(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8), None)


def test_without_noise_the_deviation_is_0_whatever_the_transform_assumes():
    metadata = transforms.build([TO_RAW, STABILIZED, TO_TENSOR]).conditioning[0].metadata(metadata_of(0.0, 0.0))
    assert torch.equal(noise_deviation(torch.rand(4, 8, 8), metadata), torch.zeros(4, 1, 1))
    assert RGGB.channels == 4


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        ({"generator": {**UNET, "in_channels": None}}, "generator: noise_residual: true given with in_channels null"),
        ({"generator": {**UNET, "scale": 2}}, "noise_residual: true given with a scale above 1"),
        ({"generator": {**UNET, "residual": False}}, "generator: residual: false given, but noise_residual adds"),
        (
            {"generator": UNET},
            "generator.in_channels: 8 given, but transforms_train gives degraded images of 4 "
            "channels; add a NoiseLevelMap, or a VarianceStabilization with noise_level, which noise_residual needs",
        ),
        (
            {
                "transforms_train": [CROP, TO_RAW, STABILIZED, TO_TENSOR],
                "transforms_test": [CROP, TO_RAW, PLAIN, TO_TENSOR],
            },
            "transforms_test: a VarianceStabilization with other options than that of transforms_train; give both",
        ),
        (
            {"losses": IN_NOISE_UNITS, "training_path": [{"class_name": "SIDD", "path": "train"}]},
            "losses.pixel.noise_units: true given, but the noise is not known, as training_path.0: SIDD",
        ),
    ],
)
def test_a_mistake_in_what_tells_the_noise_is_named(option_file, changes, mistake):
    with pytest.raises(UserError) as error:
        read_option_file(option_file(**changes))
    assert mistake in str(error.value)
