"""Learning-rate schedules: the rate as a number for an iteration, and what the option file may say of it."""

import copy
import random

import pytest
import torch

from options.base import parse
from restore.training.schedules import ScheduleSection


def schedule_of(iterations=100, initial=1e-3, **section):
    return parse(ScheduleSection, section).build(initial, iterations)


def torchs(scheduler, **options):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    return optimizer, scheduler(optimizer, **options)


def wandering(count):
    """Validation losses that fall on the whole, some of them by less than torch's threshold of 1e-4."""
    rng = random.Random(0)
    loss = 1.0
    for _ in range(count):
        loss *= rng.choice([0.99, 0.99995, 1.0, 1.02])
        yield loss


@pytest.mark.parametrize(
    ("factor", "patience", "min_lr"), [(0.9, 0, 3e-6), (0.5, 3, 0.0), (0.5, 0, 0.0), (0.99999, 0, 0.0)]
)
def test_plateau_has_the_values_of_torchs_own(factor, patience, min_lr):
    ours = schedule_of(class_name="ReduceLROnPlateau", factor=factor, patience=patience, min_lr=min_lr)
    optimizer, theirs = torchs(
        torch.optim.lr_scheduler.ReduceLROnPlateau, factor=factor, patience=patience, min_lr=min_lr
    )
    for iteration, loss in enumerate(wandering(300), 1):
        assert ours.rate(iteration) == optimizer.param_groups[0]["lr"]
        ours.after_validation(loss)
        theirs.step(loss)


def test_plateau_goes_on_from_its_state_as_if_nothing_had_been():
    losses = list(wandering(100))
    section = {"class_name": "ReduceLROnPlateau", "factor": 0.9, "patience": 2}
    whole, parted, resumed = (schedule_of(**section) for _ in range(3))
    for loss in losses:
        whole.after_validation(loss)
    for loss in losses[:47]:
        parted.after_validation(loss)
    resumed.load_state_dict(copy.deepcopy(parted.state_dict()))
    for loss in losses[47:]:
        resumed.after_validation(loss)
    assert resumed.rate(1) == whole.rate(1) < 1e-3


def test_cosine_has_the_values_of_torchs_own_at_every_update():
    ours = schedule_of(50, class_name="Cosine", min_lr=1e-5)
    optimizer, theirs = torchs(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=50, eta_min=1e-5)
    for iteration in range(1, 51):
        assert ours.rate(iteration) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        theirs.step()
    assert ours.rate(51) == pytest.approx(1e-5)


def test_cosine_follows_from_the_iteration_alone():
    ours = schedule_of(class_name="Cosine")
    before = [ours.rate(iteration) for iteration in (3, 70, 100)]
    ours.after_validation(5.0)
    assert [ours.rate(iteration) for iteration in (3, 70, 100)] == before
    assert ours.rate(1) == 1e-3
    assert ours.rate(100) < 1e-6


@pytest.mark.parametrize("class_name", ["ReduceLROnPlateau", "Cosine"])
def test_an_end_above_the_beginning_is_a_mistake(class_name):
    (line,) = parse(ScheduleSection, {"class_name": class_name, "min_lr": 1e-2}).contradictions(1e-3)
    assert line.startswith(
        "min_lr: 0.01 is not below optimizer.initial_learning_rate, 0.001, so the learning rate would"
    )
    assert parse(ScheduleSection, {"class_name": class_name, "min_lr": 1e-4}).contradictions(1e-3) == []


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (
            {"class_name": "ReduceLROnPlateau", "factor": 0.5, "patience": 3},
            {"decay_factor": 0.5, "decay_step": "auto_plateau", "lr_patience": 3},
        ),
        ({"class_name": "Cosine"}, {"decay_factor": None, "decay_step": "cosine", "lr_patience": None}),
    ],
)
def test_a_schedule_says_itself_what_the_information_file_tells_of_it(section, expected):
    assert parse(ScheduleSection, section).information() == expected
