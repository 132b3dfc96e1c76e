"""python -m restore.train: trains a network as an option file describes, and writes the run to model_zoo/."""

import copy
import math
import sys

from restore.command.arguments import flags, run_command, training_arguments

if __name__ == "__main__":
    ARGUMENTS = training_arguments()  # answers --help before the imports below, which take seconds

from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from options.errors import Diverged, Interrupted, UserError
from options.mistakes import hint_of_own_parts
from restore.command.interruption import Interruption
from restore.compute.device import choose_device, describe_device
from restore.compute.process import Process, joined_processes
from restore.data.batches import failure_of_workers
from restore.evaluation.validation import ValidationReport, validate
from restore.runs.checkpoints import OPTIONS, Checkpoints, make_run_folder, named_run, refuse_existing
from restore.runs.information import describe
from restore.runs.log_file import LogFile
from restore.runs.logbook import Logbook
from restore.runs.resuming import continue_from, progress_of, refuse_changes, state_of
from restore.training.assembly import Parts, assemble, count_parameters
from restore.training.check import check
from restore.training.find_rate import find_rate
from restore.training.guard import name_some
from restore.training.option_file import TrainingOptions, read_option_file
from restore.training.precision import training_arithmetic

GO_ON = "go on with: python -m restore.train --resume"
OnSavepoint = Callable[[int, ValidationReport], bool | None]


def main(arguments: Namespace) -> None:
    """Trains as the command's arguments say, or with --check only tries everything once."""
    resume = arguments.resume is not None
    with joined_processes() as process, flags(run_name="--run-name", device="--device"):
        with process.together():
            folder, options = _asked_for(arguments, process)
        if arguments.check or arguments.find_lr:
            device = choose_device(arguments.device)
            print(describe_device(device))
            parts = assemble(options, device, print, arguments.anomaly, resume)
            tried = find_rate if arguments.find_lr else check
            tried(options, parts)
        else:
            say = partial(print, flush=True)
            run(options, folder, arguments.device, process=process, resume=resume, anomaly=arguments.anomaly, say=say)


def _asked_for(arguments: Namespace, process: Process) -> tuple[Path | None, TrainingOptions]:
    """The folder, None for one with the date and time, and the options of the run. UserError for what cannot be."""
    if process.count > 1 and (arguments.check or arguments.find_lr):
        raise UserError(f"--{'check' if arguments.check else 'find-lr'}: is for one process; start it without torchrun")
    if arguments.resume is None:
        folder = named_run(arguments.run_name) if arguments.run_name is not None else None
        return folder, read_option_file(arguments.opt, arguments.set)
    if arguments.find_lr:
        raise UserError("--find-lr: a run is continued with its own learning rate; give it with -opt")
    return Path(arguments.resume), _options_of_run(Path(arguments.resume), arguments)


def _options_of_run(folder: Path, arguments: Namespace) -> TrainingOptions:
    """The options of the run to continue, with the changes that --set makes. UserError for one that cannot be made."""
    if not (folder / OPTIONS).is_file():
        raise UserError(f"--resume: {folder} is no run, it has no {OPTIONS}; give a run's folder under model_zoo/")
    if arguments.run_name is not None:
        raise UserError(f"--run-name: {arguments.run_name} given, but a run continued keeps its name; leave it out")
    refuse_changes(arguments.set)
    with hint_of_own_parts():
        return read_option_file(folder / OPTIONS, arguments.set)


class RunReport(NamedTuple):
    """How a run ended."""

    folder: Path
    iteration: int
    """Updates made."""
    best: dict[str, Any]
    """The information file of the best model; empty if no savepoint was reached."""
    last: ValidationReport | None
    """The report of the last savepoint that this call reached; None if it reached none."""
    held_out: dict[str, Any] | None
    """What the best model reaches on held_out_path, as in its information file; None if nothing was held out or the run
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
    """Trains, and returns how the run ended. The command, a search, a notebook and a test call this function.

    folder        the folder of the run. Without resume it is made new; None: model_zoo/<date and time>
    device        "cpu", "cuda", "cuda:1", "mps"; None: the best there is
    process       which process of the run this is, as joined_processes gives it; only the first one writes files and
                  messages, and calls on_savepoint
    resume        continue the run in folder
    anomaly       name the layer in which a loss or gradient that is not finite arose (slower then)
    on_savepoint  called with the iteration and the validation report when both are saved. If it returns True, the run
                  ends; it can be continued later
    say           called with each message for the user
    Raises UserError for a mistake, before the folder is made; Diverged; Interrupted, after the state is saved.
    """
    log = LogFile(say, process)
    with ExitStack() as during:
        with process.together():
            device = choose_device(device, process)
            log.say(describe_device(device))
            if process.count > 1:
                log.say(f"processes: {process.count}, each with its share of every batch")
            if folder and not resume:
                refuse_existing(folder)
            parts = assemble(options, device, log.say, anomaly, resume, process)
            folder = _existing(folder) if resume else process.from_first(partial(make_run_folder, folder))
            checkpoints = Checkpoints(folder, options, process)
            during.enter_context(checkpoints.locked())
            during.enter_context(log.written_to(folder))
            if resume:
                continue_from(process.from_first(checkpoints.load_state), parts, folder, log.say)
                log.say(progress_of(parts))
            else:
                checkpoints.save_state(state_of(parts))
        during.enter_context(training_arithmetic())
        return Run(options, parts, checkpoints, on_savepoint, log.say).train()


class Run:
    """A training run. Read train, then updates, then savepoint."""

    def __init__(
        self,
        options: TrainingOptions,
        parts: Parts,
        checkpoints: Checkpoints,
        on_savepoint: OnSavepoint | None,
        say: Callable[[str], None],
    ):
        self.options = options
        self.parts = parts
        self.trainer, self.batches, self.validation, self.held_out, self.timetable, self.patience = parts
        self.checkpoints = checkpoints
        self.process = checkpoints.process
        self.on_savepoint = on_savepoint
        self.logbook = Logbook(checkpoints.folder, options, parts, say)
        self.report: ValidationReport | None = None
        self.stopped = False
        """Whether on_savepoint ended the run."""

    def train(self) -> RunReport:
        """Trains to the last iteration. A run that diverges goes back to the last saved state."""
        trainer, checkpoints, process = self.trainer, self.checkpoints, self.process
        with Interruption(process.highest) as interruption, self.logbook, self.saving_when_stopped():
            while not self.ended():
                try:
                    self.updates(interruption)
                except Diverged as reason:
                    message = trainer.go_back(process.from_first(checkpoints.load_state), reason)
                    checkpoints.save_state(state_of(self.parts))
                    self.logbook.went_back(trainer.iteration, message)
            if self.patience.is_over:
                self.logbook.say(f"stopped early, at iteration {trainer.iteration}: {self.patience.reason()}")
            if not self.stopped:
                self.measure_held_out()
            best = process.from_first(checkpoints.best)
            self.logbook.summary(checkpoints.folder, best)
        return RunReport(
            checkpoints.folder, trainer.iteration, best, self.report, best.get("held_out"), self.patience.is_over
        )

    def updates(self, interruption: Interruption) -> None:
        """Makes the updates from the trainer's iteration to the last, and the savepoints between them."""
        trainer, logbook = self.trainer, self.logbook
        if self.savepoint_is_due():  # the run was stopped before it was complete
            self.savepoint()
        if self.ended():
            return
        for batch in logbook.watched(self.batches.after(trainer.iteration, self.timetable.last)):
            terms = trainer.step(batch.parts(self.options.accumulation))
            logbook.progress(trainer.iteration, terms, trainer.guard.take_notices())
            if self.savepoint_is_due():
                self.savepoint()
            interruption.check()
            if self.ended():
                return

    def ended(self) -> bool:
        done = self.trainer.iteration >= self.timetable.last and not self.savepoint_is_due()
        return self.stopped or self.patience.is_over or done

    def savepoint_is_due(self) -> bool:
        trainer = self.trainer
        return self.timetable.is_savepoint(trainer.iteration) and trainer.progress.validated < trainer.iteration

    def savepoint(self) -> None:
        """Validates, saves the model and its information file, adapts the learning rate, and saves the state."""
        trainer = self.trainer
        report = validate(trainer.model, trainer.loss, self.validation, self.process)
        if not math.isfinite(report.loss):
            photographs = name_some(report.not_finite)
            raise Diverged(
                f"the validation loss at iteration {trainer.iteration} is {report.loss} (photographs: {photographs})"
            )
        best = report.loss < trainer.progress.best_loss
        self.checkpoints.save_model(trainer.iteration, trainer.model.state_dict(), self.information(report), best)
        trainer.end_savepoint(report.loss)
        self.patience.after_validation(report)
        self.checkpoints.save_state(state_of(self.parts))
        keep, timetable = self.options.keep, self.timetable
        every = keep.every or timetable.last + 1
        self.checkpoints.remove_models(keep.last, lambda iteration: timetable.is_nth_savepoint(iteration, every))
        self.logbook.validation(trainer.iteration, report, best)
        self.report = report
        if self.on_savepoint:
            ends = partial(self.on_savepoint, trainer.iteration, report)
            self.stopped = self.process.from_first(ends) is True

    def measure_held_out(self) -> None:
        """Measures the best model on held_out_path, unless that was done before."""
        best, photographs = self.process.from_first(self.checkpoints.best), self.held_out
        paths = self.options.model_dump(mode="json")["held_out_path"]
        if not best or photographs is None or best.get("held_out", {}).get("path") == paths:
            return
        model = copy.deepcopy(self.trainer.model)
        model.load_state_dict(self.process.from_first(self.checkpoints.best_weights))
        report = validate(model, self.trainer.loss, photographs, self.process)
        about = {"path": paths, "n_imgs": len(photographs.samples), "loss": report.loss}
        self.checkpoints.add_to_best(held_out=about | report.metrics)

    def information(self, report: ValidationReport) -> dict[str, Any]:
        """The information file of the model at this iteration."""
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

    @contextmanager
    def saving_when_stopped(self) -> Iterator[None]:
        """At Ctrl+C or an error, saves the state of the last update, so that the run can continue from there."""
        try:
            yield
        except (Diverged, UserError):
            raise  # the state on disk is good, and this one is not
        except Exception as error:
            folder = self.checkpoints.folder
            if self.process.count > 1 and not isinstance(error, Interrupted):  # the others may be in another update
                self.logbook.say(f"the state of the last savepoint is kept; {GO_ON} {folder}")
                raise failure_of_workers(error) or error from None
            try:
                self.checkpoints.save_state(state_of(self.parts))
                self.logbook.settle(self.trainer.iteration)
                self.logbook.say(f"state saved at iteration {self.trainer.iteration}; {GO_ON} {folder}")
            except Diverged as reason:
                self.logbook.say(f"{reason}: the state of the last savepoint is kept; {GO_ON} {folder}")
            if failure := failure_of_workers(error):
                raise failure from None
            raise


def _existing(folder: Path | None) -> Path:
    """The folder of the run to continue. UserError if none is given."""
    if folder is None:
        raise UserError("folder: none given, so there is no run to continue; give the folder of the run")
    return folder


def command(words: list[str] | None = None) -> int:
    """The command as a function, for a script that adds parts of its own; returns the exit status."""
    return run_command(main, training_arguments(words))


if __name__ == "__main__":
    sys.exit(run_command(main, ARGUMENTS))
