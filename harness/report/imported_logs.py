"""Loads logs of other tools as data frames with the columns of `load_results`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import DataError
from harness.report import log_files
from harness.report.dataframes import COLUMNS
from harness.report.log_files import LogTable, NotANumberError

if TYPE_CHECKING:
    import pandas as pd

_Number = TypeVar("_Number", int, float)
_CELL_FIX = "write a plain number, such as loss.item(), or leave the cell empty"


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

    Every line has as many fields as the header. A cell of the metric is a number, `NaN`, `Infinity` or empty. An empty
    cell becomes NaN.

    Args:
        path: path of the file.
        metric: name of the column with the metric.
        submission: name of the submission in the frame.
        workload: name of the workload in the frame.
        study: index of the study in the frame.
        step: name of the column with the steps.
        seconds: name of the column with the times in seconds.

    Raises:
        DataError: the file cannot be read or lacks a column, a line does not fit the header, or a cell is wrong. The
            message names the cell. Steps must be whole numbers below 2**63, and times must be finite numbers. Both must
            begin at 0 or more and never decrease.
    """
    table = log_files.read_csv(Path(path))
    missing = [name for name in (step, metric, seconds) if name not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}", fix=f"choose from: {', '.join(table.columns)}")
    return _to_frame(table, range(len(table.rows)), [metric], step, seconds, (submission, workload, study))


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
    include the time of evaluations, so they must not be used as scores. The texts `NaN` and `Infinity` are the values
    of a run that diverged. Rows in which all metrics are empty are left out. `frame.attrs["left_out"]` contains one
    line for each column without a number.

    Args:
        path: path of the file.
        submission: name of the submission in the frame.
        workload: name of the workload in the frame.
        metrics: names of the metric columns; None for all columns that contain a number, except those whose name begins
            with `_`.
        study: index of the study in the frame.

    Raises:
        DataError: the file cannot be read, is not a run history, lacks one of `metrics`, or has no column with a
            number. The error is also raised for the cells that `import_csv` refuses.
    """
    path = Path(path)
    table = log_files.read_csv(path) if path.suffix.lower() == ".csv" else log_files.read_json(path)
    missing = [name for name in ("_step", "_runtime") if name not in table.columns]
    if missing:
        is_chart = "Step" in table.columns
        fix = "export the run's history from W&B" + (" instead of a chart" if is_chart else "")
        raise DataError(f"{path} has no column {', '.join(missing)}", fix=fix)
    candidates = [name for name in table.columns if not name.startswith("_")]
    numeric = [name for name in candidates if any(log_files.holds_number(row.get(name)) for row in table.rows)]
    names = list(metrics) if metrics is not None else numeric
    if not numeric:
        raise DataError(f"{path} has no numeric column for a metric", fix="export a history with a logged metric")
    if not names:
        raise DataError(f"no metric of {path} was selected", fix=f"name at least one of: {', '.join(numeric)}")
    unknown = [name for name in names if name not in numeric]
    if unknown:
        raise DataError(f"{path} has no metric {', '.join(unknown)}", fix=f"choose from: {', '.join(numeric)}")
    logged = [i for i, row in enumerate(table.rows) if not all(log_files.is_empty(row.get(name)) for name in names)]
    frame = _to_frame(table, logged, names, "_step", "_runtime", (submission, workload, study))
    frame.attrs["left_out"] = [f"the column {name} has no number" for name in candidates if name not in numeric]
    return frame


def _to_frame(
    table: LogTable,
    rows: Sequence[int],
    metrics: Sequence[str],
    step: str,
    seconds: str,
    run_labels: tuple[str, str, int],
) -> pd.DataFrame:
    """Make a frame with the columns of `load_results`.

    Args:
        table: content of the file.
        rows: indices of the rows that the frame contains.
        metrics: names of the metric columns.
        step: name of the column with the steps.
        seconds: name of the column with the times in seconds.
        run_labels: submission, workload and study.
    """
    import pandas as pd

    steps = [_convert(table, row, step, log_files.to_integer) for row in rows]
    times = [_convert(table, row, seconds, log_files.to_float) for row in rows]
    _check_order(table, rows, step, steps)
    _check_order(table, rows, seconds, times)
    submission, workload, study = run_labels
    values: dict[str, Any] = {
        "run_id": f"import-{submission}-{workload}-{study}",
        "submission": submission,
        "workload": workload,
        "study": study,
        "status": "imported",
        "point": range(len(rows)),
        "steps": pd.array(steps, dtype="int64").to_numpy(),
        "seconds": times,
        "scored_seconds": times,
        **{f"metric.{m}": [_convert(table, row, m, log_files.to_float) for row in rows] for m in metrics},
    }
    run = pd.DataFrame(values)
    return run.reindex(columns=[*COLUMNS, *(c for c in run.columns if c not in COLUMNS)])


def _convert(table: LogTable, row: int, column: str, conversion: Callable[[object], _Number]) -> _Number:
    try:
        return conversion(table.rows[row].get(column))
    except NotANumberError as error:
        raise table.cell_error(row, column, str(error), _CELL_FIX) from None


def _check_order(table: LogTable, rows: Sequence[int], column: str, values: Sequence[float]) -> None:
    """Raise an error if a value is not finite, is negative, or is smaller than the previous value."""
    previous: float = 0
    for row, value in zip(rows, values, strict=True):
        if not math.isfinite(value) or value < previous:
            fix = f"correct the column {column}: its values must be finite numbers of at least 0 that never decrease"
            raise table.cell_error(row, column, f"is not a finite number of at least {previous!r}", fix)
        previous = value
