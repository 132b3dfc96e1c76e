"""Gradient checkpointing and dropout: the same updates with less memory, and nothing of either in use."""

import pytest
import torch
from conftest import CPU

import losses
from options.base import parse
from restore.data.batches import Batch
from restore.networks import build_generator
from restore.training.lengths import RunLength
from restore.training.optimizers import Adam
from restore.training.precision import choose_precision
from restore.training.schedules import ScheduleSection
from restore.training.trainer import Trainer
from transforms import RGGB

SCUNET = {"class_name": "SCUNet", "n_channels": 4, "config": [1, 1, 1, 2, 1, 1, 1], "drop_path": 0.4}
UNET = {"class_name": "UNet", "n_channels": 4, "widths": [8, 16], "dropout": 0.5}
BOTH = pytest.mark.parametrize("section", [SCUNET, UNET], ids=["SCUNet", "UNet"])


def network(section, **changes):
    torch.manual_seed(3)
    return build_generator(section | changes)


def gradients(net, image):
    torch.manual_seed(5)
    net.train()(image).square().mean().backward()
    return {name: parameter.grad for name, parameter in net.named_parameters()}


def images(count=2, side=64):
    return torch.rand(count, 4, side, side, generator=torch.Generator().manual_seed(1))


@BOTH
def test_checkpointing_gives_the_same_gradients_with_what_is_dropped_at_random(section):
    plain, saving = (gradients(network(section, checkpointing=on), images()) for on in (False, True))
    assert plain.keys() == saving.keys()
    for name in plain:
        torch.testing.assert_close(saving[name], plain[name], rtol=1e-4, atol=1e-7)


@BOTH
def test_checkpointing_draws_no_other_random_numbers(section):
    states = []
    for on in (False, True):
        gradients(network(section, checkpointing=on), images())
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@BOTH
def test_checkpointing_holds_less_for_the_gradient(section):
    def held(net):
        """Bytes of the tensors that the graph keeps, each memory counted once."""
        kept = {}

        def keep(tensor):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            restored = net.train()(images())
        assert restored.requires_grad
        return sum(kept.values())

    assert held(network(section, checkpointing=True)) < 0.8 * held(network(section))


@BOTH
def test_checkpointing_and_dropping_leave_names_and_restoring_as_they_are(section):
    plain = network(section, checkpointing=False, **dict.fromkeys({"dropout", "drop_path"} & section.keys(), 0.0))
    saving = network(section, checkpointing=True)
    assert list(saving.state_dict()) == list(plain.state_dict())
    saving.load_state_dict(plain.state_dict())
    with torch.no_grad():
        assert torch.equal(saving.eval()(images()), plain.eval()(images()))


@BOTH
def test_an_update_with_checkpointing_is_the_update_without(section):
    weights = []
    for on in (False, True):
        net = network(section, checkpointing=on)
        schedule = parse(ScheduleSection, {"class_name": "ReduceLROnPlateau"}).schedule(
            1e-3, RunLength(10, per_epoch=10)
        )
        loss = losses.build({"pixel": {"class_name": "L1"}}, 4)
        trainer = Trainer(net, None, loss, Adam(), schedule, choose_precision("off", CPU, True, True), CPU)
        torch.manual_seed(7)
        for _ in range(2):
            trainer.step(Batch(images(), 1 - images(), None, RGGB, ("a", "b")).parts(2))
        weights.append(torch.cat([parameter.detach().flatten() for parameter in net.parameters()]))
    # Adam's first steps go by the gradient's sign, which rounding may turn where the gradient is nearly 0.
    assert ((weights[0] - weights[1]).abs() < 1e-5).float().mean() > 0.999


def test_dropout_takes_whole_channels_of_the_last_features_in_training_alone():
    net = network(UNET | {"widths": [64], "residual": False})
    seen = []
    net.tail.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    net.train()(images(8, 16))
    net.eval()(images(8, 16))
    trained, used = seen
    dropped = (trained == 0).flatten(2).all(2)
    alive = (used != 0).flatten(2).any(2)
    assert 0.4 < float(dropped[alive].float().mean()) < 0.6
    whole = ~dropped & alive
    torch.testing.assert_close(trained[whole], 2 * used[whole])
