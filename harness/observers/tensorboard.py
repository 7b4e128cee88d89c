"""An observer that writes event files for TensorBoard (`tensorboard --logdir FOLDER`).

Source: the API `tensorboard.summary.Writer`, which needs no other framework.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.contract.hookspecs import hookimpl
from harness.contract.observation import ObservedTrial, TrialOutcome
from harness.contract.run import Point


def point_scalars(point: Point) -> dict[str, float]:
    """Return the values of an evaluation by name: metrics, counters, learning rate, losses and gradient norm."""
    values: dict[str, float | None] = {f"metric/{name}": value for name, value in point.metrics.items()}
    values |= {
        "progress/examples": point.examples,
        "progress/seconds": point.seconds,
        "progress/process_seconds": point.process_seconds,
        "train/lr": point.lr,
        "train/loss": point.train_loss,
        "train/mean_loss": point.mean_train_loss,
        "train/grad_norm": point.grad_norm,
    }
    return {name: float(value) for name, value in values.items() if value is not None}


def trial_name(trial: ObservedTrial) -> str:
    """Return a name for a trial. It contains a part of the trial's id, so the name differs in every command."""
    return f"{trial.submission}-s{trial.study}-t{trial.trial}-{trial.id[:8]}"


class TensorBoardFiles:
    """Writes one folder of event files for each trial, `FOLDER/WORKLOAD/TRIAL`.

    Args:
        folder: the folder, which is created.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary import Writer

        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._open_writer = Writer
        self._writers: dict[str, Any] = {}

    @hookimpl
    def bench_evaluated(self, trial: ObservedTrial, point: Point) -> None:
        """Write the scalars of an evaluation. The step is the number of updates."""
        writer = self._writers.get(trial.id)
        if writer is None:
            name = f"{trial.workload}@{trial.workload_version}/{trial_name(trial)}".replace(":", "_")
            writer = self._writers[trial.id] = self._open_writer(str(self._folder / name))
        for name, value in point_scalars(point).items():
            writer.add_scalar(name, value, point.steps)
        writer.flush()

    @hookimpl
    def bench_run_finished(self, trial: ObservedTrial, outcome: TrialOutcome) -> None:
        """Close the files of a trial."""
        writer = self._writers.pop(trial.id, None)
        if writer is not None:
            writer.close()
