"""Loads records and logs of other tools as tidy data frames, and writes them as Parquet files."""

from __future__ import annotations

import importlib.util
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.contract.record import Record
from harness.contract.run import Point
from harness.errors import BenchError, DataError, StoreError
from harness.storage import records
from harness.system.files import describe_json_error, read_text

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


# --- logs of other tools ------------------------------------------------------------------------------


def import_csv(
    path: str | os.PathLike[str],
    *,
    metric: str,
    submission: str,
    workload: str,
    study: int = 0,
    step: str = "step",
    seconds: str = "seconds",
) -> pd.DataFrame:
    """Read a CSV file with steps, seconds and a metric as a frame with the columns of `load_results`.

    Args:
        path: path of the file.
        metric: name of the column with the metric.
        submission: name of the submission in the frame.
        workload: name of the workload in the frame.
        study: index of the study in the frame.
        step: name of the column with the steps.
        seconds: name of the column with the times in seconds.

    Raises:
        DataError: the file cannot be read or lacks a column. The error is also raised if a step or time is negative, is
            not a number, or is smaller than the step or time in the previous line.
    """
    frame = _read_csv(path)
    missing = [name for name in (step, metric, seconds) if name not in frame.columns]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(missing)}", fix=f"choose from: {', '.join(map(str, frame.columns))}"
        )
    return _import(path, frame, [metric], step, seconds, (submission, workload, study))


def import_wandb(
    path: str | os.PathLike[str],
    *,
    submission: str,
    workload: str,
    metrics: Iterable[str] | None = None,
    study: int = 0,
) -> pd.DataFrame:
    """Read a run history exported from Weights & Biases (CSV, JSON or JSON lines).

    The frame has the columns of `load_results`. Steps are read from `_step` and seconds from `_runtime`. The seconds
    include the time of evaluations, so they must not be used as scores.

    Args:
        path: path of the file.
        submission: name of the submission in the frame.
        workload: name of the workload in the frame.
        metrics: names of the metric columns; None for every numeric column whose name does not begin with `_`.
        study: index of the study in the frame.

    Raises:
        DataError: the file cannot be read, is not a run history, lacks one of `metrics`, or has no numeric column.
    """
    path = Path(path)
    frame = _read_csv(path) if path.suffix == ".csv" else _read_json(path)
    missing = [name for name in ("_step", "_runtime") if name not in frame.columns]
    if missing:
        is_chart = "Step" in frame.columns
        fix = "export the run's history from W&B" + (" instead of a chart" if is_chart else "")
        raise DataError(f"{path} has no column {', '.join(missing)}", fix=fix)
    numeric = [str(c) for c in frame.select_dtypes("number").columns if not str(c).startswith("_")]
    names = list(metrics) if metrics is not None else numeric
    if not numeric:
        raise DataError(f"{path} has no numeric column for a metric", fix="export a history with a logged metric")
    if not names:
        raise DataError(f"no metric of {path} was selected", fix=f"name at least one of: {', '.join(numeric)}")
    unknown = [name for name in names if name not in numeric]
    if unknown:
        raise DataError(f"{path} has no metric {', '.join(unknown)}", fix=f"choose from: {', '.join(numeric)}")
    rows_with_metrics = frame[frame[names].notna().any(axis="columns")]
    return _import(path, rows_with_metrics, names, "_step", "_runtime", (submission, workload, study))


def _import(
    path: str | os.PathLike[str],
    frame: pd.DataFrame,
    metrics: Sequence[str],
    step: str,
    seconds: str,
    run_labels: tuple[str, str, int],
) -> pd.DataFrame:
    """Make a frame with the columns of `load_results`.

    Args:
        path: path of the file, for messages.
        frame: content of the file.
        metrics: names of the metric columns.
        step: name of the column with the steps.
        seconds: name of the column with the times in seconds.
        run_labels: submission, workload and study.
    """
    import pandas as pd

    checked = {column: pd.to_numeric(frame[column], errors="coerce") for column in (step, seconds, *metrics)}
    for column in (step, seconds):
        previous = 0.0
        for line, value in enumerate(checked[column], start=2):
            if not math.isfinite(value) or value < previous:
                raise DataError(
                    f"{path}, line {line}: {column} is {value!r} after {previous!r}",
                    fix=f"correct the column {column}: its values must be numbers that never decrease",
                )
            previous = float(value)
    submission, workload, study = run_labels
    values: dict[str, Any] = {
        "run_id": f"import-{submission}-{workload}-{study}",
        "submission": submission,
        "workload": workload,
        "study": study,
        "status": "imported",
        "point": range(len(frame)),
        "steps": checked[step].astype(int).to_numpy(),
        "seconds": checked[seconds].to_numpy(),
        "scored_seconds": checked[seconds].to_numpy(),
        **{f"metric.{m}": checked[m].to_numpy() for m in metrics},
    }
    run = pd.DataFrame(values)
    return run.reindex(columns=[*COLUMNS, *(c for c in run.columns if c not in COLUMNS)])


def _read_csv(path: str | os.PathLike[str]) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}", fix="give a CSV file with a header") from None


def _read_json(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        text = read_text(path)
        rows = json.loads(text) if text.lstrip().startswith("[") else [json.loads(x) for x in text.splitlines() if x]
        return pd.DataFrame(rows)
    except StoreError as error:
        raise DataError(error.what, fix="give a history exported as JSON or JSON lines") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(
            f"cannot read {path}: {describe_json_error(error)}", fix="give a history exported as JSON or JSON lines"
        ) from None
