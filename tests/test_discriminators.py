"""Discriminators: what they see, what they take, and what keeps them in bounds."""

import pytest
import torch
from torch import nn

from options.base import parse
from options.errors import UserError
from restore.networks import DiscriminatorOptions
from restore.networks.discriminators import PatchDiscriminatorOptions, UNetDiscriminatorOptions


@pytest.mark.parametrize(("n_layers", "patch"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_a_logit_sees_a_patch_of_the_published_size(n_layers, patch):
    network = PatchDiscriminatorOptions(width=2, n_layers=n_layers).build(n_channels=1)
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)  # so that no two paths cancel
    image = torch.ones(1, 1, 256, 256, requires_grad=True)
    logits = network(image)
    height, width = logits.shape[-2:]
    logits[0, 0, height // 2, width // 2].backward()
    seen = image.grad[0, 0].nonzero()
    assert (seen.amax(dim=0) - seen.amin(dim=0) + 1).tolist() == [patch, patch]


def test_parameters_are_as_many_as_published():
    # pix2pix and CycleGAN's 70 x 70 discriminator on three channels, and Real-ESRGAN's.
    assert parameters(PatchDiscriminatorOptions().build(n_channels=3)) == 2_764_737
    assert parameters(UNetDiscriminatorOptions().build(n_channels=3)) == 4_376_897


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("n_channels", [3, 4])
@pytest.mark.parametrize("norm", ["none", "instance", "batch"])
def test_patch_discriminator_gives_a_map_of_logits(n_channels, norm):
    network = PatchDiscriminatorOptions(width=4, norm=norm).build(n_channels)
    assert network(torch.rand(2, n_channels, 64, 96)).shape == (2, 1, 6, 10)


@pytest.mark.parametrize("n_channels", [3, 4])
@pytest.mark.parametrize("size", [(8, 8), (64, 40), (37, 51)])
def test_unet_discriminator_gives_a_logit_for_every_pixel(n_channels, size):
    network = UNetDiscriminatorOptions(width=4).build(n_channels)
    assert network(torch.rand(2, n_channels, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize("norm", ["none", "instance"])
@pytest.mark.parametrize(("n_layers", "smallest"), [(1, 6), (3, 24)])
def test_images_are_taken_from_the_smallest_side_on(norm, n_layers, smallest):
    network = PatchDiscriminatorOptions(width=4, n_layers=n_layers, norm=norm).build(n_channels=3)
    assert network(torch.rand(1, 3, smallest, smallest + 5)).isfinite().all()
    with pytest.raises(
        UserError, match=rf"images of {smallest - 1} x 40 pixels given; it needs {smallest} x {smallest}"
    ):
        network(torch.rand(1, 3, smallest - 1, 40))


def test_unet_discriminator_refuses_images_that_it_cannot_halve_three_times():
    with pytest.raises(UserError, match=r"images of 7 x 9 pixels given; it needs 8 x 8 or more"):
        UNetDiscriminatorOptions(width=4).build(n_channels=3)(torch.rand(1, 3, 7, 9))


@pytest.mark.parametrize("options", [PatchDiscriminatorOptions(width=4), UNetDiscriminatorOptions(width=4)])
def test_the_logit_on_an_image_does_not_depend_on_the_others(options):
    network = options.build(n_channels=3).eval()
    first, second = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(torch.cat((first, second)))[:1], network(first))


def test_spectral_norm_keeps_every_inner_layer_of_the_unet_from_stretching():
    torch.manual_seed(0)
    network = UNetDiscriminatorOptions(width=4).build(n_channels=3)
    for _ in range(20):  # each pass in training refines the estimate of the largest singular value
        network(torch.rand(1, 3, 16, 16))
    network.eval()
    layers = [*network.down, *network.up, *network.body]
    largest = [torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2).item() for layer in layers]
    assert largest == pytest.approx([1.0] * 8, abs=0.02)


@pytest.mark.parametrize("norm", ["none", "instance"])
def test_the_patch_discriminator_takes_a_gradient_penalty(norm):
    network = PatchDiscriminatorOptions(width=4, norm=norm).build(n_channels=3)
    image = torch.rand(2, 3, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(image).sum(), image, create_graph=True)
    gradient.square().sum().backward()
    assert network.layers[0].weight.grad.norm() > 0


def test_sections_are_told_apart_by_class_name():
    assert parse(DiscriminatorOptions, {"class_name": "PatchDiscriminator"}).norm == "none"
    assert not parse(DiscriminatorOptions, {"class_name": "UNetDiscriminator", "width": 32}).uses_batch_norm
    assert parse(DiscriminatorOptions, {"class_name": "PatchDiscriminator", "norm": "batch"}).uses_batch_norm
    with pytest.raises(UserError, match='did you mean "PatchDiscriminator"'):
        parse(DiscriminatorOptions, {"class_name": "patch_discriminator"})


def test_a_section_tells_the_smallest_side_without_building_the_network():
    assert [PatchDiscriminatorOptions(n_layers=layers).smallest_side for layers in (1, 3, 4)] == [6, 24, 48]
    assert UNetDiscriminatorOptions().smallest_side == 8
