"""What a run does at its savepoints: which models stay, and whether it ends because validation finds no gain."""

from typing import Any, Literal

from pydantic import NonNegativeFloat, PositiveInt

from options.base import Options
from restore.evaluation.validation import ValidationReport


class Keep(Options):
    """Which models stay in the run's folder. The best one always does, as best.pth, and so does the last.

    Keep more where you mean to compare models of one run, or to average them; fewer where the disk is small. A model
    takes 4 bytes for each parameter of the generator.
    """

    last: PositiveInt = 3
    """The models of so many last savepoints."""
    every: PositiveInt | None = 10
    """And those of every n-th savepoint: 1 keeps all; null: no others."""


class EarlyStopping(Options):
    """Ends the run when the validation has not gained for some savepoints.

    Use it where a run may overfit, as on few photographs, or where its length is a guess. Do not use it with a schedule
    that spans the run, as Cosine does: such a run gains most at its end. With ReduceLROnPlateau give more patience than
    the schedule has, so that lower learning rates are tried first. A run that stopped early goes on with
    --resume RUN --set early_stopping.patience=..., and more patience than it had.
    """

    metric: Literal["loss", "psnr_raw", "ssim_raw", "psnr_srgb", "ssim_srgb"] = "loss"
    """What has to gain: the validation loss, which gains by falling, or a metric of the restored photographs. best.pth
    is the model of the lowest validation loss in either case."""
    patience: PositiveInt = 10
    """The run ends after so many savepoints in a row without a gain."""
    min_gain: NonNegativeFloat = 0.0
    """What counts as a gain is more than this better than the best so far: in the unit of the loss, of PSNR [dB] or of
    SSIM."""

    def value(self, report: ValidationReport) -> float:
        """The higher the better."""
        return -report.loss if self.metric == "loss" else report.restored[self.metric]


class Patience:
    """Counts the savepoints of a run that were without a gain; without options none is counted."""

    def __init__(self, options: EarlyStopping | None):
        self.options = options
        self.best: float | None = None
        self.savepoints_since = 0

    @property
    def is_over(self) -> bool:
        """Whether the run ends here."""
        return self.options is not None and self.savepoints_since >= self.options.patience

    def ends_with(self, report: ValidationReport) -> bool:
        """Whether the run ends with the savepoint of this report, of which after_validation has not heard yet."""
        return self.options is not None and self._since(report) >= self.options.patience

    def after_validation(self, report: ValidationReport) -> None:
        """Hears of a savepoint's validation."""
        if self.options:
            self.savepoints_since = self._since(report)
            if self.savepoints_since == 0:
                self.best = self.options.value(report)

    def _since(self, report: ValidationReport) -> int:
        assert self.options
        gains = self.best is None or self.options.value(report) > self.best + self.options.min_gain
        return 0 if gains else self.savepoints_since + 1

    def reason(self) -> str:
        """Why the run ends here, and how it can go on."""
        assert self.options
        return (
            f"{self.options.metric} has not gained more than {self.options.min_gain:g} for {self.savepoints_since} "
            f"savepoints; to go on give more patience: --set early_stopping.patience={2 * self.options.patience}"
        )

    def state_dict(self) -> dict[str, Any]:
        metric = self.options and self.options.metric
        return {"metric": metric, "best": self.best, "savepoints_since": self.savepoints_since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.options and state["metric"] == self.options.metric:  # of another metric nothing is known
            self.best, self.savepoints_since = state["best"], int(state["savepoints_since"])
