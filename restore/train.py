"""python -m restore.train: trains a network as an option file says, into a run's folder under model_zoo/."""

import math
import sys

from restore.command.arguments import run, training_arguments

if __name__ == "__main__":
    ARGUMENTS = training_arguments()  # answers --help before the imports below, which take seconds

from argparse import Namespace
from pathlib import Path

from options.errors import Diverged, UserError
from restore.command.interruption import Interruption
from restore.compute.device import choose_device, describe_device
from restore.evaluation.validation import validate
from restore.runs.checkpoints import OPTIONS, Checkpoints, new_run_folder
from restore.runs.information import describe
from restore.runs.logbook import Logbook
from restore.runs.resuming import continue_from, refuse_changes, state_of
from restore.training.assembly import Parts, assemble, count_parameters
from restore.training.check import check
from restore.training.option_file import TrainingOptions, read_option_file
from restore.training.timetable import Schedule


def main(arguments: Namespace) -> None:
    resumed = Path(arguments.resume) if arguments.resume else None
    if resumed and not (resumed / OPTIONS).is_file():
        raise UserError(f"--resume: {resumed} is no run, it has no {OPTIONS}; give a run's folder under model_zoo/")
    if resumed:
        refuse_changes(arguments.set)
    options = read_option_file(resumed / OPTIONS if resumed else arguments.opt, arguments.set)
    device = choose_device(arguments.device)
    print(describe_device(device))
    parts = assemble(options, device, print, arguments.anomaly, resumed is not None)
    if arguments.check:
        check(options, parts)
        return
    if resumed:
        checkpoints = Checkpoints(resumed)
        continue_from(checkpoints.load_state(), parts, resumed)
    else:
        checkpoints = Checkpoints(new_run_folder(arguments.run_name))
        checkpoints.save_state(state_of(parts))
    checkpoints.save_options(options)
    Run(options, parts, checkpoints).train()


class Run:
    """A training run: its story is told by train, updates and savepoint."""

    def __init__(self, options: TrainingOptions, parts: Parts, checkpoints: Checkpoints):
        self.options = options
        self.parts = parts
        self.trainer, self.batches, self.validation = parts
        self.checkpoints = checkpoints
        self.schedule = Schedule(options, self.batches.per_epoch)

    def train(self) -> None:
        """Trains to the last iteration; goes back to the last state saved where the numbers cease to be finite.

        Ctrl+C or an exception saves the state first, so that --resume goes on from the last update.
        """
        trainer, folder = self.trainer, self.checkpoints.folder
        with Logbook(folder.name, trainer.iteration, self.schedule.last, self.batches) as self.logbook:
            try:
                with Interruption() as self.interruption:
                    while trainer.iteration < self.schedule.last or self.has_unfinished_savepoint():
                        try:
                            self.updates()
                        except Diverged as reason:
                            text = trainer.go_back(self.checkpoints.load_state(), reason)
                            self.logbook.went_back(trainer.iteration, text)
            except Diverged:
                raise  # the state saved before is good, and this one is not
            except Exception:
                self.checkpoints.save_state(state_of(self.parts))
                self.logbook.say(f"state saved at iteration {trainer.iteration}; go on with --resume {folder}")
                raise
            self.logbook.summary(folder, self.checkpoints.best())

    def updates(self) -> None:
        """From the trainer's iteration to the last, with a savepoint wherever the schedule has one."""
        trainer = self.trainer
        if self.has_unfinished_savepoint():
            self.savepoint()
        for batch in self.batches.after(trainer.iteration, self.schedule.last):
            terms = trainer.step(batch)
            self.logbook.progress(trainer.iteration, terms, trainer.guard.take_notices())
            if self.schedule.is_savepoint(trainer.iteration):
                self.savepoint()
            self.interruption.check()

    def has_unfinished_savepoint(self) -> bool:
        """Whether the run was stopped in the middle of a savepoint."""
        return self.schedule.is_savepoint(self.trainer.iteration) and self.trainer.validated < self.trainer.iteration

    def savepoint(self) -> None:
        """Validates, saves the model with its information, lets the learning rate follow, and saves the state."""
        trainer = self.trainer
        report = validate(trainer.generator, trainer.loss, self.validation)
        if not math.isfinite(report.loss):
            raise Diverged(f"the validation loss at iteration {trainer.iteration} is {report.loss}")
        best = report.loss < trainer.best_loss
        information = describe(
            self.options,
            report,
            epoch=self.schedule.epoch(trainer.iteration),
            iteration=trainer.iteration,
            total_iterations=self.schedule.last,
            duration=trainer.seconds / 60,
            last_learning_rate=trainer.learning_rate,
            number_params=count_parameters(trainer.generator),
            n_imgs_train=len(self.batches.samples),
            n_imgs_test=len(self.validation.samples),
            final_test_loss=self.logbook.training_loss(),
        )
        self.checkpoints.save_model(trainer.iteration, trainer.generator.state_dict(), information, best)
        trainer.end_savepoint(report.loss)
        self.checkpoints.save_state(state_of(self.parts))
        self.logbook.validation(trainer.iteration, report, best)


if __name__ == "__main__":
    sys.exit(run(main, ARGUMENTS))
