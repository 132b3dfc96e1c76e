"""The trials of a search, which several processes may share: their database, who runs which, and running one."""

import contextlib
import fcntl
import gc
import json
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import optuna
import sqlalchemy
import torch
from optuna import Study, Trial
from optuna.exceptions import StorageInternalError
from optuna.pruners import MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from options.errors import Diverged, Failure, UserError
from restore.evaluation.validation import ValidationReport
from restore.files.atomic import make_folder
from restore.runs.checkpoints import STATE
from restore.runs.lock import locked
from restore.search.space import Space, Values
from restore.train import run

DATABASE = "search.db"
PLAN, OWN, REASON, ITERATION, MINUTES = "plan", "own_settings", "reason", "iteration", "minutes"
"""Names under which the database keeps what Optuna does not know."""
OPTIONS_OF_TRIAL = "its options"
PATIENCE = 300
"""How long a process waits for another that writes to the database [s]."""

Sampler = Literal["tpe", "random", "grid"]


class Plan(NamedTuple):
    """What all processes of a search agree on."""

    options: dict[str, Any]
    """The option file's data that the trials change."""
    space: dict[str, Any]
    """The space file's data."""
    metric: str
    """What is searched by: "loss", or a metric of the validation photographs, as "psnr_raw"."""

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        return "minimize" if self.metric == "loss" else "maximize"

    def value(self, report: ValidationReport) -> float:
        return report.loss if self.metric == "loss" else report.restored[self.metric]

    def value_of_best(self, information: dict[str, Any]) -> float:
        """Of a run's best model, by its information file."""
        return (
            information["final_val_loss"]
            if self.metric == "loss"
            else information["validation"]["restored"][self.metric]
        )


class Search:
    """A search, in model_zoo/<search>: search.db, and the folder of each trial's run, <search>_<number>.

    A trial belongs to the process that holds its lock file, and the lock ends with the process. So a trial that the
    database calls running, and whose lock is free, was interrupted: whoever finds it goes on with it.
    """

    def __init__(self, folder: Path, study: Study):
        self.folder = folder
        self.study = study
        self.plan = Plan(**study.user_attrs[PLAN])
        self.space = Space(self.plan.space, "the space")

    def run_folder(self, number: int) -> Path:
        """The run of a trial. Its name has the search's in it, by which TensorBoard shows the runs of all searches."""
        return self.folder / f"{self.folder.name}_{number:03}"

    @property
    def begun(self) -> int:
        """Number of trials that were begun, of all processes."""
        return sum(trial.state != TrialState.WAITING for trial in self.study.get_trials(deepcopy=False))

    @contextmanager
    def next_trial(self, trials: int, sampler: Sampler, seed: int) -> Iterator[Trial | None]:
        """Holds a trial while the block runs: one that was interrupted, else a new one; None: there are enough."""
        with ExitStack() as held:
            with _alone(self.folder):
                trial = self._interrupted(held) or self._new(held, trials, sampler, seed)
                if trial:
                    self.space.suggested(trial)
            yield trial

    def _interrupted(self, held: ExitStack) -> Trial | None:
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            with suppress(UserError), ExitStack() as tried:  # a lock that is taken: another process has it
                tried.enter_context(self._lock(trial.number))
                if self.study.get_trials(deepcopy=False)[trial.number].state == TrialState.RUNNING:
                    held.push(tried.pop_all())
                    return Trial(self.study, trial._trial_id)
        return None

    def _new(self, held: ExitStack, trials: int, sampler: Sampler, seed: int) -> Trial | None:
        number = self.begun
        own = self.space.own_values(self.plan.options)
        order = [own] if own is not None else []
        if sampler == "grid":
            order = _ordered(self.space.grid(), own, seed)
            trials = min(trials, len(order))
        if number >= trials:
            return None
        if number < len(order):
            self.study.enqueue_trial(
                self.space.as_stored(order[number]), {OWN: order[number] == own}, skip_if_exists=True
            )
        self.study.sampler = _sampler(sampler, seed, number)
        trial = self.study.ask()
        held.enter_context(self._lock(trial.number))
        return trial

    def _lock(self, number: int) -> contextlib.AbstractContextManager[None]:
        return locked(self.folder / f".trial_{number:03}.lock", f"trial {number}")

    def train(self, trial: Trial, device: str | None) -> str:
        """Runs a trial, or goes on with it, and records how it ended; returns a line for the user.

        Where its options contradict one another, its numbers are not finite or the memory is full, the trial has failed
        and the search goes on. What ends the search by an error leaves the trial to be gone on with: a mistake that is
        found before any trial is complete, or a full disk.
        """
        folder = self.run_folder(trial.number)
        resume = (folder / STATE).exists()
        if folder.exists() and not resume:
            shutil.rmtree(folder)  # of a process that was killed before it saved anything
        reported = set(self.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        pruned = False

        def on_savepoint(iteration: int, report: ValidationReport) -> bool:
            nonlocal pruned
            if iteration not in reported:  # a run that diverged goes back
                reported.add(iteration)
                trial.report(self.plan.value(report), iteration)
            pruned = bool(trial.should_prune())  # may be NumPy's
            return pruned

        try:
            options = self.space.options_with(self.plan.options, self.space.suggested(trial), OPTIONS_OF_TRIAL)
        except UserError as error:  # two values contradict one another
            return self._failed(trial, error)
        try:
            report = run(options, folder, device, resume=resume, on_savepoint=on_savepoint, say=lambda line: None)
        except Exception as error:
            if not self._has_failed(error):
                raise
            line = self._failed(trial, error)
            if isinstance(error, UserError | Diverged | torch.OutOfMemoryError):
                return line
            raise
        finally:
            free_memory()
        trial.set_user_attr(ITERATION, report.iteration)
        trial.set_user_attr(MINUTES, report.best["duration"])
        if pruned and report.iteration < report.best["total_iterations"]:
            self.study.tell(trial, state=TrialState.PRUNED)
            return f"pruned at iteration {report.iteration} of {report.best['total_iterations']}"
        value = self.plan.value_of_best(report.best)
        self.study.tell(trial, value)
        best = self.study.best_trial.number == trial.number
        return f"{self.plan.metric} {value:.5g}{', the best so far' * best}"

    def _has_failed(self, error: Exception) -> bool:
        """Whether the trial has failed by this error; else the search stops, and goes on with the trial later."""
        if isinstance(error, UserError):
            return bool(self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        return isinstance(error, Diverged) or not isinstance(error, Failure)

    def _failed(self, trial: Trial, error: Exception) -> str:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        trial.set_user_attr(REASON, reason)
        self.study.tell(trial, state=TrialState.FAIL)
        return f"failed: {reason}"


def open_search(folder: Path, plan: Plan | None, pruning: bool = True) -> Search:
    """The search in this folder, which is begun where there is none.

    plan  None: there must be one
    Raises UserError if that one has another plan.
    """
    database = folder / DATABASE
    if plan is None and not database.is_file():
        raise UserError(f"{folder}: holds no search, as there is no {DATABASE}; give the folder of one")
    make_folder(folder)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = MedianPruner() if pruning else NopPruner()
    with _alone(folder):
        try:
            storage = optuna.storages.RDBStorage(
                sqlalchemy.URL.create("sqlite", database=str(database)).render_as_string(),
                engine_kwargs={"connect_args": {"timeout": PATIENCE}},
            )
            if plan is None:
                study = optuna.load_study(study_name="search", storage=storage, pruner=pruner)
            else:
                study = optuna.create_study(
                    study_name="search", storage=storage, pruner=pruner, direction=plan.direction, load_if_exists=True
                )
        except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError, KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{database}: cannot be read ({reason}); remove it, or choose another name") from None
        if plan and PLAN not in study.user_attrs:
            study.set_user_attr(PLAN, plan._asdict())
    search = Search(folder, study)
    if plan:
        _refuse_another(search, plan)
    return search


def _refuse_another(search: Search, plan: Plan) -> None:
    """UserError if the search was begun with another plan."""
    given = json.loads(json.dumps(plan._asdict()))
    if changed := [name for name, value in search.plan._asdict().items() if value != given[name]]:
        raise UserError(
            f"search name: {search.folder} was begun with other values of {' and '.join(changed)}; give the same to go "
            f"on with it, or another name to begin anew"
        )


def _sampler(sampler: Sampler, seed: int, number: int) -> BaseSampler:
    """Made anew for each trial, with a seed by its number: a search that was stopped draws what it would have drawn."""
    seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return TPESampler(seed=seed) if sampler == "tpe" else RandomSampler(seed=seed)


def _ordered(grid: list[Values], own: Values | None, seed: int) -> list[Values]:
    """The grid in an order drawn by the seed, so that a part of it is spread over the whole, the own values first."""
    random.Random(seed).shuffle(grid)
    return sorted(grid, key=lambda values: values != own)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While the block runs, the search's other processes wait before theirs."""
    with (folder / ".search.lock").open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX)
        except OSError as error:
            raise UserError(f"{folder}: has no file locks ({error.strerror}); use another file system") from None
        yield


def free_memory() -> None:
    """What the networks of a process took so far is given back."""
    gc.collect()
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()  # it gives up, with a warning alone, after 8 networks of unlike widths
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
