"""An observer that appends rows to two CSV files: one file for evaluations, one for runs that have ended."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any, Final

from harness.contract.hookspecs import hookimpl
from harness.contract.observation import ObservedTrial, TrialOutcome
from harness.contract.run import Point
from harness.report.escaping import escape_csv

#: The columns of both files that identify a trial. `trial` is the identifier of the trial within the command. `setting`
#: is the index of the setting within the study.
_TRIAL: Final = (
    "trial",
    "submission",
    "version",
    "workload",
    "workload_version",
    "ruleset",
    "purpose",
    "study",
    "setting",
    "smoke",
)
#: The columns of `evaluations.csv`. There is one row for each metric of an evaluation.
EVALUATION_COLUMNS: Final = (
    *_TRIAL,
    *("stage", "steps", "examples", "gradient_examples", "seconds", "process_seconds", "lr", "train_loss", "screened"),
    *("metric", "value"),
)
#: The columns of `runs.csv`. There is one row for each run that ended.
RUN_COLUMNS: Final = (
    *_TRIAL,
    *("run_id", "status", "steps", "examples", "gradient_examples", "seconds", "process_seconds", "hparams"),
    *("started", "finished"),
)


class CsvFiles:
    """Appends to `evaluations.csv` and `runs.csv` in a folder. Several commands may append to the same files.

    Args:
        folder: the folder, which is created.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    @hookimpl
    def bench_evaluated(self, trial: ObservedTrial, point: Point) -> None:
        """Append one row for each metric of an evaluation."""
        counts = (point.stage, point.steps, point.examples, point.gradient_examples, point.seconds)
        shared = (*_identify(trial), *counts, point.process_seconds, point.lr, point.train_loss, int(point.screened))
        self._append("evaluations.csv", EVALUATION_COLUMNS, [(*shared, *metric) for metric in point.metrics.items()])

    @hookimpl
    def bench_run_finished(self, trial: ObservedTrial, outcome: TrialOutcome) -> None:
        """Append the row of a run."""
        total = outcome.counters
        counts = (total.steps, total.examples, total.gradient_examples, total.seconds, total.process_seconds)
        hparams = json.dumps(dict(trial.hparams), sort_keys=True)
        times = (outcome.started, outcome.finished)
        row = (*_identify(trial), outcome.run_id, outcome.status, *counts, hparams, *times)
        self._append("runs.csv", RUN_COLUMNS, [row])

    def _append(self, name: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
        """Append rows with one write, so that rows of several processes do not mix."""
        path = self._folder / name
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            if os.fstat(descriptor).st_size == 0:
                writer.writerow(columns)
            writer.writerows([escape_csv(value) for value in row] for row in rows)
            os.write(descriptor, text.getvalue().encode())
        finally:
            os.close(descriptor)


def _identify(trial: ObservedTrial) -> tuple[Any, ...]:
    """Return the values of the columns `_TRIAL`."""
    return (
        *(trial.id, trial.submission, trial.submission_version, trial.workload, trial.workload_version),
        *(trial.ruleset, trial.purpose, trial.study, trial.trial, int(trial.smoke)),
    )
