"""Loads records as tidy data frames, and writes them as Parquet files."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.contract.record import Record
from harness.contract.run import Point
from harness.errors import BenchError, DataError
from harness.storage import records

if TYPE_CHECKING:
    import pandas as pd

#: Columns of every frame, before the columns of hyperparameters and metrics.
COLUMNS = (
    *("run_id", "submission", "version", "workload", "workload_version", "hardware", "ruleset", "purpose"),
    *("study", "trial", "root_seed", "status", "hit", "point"),
    *("steps", "examples", "gradient_examples", "seconds", "process_seconds", "scored_seconds", "lr", "stage"),
    *("evaluated_examples", "se"),
)


def load_results(*folders: str | os.PathLike[str]) -> pd.DataFrame:
    """Load records as a tidy data frame with one row for each evaluation of each run.

    A run without an evaluation has one row. Every frame has these columns:

    - `run_id`, `submission`, `version`, `workload`, `workload_version`, `hardware`, `ruleset`, `purpose`, `study`,
      `trial`, `root_seed`: the fields that identify the run.
    - `status`: final status of the run.
    - `hit`: whether the run met its targets at any evaluation.
    - `point`: index of the evaluation in the run, from 0; NaN without an evaluation.
    - `steps`: number of updates until the evaluation.
    - `examples`: number of examples drawn until the evaluation.
    - `gradient_examples`: number of examples × backward passes until the evaluation.
    - `seconds`, `process_seconds`: wall seconds and process seconds until the evaluation.
    - `scored_seconds`: seconds of the clock on which scores are based (wall or process).
    - `lr`: learning rate.
    - `stage`: index of the stage of a stream.
    - `hparam.<name>`: hyperparameters of the run.
    - `metric.<name>`: metrics of the evaluation.

    `frame.attrs["left_out"]` contains one line for each file that is not a valid record.

    Args:
        folders: folders with records, which are searched recursively. By default, the folders `runs` and `results` in
            the current folder are read if they exist.

    Raises:
        DataError: a folder does not exist.

    >>> import harness, tempfile
    >>> len(harness.load_results(tempfile.mkdtemp()))
    0
    """
    import pandas as pd

    paths = [Path(folder) for folder in folders] or [p for p in (Path("runs"), Path("results")) if p.is_dir()]
    for folder in paths:
        if not folder.is_dir():
            raise DataError(
                f"{folder} is not a folder", fix="give a folder of records; `bench run` writes records to `runs`"
            )
    problems: list[str] = []
    rows = [row for record in records.iter_records(paths, problems) for row in _rows(record)]
    frame = pd.DataFrame(rows)
    frame = frame.reindex(columns=[*COLUMNS, *(c for c in frame.columns if c not in COLUMNS)])
    frame.attrs["left_out"] = problems
    return frame


def _rows(record: Record) -> Iterable[dict[str, Any]]:
    spec, facts = record.spec, record.spec.workload.facts
    run = {
        "run_id": record.run_id,
        "submission": spec.submission.name,
        "version": spec.submission.version,
        "workload": facts.name,
        "workload_version": facts.version,
        "hardware": spec.hardware,
        "ruleset": f"{spec.ruleset.name}@{spec.ruleset.version}",
        "purpose": spec.purpose,
        "study": spec.study,
        "trial": spec.trial,
        "root_seed": spec.root_seed,
        "status": record.status,
        "hit": record.hit is not None,
    }
    hparams = {f"hparam.{name}": value for name, value in spec.hparams.items()}
    points: Iterable[Point | None] = record.points or (None,)
    for index, point in enumerate(points):
        row = {**run, "point": None if point is None else index}
        if point is not None:
            row |= {
                "steps": point.steps,
                "examples": point.examples,
                "gradient_examples": point.gradient_examples,
                "seconds": point.seconds,
                "process_seconds": point.process_seconds,
                "scored_seconds": point.scored(spec.clock),
                "lr": point.lr,
                "stage": point.stage,
                "evaluated_examples": point.evaluated_examples,
                "se": point.se,
                **{f"metric.{name}": value for name, value in point.metrics.items()},
            }
        yield {**row, **hparams}


def to_parquet(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a frame as a Parquet file. A column that contains numbers and words is written as text.

    Raises:
        BenchError: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise BenchError("Parquet files need pyarrow, which is not installed", fix='pip install "algorace[parquet]"')
    plain = frame.copy()
    # A hyperparameter may be a number in one run and a word in another. A Parquet column has only one type.
    for name in plain.columns:
        types = {type(value) for value in plain[name].dropna()}
        if len(types - {int, float}) > 0 and len(types) > 1:
            plain[name] = plain[name].map(lambda value: None if value is None else str(value))
    plain.attrs = {}
    plain.to_parquet(path)
