"""An observer that logs to Weights & Biases, offline unless `WANDB_MODE` is set.

`wandb sync FOLDER/wandb/offline-run-*` uploads the files later.

Source: https://docs.wandb.ai/ref/python/init
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harness.contract.hookspecs import hookimpl
from harness.contract.observation import ObservedTrial, TrialOutcome
from harness.contract.record import is_success
from harness.contract.run import Point
from harness.observers.tensorboard import point_scalars, trial_name


class WandbRuns:
    """Logs each trial as a run of wandb. wandb's environment variables give the settings that are not set here.

    Args:
        folder: folder of wandb's files, which is created.
    """

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._wandb: Any = wandb
        self._runs: dict[str, Any] = {}

    @hookimpl
    def bench_run_started(self, trial: ObservedTrial) -> None:
        """Open the run of a trial. A trial that is resumed in the same command continues its run."""
        if trial.id in self._runs:
            return
        self._runs[trial.id] = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "algorace"),
            dir=str(self._folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            name=trial_name(trial),
            group=f"{trial.workload}@{trial.workload_version}",
            job_type=trial.purpose,
            config={
                "submission": f"{trial.submission}@{trial.submission_version}",
                "workload": f"{trial.workload}@{trial.workload_version}",
                "ruleset": trial.ruleset,
                "hardware": trial.hardware,
                "study": trial.study,
                "trial": trial.trial,
                "hparams": dict(trial.hparams),
            },
            # One process logs several trials at once.
            reinit="create_new",
            settings=self._wandb.Settings(console="off", save_code=False, disable_git=True),
        )

    @hookimpl
    def bench_evaluated(self, trial: ObservedTrial, point: Point) -> None:
        """Log the values of an evaluation. The step is the number of updates."""
        run = self._runs.get(trial.id)
        if run is not None:
            run.log(point_scalars(point), step=point.steps)

    @hookimpl
    def bench_run_finished(self, trial: ObservedTrial, outcome: TrialOutcome) -> None:
        """Close the run of a trial. A run that failed is marked as failed."""
        run = self._runs.pop(trial.id, None)
        if run is not None:
            run.summary.update({"status": outcome.status, "run_id": outcome.run_id})
            run.finish(exit_code=0 if is_success(outcome.status) else 1)
