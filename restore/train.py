"""python -m restore.train: trains a network as an option file says, into a run's folder under model_zoo/."""

import copy
import math
import sys

from restore.command.arguments import flags, run_command, training_arguments

if __name__ == "__main__":
    ARGUMENTS = training_arguments()  # answers --help before the imports below, which take seconds

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from options.errors import Diverged, UserError
from restore.command.interruption import Interruption
from restore.compute.device import choose_device, describe_device
from restore.compute.process import Process
from restore.data.batches import failure_of_workers
from restore.evaluation.validation import ValidationReport, validate
from restore.runs.checkpoints import OPTIONS, Checkpoints, make_run_folder, named_run, refuse_existing
from restore.runs.information import describe
from restore.runs.logbook import Logbook
from restore.runs.resuming import continue_from, refuse_changes, state_of
from restore.training.assembly import Parts, assemble, count_parameters
from restore.training.check import check
from restore.training.guard import name_some
from restore.training.option_file import TrainingOptions, read_option_file
from restore.training.precision import training_arithmetic

OnSavepoint = Callable[[int, ValidationReport], bool | None]


def main(arguments: Namespace) -> None:
    with flags(run_name="--run-name", device="--device"):
        if arguments.resume:
            folder = Path(arguments.resume)
            options = options_of_run(folder, arguments)
        else:
            folder = named_run(arguments.run_name) if arguments.run_name is not None else None
            options = read_option_file(arguments.opt, arguments.set)
        resume, anomaly = bool(arguments.resume), arguments.anomaly
        if not arguments.check:
            say = partial(print, flush=True)
            run(options, folder, arguments.device, resume=resume, anomaly=anomaly, say=say)
            return
        device = choose_device(arguments.device)
        print(describe_device(device))
        check(options, assemble(options, device, print, anomaly, resume))


def options_of_run(folder: Path, arguments: Namespace) -> TrainingOptions:
    """The options of the run to continue, with those changes that it can follow."""
    if not (folder / OPTIONS).is_file():
        raise UserError(f"--resume: {folder} is no run, it has no {OPTIONS}; give a run's folder under model_zoo/")
    if arguments.run_name is not None:
        raise UserError(f"--run-name: {arguments.run_name} given, but a run continued keeps its name; leave it out")
    refuse_changes(arguments.set)
    return read_option_file(folder / OPTIONS, arguments.set)


class RunReport(NamedTuple):
    """How a run ended."""

    folder: Path
    iteration: int
    """Updates made."""
    best: dict[str, Any]
    """The information of the best model; empty where no savepoint was reached."""
    last: ValidationReport | None
    """Of the last savepoint that was reached in this call."""
    held_out: dict[str, Any] | None
    """What the best model reaches on held_out_path, as in its information; None where nothing was held out or the run
    did not come to its end."""
    stopped_early: bool
    """Whether early_stopping ended the run."""


def run(
    options: TrainingOptions,
    folder: Path | None = None,
    device: str | torch.device | None = None,
    *,
    process: Process = Process(),
    resume: bool = False,
    anomaly: bool = False,
    on_savepoint: OnSavepoint | None = None,
    say: Callable[[str], None] = print,
) -> RunReport:
    """Trains, and returns how it ended. The command, a search, a notebook and a test call it alike.

    folder        the run's: a new one is made (None: model_zoo/<date and time>), or, with resume, the one to continue
    device        "cpu", "cuda", "cuda:1", "mps"; None: the best there is
    process       which process of the run this is; the first one writes and speaks
    anomaly       whether the layer is looked for where a loss or gradient ceases to be finite
    on_savepoint  called with the iteration and the validation's report when both are saved; where it returns True, the
                  run ends, and can be continued
    say           takes a line for the user
    Raises UserError for a mistake, before a folder is made; Diverged; Interrupted, with the state saved.
    """
    say = say if process.first else _nothing
    device = choose_device(device)
    say(describe_device(device))
    if folder and not resume:
        refuse_existing(folder)
    parts = assemble(options, device, say, anomaly, resume, process)
    checkpoints = Checkpoints(folder if resume else make_run_folder(folder), options, process)
    with checkpoints.locked(), training_arithmetic():
        if resume:
            continue_from(checkpoints.load_state(), parts, checkpoints.folder, say)
        else:
            checkpoints.save_state(state_of(parts))
        return Run(options, parts, checkpoints, on_savepoint or _nothing, say).train()


class Run:
    """A training run: its story is told by train, updates and savepoint."""

    def __init__(
        self,
        options: TrainingOptions,
        parts: Parts,
        checkpoints: Checkpoints,
        on_savepoint: OnSavepoint,
        say: Callable[[str], None],
    ):
        self.options = options
        self.parts = parts
        self.trainer, self.batches, self.validation, self.held_out, self.timetable, self.patience = parts
        self.checkpoints = checkpoints
        self.on_savepoint = on_savepoint
        self.logbook = Logbook(checkpoints.folder.name, self.trainer.iteration, self.timetable.last, self.batches, say)
        self.report: ValidationReport | None = None
        self.stopped = False

    def train(self) -> RunReport:
        """Trains to the last iteration; goes back to the last state saved where the numbers cease to be finite.

        Ctrl+C or an exception saves the state first, so that the run can go on from the last update.
        """
        trainer, folder = self.trainer, self.checkpoints.folder
        with self.logbook:
            try:
                with Interruption() as interruption:
                    while not self.ended():
                        try:
                            self.updates(interruption)
                        except Diverged as reason:
                            text = trainer.go_back(self.checkpoints.load_state(), reason)
                            self.checkpoints.save_state(state_of(self.parts))
                            self.logbook.went_back(trainer.iteration, text)
            except (Diverged, UserError):
                raise  # the state saved before is good, and this one is not
            except Exception as error:
                self.save_for_later()
                if failure := failure_of_workers(error):
                    raise failure from None
                raise
            if self.patience.is_over:
                self.logbook.say(f"stopped early, at iteration {trainer.iteration}: {self.patience.told()}")
            if not self.stopped:
                self.measure_held_out()
            best = self.checkpoints.best()
            self.logbook.summary(folder, best)
        return RunReport(
            folder, trainer.iteration, best, self.report, best.get("held_out"), stopped_early=self.patience.is_over
        )

    def updates(self, interruption: Interruption) -> None:
        """From the trainer's iteration to the last, with a savepoint wherever the timetable has one."""
        trainer, logbook = self.trainer, self.logbook
        if self.has_unfinished_savepoint():
            self.savepoint()
        if self.ended():
            return
        for batch in self.batches.after(trainer.iteration, self.timetable.last):
            terms = trainer.step(batch.parts(self.options.accumulation))
            logbook.progress(trainer.iteration, terms, trainer.guard.take_notices())
            if self.timetable.is_savepoint(trainer.iteration):
                self.savepoint()
            interruption.check()
            if self.ended():
                return

    def ended(self) -> bool:
        done = self.trainer.iteration >= self.timetable.last and not self.has_unfinished_savepoint()
        return self.stopped or self.patience.is_over or done

    def has_unfinished_savepoint(self) -> bool:
        """Whether the run was stopped in the middle of a savepoint."""
        trainer = self.trainer
        return self.timetable.is_savepoint(trainer.iteration) and trainer.progress.validated < trainer.iteration

    def savepoint(self) -> None:
        """Validates, saves the model with its information, lets the learning rate follow, and saves the state."""
        trainer = self.trainer
        report = validate(trainer.model, trainer.loss, self.validation)
        if not math.isfinite(report.loss):
            photographs = name_some(report.not_finite)
            raise Diverged(
                f"the validation loss at iteration {trainer.iteration} is {report.loss} (photographs: {photographs})"
            )
        best = report.loss < trainer.progress.best_loss
        information = self.information(report)
        self.checkpoints.save_model(trainer.iteration, trainer.model.state_dict(), information, best)
        trainer.end_savepoint(report.loss)
        self.patience.after_validation(report)
        self.checkpoints.save_state(state_of(self.parts))
        keep, timetable = self.options.keep, self.timetable
        every = keep.every or timetable.last + 1
        self.checkpoints.remove_models(keep.last, lambda iteration: timetable.is_nth_savepoint(iteration, every))
        self.logbook.validation(trainer.iteration, report, best)
        self.report = report
        self.stopped = self.on_savepoint(trainer.iteration, report) is True

    def measure_held_out(self) -> None:
        """Measures the best model on the photographs that nothing has followed so far, unless that was done before."""
        best, photographs = self.checkpoints.best(), self.held_out
        paths = self.options.model_dump(mode="json")["held_out_path"]
        if not best or photographs is None or best.get("held_out", {}).get("path") == paths:
            return
        model = copy.deepcopy(self.trainer.model)
        model.load_state_dict(self.checkpoints.best_weights())
        report = validate(model, self.trainer.loss, photographs)
        measured = {"loss": report.loss, "restored": report.restored, "degraded": report.degraded}
        self.checkpoints.add_to_best(held_out={"path": paths, "n_imgs": len(photographs.samples)} | measured)

    def information(self, report: ValidationReport) -> dict[str, Any]:
        """The information file of the model as it is."""
        trainer = self.trainer
        return describe(
            self.options.of_stage(self.batches.stage(trainer.iteration)),
            report,
            epoch=self.timetable.epoch(trainer.iteration),
            iteration=trainer.iteration,
            total_iterations=self.timetable.last,
            duration=trainer.progress.seconds / 60,
            last_learning_rate=trainer.learning_rate,
            number_params=count_parameters(trainer.model),
            n_imgs_train=len(self.batches.samples),
            n_imgs_test=len(self.validation.samples),
            final_test_loss=self.logbook.training_loss(),
            stopped_early=self.patience.ends_with(report) and trainer.iteration < self.timetable.last,
        )

    def save_for_later(self) -> None:
        """Saves the state of the last update, and says how to go on from it."""
        trainer, folder = self.trainer, self.checkpoints.folder
        try:
            self.checkpoints.save_state(state_of(self.parts))
            self.logbook.say(f"state saved at iteration {trainer.iteration}; go on with --resume {folder}")
        except Diverged as reason:
            self.logbook.say(f"{reason}: the state of the last savepoint is kept; go on with --resume {folder}")


def _nothing(*_: Any) -> None:
    """Takes what is said to nobody."""


def command(words: list[str] | None = None) -> int:
    """The command as a function, for a script that adds parts of its own; returns the exit status."""
    return run_command(main, training_arguments(words))


if __name__ == "__main__":
    sys.exit(run_command(main, ARGUMENTS))
