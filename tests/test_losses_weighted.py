"""The weighted sum: what an option file's "losses" becomes."""

import subprocess
import sys

import pytest
import torch

import losses
from options.errors import UserError
from restore.networks.discriminators import PatchDiscriminatorOptions, UNetDiscriminatorOptions

RESTORED, CLEAN = torch.full((2, 4, 16, 16), 0.75), torch.full((2, 4, 16, 16), 0.25)


def mean_verdict(image: torch.Tensor) -> torch.Tensor:
    return image.mean(dim=(1, 2, 3))


def test_the_total_is_the_sum_of_weight_times_value():
    weighted = losses.build(
        {
            "pixel": {"class_name": "L1", "weight": 10},
            "energy": {"class_name": "L2"},
            "judge": {"class_name": "wgan", "weight": 2},
        },
        n_channels=4,
    )
    values = weighted.generator_terms(RESTORED, CLEAN, {}, mean_verdict)
    assert {name: value.item() for name, value in values.items()} == {"pixel": 0.5, "energy": 0.25, "judge": -0.75}
    assert weighted.total(values).item() == 10 * 0.5 + 0.25 - 2 * 0.75


def test_the_validation_loss_leaves_the_adversarial_term_out():
    options = {"pixel": {"class_name": "L1", "weight": 10}, "judge": {"class_name": "wgan"}}
    assert losses.build(options, n_channels=4).comparison(RESTORED, CLEAN, {}).item() == 5


def test_two_terms_of_one_kind_both_count():
    options = {"first": {"class_name": "L1", "weight": 1}, "second": {"class_name": "L1", "weight": 3}}
    assert losses.build(options, n_channels=4).comparison(RESTORED, CLEAN, {}).item() == 2


def test_a_term_of_weight_0_is_left_out():
    options = {"pixel": {"class_name": "L1"}, "judge": {"class_name": "wgan", "weight": 0}}
    weighted = losses.build(options, n_channels=4)
    assert list(weighted.generator_terms(RESTORED, CLEAN, {})) == ["pixel"]
    assert weighted.adversarial is None
    assert weighted.critic_steps == 0


@pytest.mark.parametrize("name", ["pixel", "type", "forward", "a.b", "Größe", ""])
def test_a_term_may_have_any_name(name):
    weighted = losses.build({name: {"class_name": "L1"}}, n_channels=4)
    assert weighted.generator_terms(RESTORED, CLEAN, {})[name].item() == 0.5


@pytest.mark.parametrize("options", [{}, {"pixel": {"class_name": "L1", "weight": 0}}])
def test_a_loss_without_a_term_is_refused(options):
    with pytest.raises(UserError, match=r"^losses: no term with a weight above 0; give one"):
        losses.build(options, n_channels=4)


def test_every_mistake_in_the_options_is_named_at_once():
    options = {
        "pixel": {"class_name": "L1", "weight": -1},
        "judge": {"class_name": "wgn"},
        "smooth": {"class_name": "Charbonnier", "epsilom": 0.1},
    }
    with pytest.raises(UserError) as mistake:
        losses.build(options, n_channels=4)
    weight, judge, epsilon = str(mistake.value).splitlines()
    assert weight.startswith("losses: pixel.weight: -1 given")
    assert 'judge.class_name: "wgn" is unknown; did you mean "wgan"?' in judge
    assert 'smooth.epsilom: unknown key (given 0.1); did you mean "epsilon"?' in epsilon


def test_validated_sections_build_the_same_loss_as_data():
    section = losses.L2(weight=4)
    assert losses.build({"energy": section}, n_channels=4).sections == {"energy": section}


def test_structural_terms_warn_when_they_train_alone():
    alone = losses.build({"shape": {"class_name": "ssim"}, "judge": {"class_name": "gan"}}, n_channels=4)
    assert [line for line in alone.warnings if line.startswith("losses: shape hardly reacts to brightness")]
    beside = losses.build({"shape": {"class_name": "ms_ssim"}, "pixel": {"class_name": "L1"}}, n_channels=4)
    assert beside.warnings == []


def test_an_adversarial_term_alone_warns_and_validation_goes_by_the_mean_absolute_difference():
    weighted = losses.build({"judge": {"class_name": "gan"}}, n_channels=4)
    assert "The validation loss is the mean absolute difference" in weighted.warnings[0]
    assert weighted.comparison(RESTORED, CLEAN, {}).item() == pytest.approx((RESTORED - CLEAN).abs().mean().item())
    assert weighted.comparison(RESTORED * float("nan"), CLEAN, {}).isnan()


def test_a_term_of_the_sums_name_is_refused():
    with pytest.raises(UserError, match=r"^losses\.total: "):
        losses.build({"total": {"class_name": "L1"}}, n_channels=4)


def test_two_adversarial_terms_are_refused():
    options = {"one": {"class_name": "gan"}, "other": {"class_name": "wgan"}}
    with pytest.raises(UserError, match=r"^losses: one, other are adversarial, and there is one discriminator"):
        losses.build(options, n_channels=4)


def test_an_adversarial_term_without_a_discriminator_is_a_mistake():
    options = {"judge": losses.RaGan()}
    assert "losses.judge: ragan needs a discriminator" in losses.contradictions(options, None)[0]
    assert losses.contradictions(options, UNetDiscriminatorOptions()) == []
    assert losses.contradictions({"judge": losses.RaGan(weight=0), "pixel": losses.L1()}, None) == []


def test_batch_norm_is_refused_beside_a_gradient_penalty():
    batch_norm = PatchDiscriminatorOptions(norm="batch")
    (mistake,) = losses.contradictions({"judge": losses.WGan()}, batch_norm)
    assert mistake.startswith(
        'discriminator.norm: "batch" mixes the images of a batch, and losses.judge penalises the gradient of each image'
    )
    assert losses.contradictions({"judge": losses.WGan(constraint="weight_clipping")}, batch_norm) == []
    for discriminator in (PatchDiscriminatorOptions(), PatchDiscriminatorOptions(norm="instance")):
        assert losses.contradictions({"judge": losses.WGan()}, discriminator) == []


def test_importing_losses_loads_no_perceptual_package():
    code = "import sys, losses; print([name for name in ('lpips', 'torchvision', 'skimage') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
