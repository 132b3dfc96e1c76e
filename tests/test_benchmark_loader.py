"""restore.benchmark loader: what feeds the device best, and what limits it."""

import re

import pytest

from restore.benchmark.__main__ import main, read_arguments
from restore.benchmark.loader import Costs, Rates, Setting, best, limit
from restore.command.arguments import run_command


def test_it_measures_each_setting_and_tells_the_best_and_the_limit(option_file, capsys, workplace):
    words = ["loader", "-opt", str(option_file()), "--workers", "0", "1", "--seconds", "0.1", "--repeats", "1"]
    main(read_arguments([*words, "--device", "cpu"]))
    printed = capsys.readouterr().out
    rows = re.findall(r"^ +(\d) +(-|\d) +([\d,.]+) +([\d,.]+)$", printed, re.MULTILINE)
    assert [row[:2] for row in rows] == [("0", "-"), ("1", "2"), ("1", "4")]
    assert all(float(rate.replace(",", "")) > 0 for row in rows for rate in row[2:])
    assert re.search(r"^ +the network alone +[\d,.]+$", printed, re.MULTILINE)
    assert re.search(
        r"^one core: [\d.]+ ms for the chain .* [\d.]+ ms to decode a photograph, once$", printed, re.MULTILINE
    )
    assert re.search(r"^best: workers [01].* samples/s in training$", printed, re.MULTILINE)
    assert re.search(r"^limit: the (network|cores|disk|chain)", printed, re.MULTILINE)
    assert not (workplace / "model_zoo").exists()


def test_a_mistake_in_the_option_file_is_reported_as_in_training(option_file, capsys):
    arguments = read_arguments(["loader", "-opt", str(option_file(batch_size=0))])
    assert run_command(main, arguments) == 2
    assert "batch_size" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value"), [("--workers", "-1"), ("--workers", "1000"), ("--seconds", "0"), ("--repeats", "0")]
)
def test_numbers_that_measure_nothing_are_refused(option_file, capsys, flag, value):
    assert run_command(main, read_arguments(["loader", "-opt", str(option_file()), flag, value])) == 2
    assert capsys.readouterr().err.startswith(f"error: {flag}: {value}")


def test_the_best_has_the_fewest_workers_of_those_that_are_as_fast():
    rates = {Setting(0, 2): 50, Setting(1, 2): 80, Setting(2, 2): 96, Setting(2, 4): 100, Setting(4, 2): 99}
    assert best({setting: Rates(0, rate) for setting, rate in rates.items()}) == Setting(2, 2)


@pytest.mark.parametrize(
    ("alone", "in_training", "costs", "expected"),
    [
        (500, 98, Costs(1, 1, 1), "the network"),
        (500, 80, Costs(1, 1, 1), "the cores"),
        (90, 80, Costs(0.02, 0.01, 1), "the disk"),
        (90, 80, Costs(0.01, 0.02, 1), "the chain"),
    ],
)
def test_what_the_training_waits_for_is_named(alone, in_training, costs, expected):
    assert limit(100, Rates(alone, in_training), costs).startswith(expected)
