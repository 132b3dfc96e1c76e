"""Learning-rate schedules: the rate as a number for an iteration, and what the option file may say of it."""

import copy
import random

import pytest
import torch

from options.base import parse
from options.errors import UserError
from restore.training.lengths import RunLength
from restore.training.schedules import ScheduleSection


def schedule_of(iterations=100, initial=1e-3, **section):
    return parse(ScheduleSection, section).schedule(initial, RunLength(iterations, per_epoch=10))


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
        ours.after_validation(iteration, loss)
        theirs.step(loss)


def test_plateau_goes_on_from_its_state_as_if_nothing_had_been():
    losses = list(wandering(100))
    section = {"class_name": "ReduceLROnPlateau", "factor": 0.9, "patience": 2}
    whole, parted, resumed = (schedule_of(**section) for _ in range(3))
    for loss in losses:
        whole.after_validation(1, loss)
    for loss in losses[:47]:
        parted.after_validation(1, loss)
    resumed.load_state_dict(copy.deepcopy(parted.state_dict()))
    for loss in losses[47:]:
        resumed.after_validation(1, loss)
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
    ours.after_validation(10, 5.0)
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


def torchs_factors(scheduler, iterations, warmup=1, **options):
    """The learning rate and momentum of each update by torch, chained with a linear warm-up."""
    lrs, (optimizer, theirs) = torch.optim.lr_scheduler, torchs(scheduler, **options)
    warming = lrs.LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1) if warmup > 1 else None
    for _ in range(iterations):
        yield optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]
        optimizer.step()
        theirs.step()
        if warming:
            warming.step()


TORCHS = [
    ({"class_name": "Constant"}, "ConstantLR", {"factor": 1.0}),
    (
        {"class_name": "MultiStep", "milestones": [2, {"iterations": 35}, 6.5], "gamma": 0.3},
        "MultiStepLR",
        {"milestones": [20, 35, 65], "gamma": 0.3},
    ),
    ({"class_name": "Step", "size": 1.5, "gamma": 0.7}, "StepLR", {"step_size": 15, "gamma": 0.7}),
    (
        {"class_name": "Cosine", "period": {"iterations": 15}, "period_factor": 2, "min_lr": 1e-5},
        "CosineAnnealingWarmRestarts",
        {"T_0": 15, "T_mult": 2, "eta_min": 1e-5},
    ),
    (
        {"class_name": "Cosine", "restarts": [2, 4, 6, 8]},
        "CosineAnnealingWarmRestarts",
        {"T_0": 20},
    ),
    (
        {"class_name": "OneCycle", "max_lr": 2.5e-2, "pct_start": 0.25, "final_div_factor": 100},
        "OneCycleLR",
        {"max_lr": 2.5e-2, "pct_start": 0.25, "final_div_factor": 100, "total_steps": 101},
    ),
]


@pytest.mark.parametrize("case", TORCHS, ids=[f"{section['class_name']}-{n}" for n, (section, *_) in enumerate(TORCHS)])
def test_a_whole_run_has_the_values_of_torchs_own(case):
    section, name, options = case
    iterations = options.get("total_steps", 100)
    ours = schedule_of(iterations, **section)
    theirs = torchs_factors(getattr(torch.optim.lr_scheduler, name), iterations - 1, **options)
    for iteration, (rate, momentum) in enumerate(theirs, 1):
        assert ours.rate(iteration) == pytest.approx(rate, rel=1e-9)
        assert ours.momentum(iteration) == (pytest.approx(momentum) if name == "OneCycleLR" else None)


@pytest.mark.parametrize(
    "section",
    [{"class_name": "ReduceLROnPlateau"}, {"class_name": "OneCycle", "max_lr": 0.1}, *(case[0] for case in TORCHS)],
)
@pytest.mark.parametrize("warmup", [1.2, {"iterations": 12}])
def test_a_warm_up_leads_linearly_into_every_schedule_as_torchs_chained_one_does(section, warmup):
    plain, warmed = schedule_of(**section), schedule_of(**section, warmup=warmup)
    optimizer, theirs = torchs(torch.optim.lr_scheduler.LinearLR, start_factor=1 / 12, total_iters=11)
    for iteration in range(1, 101):
        factor = optimizer.param_groups[0]["lr"] / 1e-3
        assert warmed.rate(iteration) == pytest.approx(plain.rate(iteration) * factor)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({"class_name": "MultiStep", "milestones": [3, 30]}, "milestones.1: 30 epochs given, but the run ends after"),
        ({"class_name": "Constant", "warmup": {"iterations": 100}}, "warmup: 100 iterations given"),
        ({"class_name": "Step", "size": 11}, "size: 11 epochs given"),
        ({"class_name": "Cosine", "restarts": [10.0]}, "restarts.0: 10 epochs given"),
        ({"class_name": "Cosine", "period": 20}, "period: 20 epochs given"),
    ],
)
def test_what_lies_beyond_the_end_of_the_run_is_a_mistake(section, line):
    options = parse(ScheduleSection, section)
    (found,) = options.too_long(None, 100, per_epoch=10)
    assert found.startswith(line)
    assert options.too_long(10, 100), "the file alone tells it too, where the units are the same"
    assert options.too_long(None, 1000, per_epoch=10) == []


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"class_name": "Cosine", "restarts": [1], "period": 2}, "leave one out"),
        ({"class_name": "Cosine", "period_factor": 2}, "without a period"),
        ({"class_name": "OneCycle", "max_lr": 1, "base_momentum": 0.99}, "above max_momentum"),
        ({"class_name": "Step", "size": 0}, "size: 0 given"),
        ({"class_name": "Step", "size": {"iteration": 3}}, 'did you mean "iterations"'),
    ],
)
def test_contradictions_inside_a_schedule_are_told(section, words):
    with pytest.raises(UserError, match=words):
        parse(ScheduleSection, section, "scheduler")


def test_a_highest_rate_below_the_first_is_a_mistake():
    (line,) = parse(ScheduleSection, {"class_name": "OneCycle", "max_lr": 1e-3}).contradictions(1e-2)
    assert line.startswith("max_lr: 0.001 is not above optimizer.initial_learning_rate, 0.01")
