"""Loads records as tidy data frames, and writes them as Parquet files."""

from __future__ import annotations

import importlib.util
import math
import os
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.contract.marks import mark_of
from harness.contract.record import Record
from harness.contract.run import Clock, Point
from harness.errors import BenchError, DataError
from harness.report.marks import mark_lines
from harness.scoring.marked import MarkFilter
from harness.storage import records
from harness.storage.marks import index_marks

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

#: Columns with one value per evaluation -> function that returns the values of a run's points.
POINT_COLUMNS: dict[str, Callable[[Sequence[Point], Clock], Sequence[float | None]]] = {
    "point": lambda points, _: range(len(points)),
    "steps": lambda points, _: [point.steps for point in points],
    "examples": lambda points, _: [point.examples for point in points],
    "gradient_examples": lambda points, _: [point.gradient_examples for point in points],
    "seconds": lambda points, _: [point.seconds for point in points],
    "process_seconds": lambda points, _: [point.process_seconds for point in points],
    "scored_seconds": lambda points, clock: [point.scored(clock) for point in points],
    "lr": lambda points, _: [point.lr for point in points],
    "stage": lambda points, _: [point.stage for point in points],
    "evaluated_examples": lambda points, _: [point.evaluated_examples for point in points],
    "se": lambda points, _: [point.se for point in points],
}
_INTEGER_COLUMNS = frozenset({"point", "steps", "examples", "gradient_examples", "stage", "evaluated_examples"})
#: Columns of every frame, before the columns of hyperparameters and metrics.
COLUMNS = (
    *("run_id", "submission", "version", "workload", "workload_version", "hardware", "ruleset", "purpose"),
    *("study", "trial", "root_seed", "status", "hit", "doubt", *POINT_COLUMNS),
)


def load_results(*folders: str | os.PathLike[str]) -> pd.DataFrame:
    """Load records as a tidy data frame with one row for each evaluation of each run.

    A run without an evaluation has one row. The columns are:

    - `run_id`, `submission`, `version`, `workload`, `workload_version`, `hardware`, `ruleset`, `purpose`, `study`,
      `trial`, `root_seed`: the fields that identify the run.
    - `status`: final status of the run.
    - `hit`: whether the run met its targets at any evaluation.
    - `doubt`: why somebody doubts the record; empty for most records.
    - `point`: index of the evaluation in the run, from 0; NaN for a run without an evaluation.
    - `steps`: number of updates until the evaluation.
    - `examples`: number of examples drawn until the evaluation.
    - `gradient_examples`: number of examples × backward passes until the evaluation.
    - `seconds`, `process_seconds`: wall seconds and process seconds until the evaluation.
    - `scored_seconds`: the seconds that are scored: process seconds on a CPU, otherwise wall seconds.
    - `lr`: learning rate.
    - `stage`: index of the stage of a stream.
    - `evaluated_examples`, `se`: number of examples that a screened evaluation used, and the standard error of its
      primary metric; NaN or None for an evaluation of the whole split.
    - `hparam.<name>`: hyperparameters of the run.
    - `metric.<name>`: metrics of the evaluation.

    Withdrawn records are left out. `frame.attrs["left_out"]` contains one line for each withdrawn record, and one line
    for each file that is not a valid record.

    Args:
        folders: folders with records, which are searched recursively. By default, the folders `runs` and `results` in
            the current folder are read if they exist.

    Raises:
        DataError: a folder does not exist.

    >>> import harness, tempfile
    >>> len(harness.load_results(tempfile.mkdtemp()))
    0
    """
    paths = [Path(folder) for folder in folders] or [p for p in (Path("runs"), Path("results")) if p.is_dir()]
    for folder in paths:
        if not folder.is_dir():
            raise DataError(
                f"{folder} is not a folder", fix="give a folder of records; `bench run` writes records to `runs`"
            )
    problems: list[str] = []
    table = _Table()
    mark_filter = MarkFilter(index_marks(paths, problems))
    for record in mark_filter.without_withdrawn(records.iter_records(paths, problems)):
        mark = mark_of(record, mark_filter.marks)
        table.add(record, doubt=mark.why if mark else "")
    frame = table.frame()
    withdrawn = [item for item in mark_filter.marked if item.mark.event == "withdrawn"]
    frame.attrs["left_out"] = [*mark_lines(withdrawn), *problems]
    return frame


class _Numbers:
    """A column of numbers, stored in 8 bytes each until the frame is made.

    Args:
        rows: number of rows before the first number.
        integers: whether the numbers are integers.
    """

    def __init__(self, rows: int = 0, *, integers: bool = False) -> None:
        self._values = array("q" if integers else "d")
        self._missing: list[int] = []
        self.extend([None] * rows)

    def extend(self, numbers: Sequence[float | None]) -> None:
        """Append numbers. None is a missing number."""
        if None not in numbers:
            self._values.extend(numbers)  # type: ignore[arg-type]
            return
        start = len(self._values)
        self._missing += [start + i for i, number in enumerate(numbers) if number is None]
        self._values.extend([0 if number is None else number for number in numbers])  # type: ignore[misc]

    def column(self) -> NDArray[Any]:
        """Return the column with NaN for missing numbers. If all numbers are missing, every value is None."""
        import numpy as np

        values = np.frombuffer(self._values, dtype=np.int64 if self._values.typecode == "q" else np.float64)
        if not self._missing:
            return values.copy()
        if len(self._missing) == len(values):
            return np.full(len(values), None, dtype=object)
        values = values.astype(np.float64)
        values[self._missing] = np.nan
        return values


class _Table:
    """The columns of a frame, filled record by record. Rows as dictionaries would need several times the memory."""

    def __init__(self) -> None:
        self._ends: list[int] = []  # number of rows of the frame after each record
        self._fields: dict[str, list[object]] = {}
        self._numbers = {name: _Numbers(integers=name in _INTEGER_COLUMNS) for name in POINT_COLUMNS}
        # The names of the columns after COLUMNS, in the order of their first appearance.
        self._names: dict[str, None] = {}

    def add(self, record: Record, doubt: str = "") -> None:
        """Append one row for each evaluation of a run, or one row if the run has no evaluation."""
        points = record.points
        start = self._ends[-1] if self._ends else 0
        self._add_fields({**_run_fields(record), "doubt": doubt}, points)
        self._ends.append(start + max(1, len(points)))
        for name, column in self._numbers.items():
            if name in POINT_COLUMNS:
                column.extend(POINT_COLUMNS[name](points, record.spec.clock) if points else [None])
            else:
                metric = name.removeprefix("metric.")
                column.extend([point.metrics.get(metric) for point in points] if points else [None])

    def _add_fields(self, fields: dict[str, object], points: Sequence[Point]) -> None:
        rows = self._ends[-1] if self._ends else 0
        metrics = [[f"metric.{name}" for name in point.metrics] for point in points]
        names = [*(metrics[0] if metrics else ()), *(name for name in fields if name not in COLUMNS)]
        self._names |= dict.fromkeys([*names, *(name for later in metrics[1:] for name in later)])
        for name in self._names:
            if name.startswith("metric.") and name not in self._numbers:
                self._numbers[name] = _Numbers(rows)
        for name in fields:
            if name not in self._fields:
                self._fields[name] = [math.nan] * len(self._ends)
        for name, values in self._fields.items():
            values.append(fields.get(name, math.nan))

    def frame(self) -> pd.DataFrame:
        """Return the columns as a frame. The table is empty afterwards."""
        import numpy as np
        import pandas as pd

        if not self._ends:
            return pd.DataFrame(columns=list(COLUMNS))
        repeats = np.diff(np.asarray(self._ends, dtype=np.int64), prepend=0)
        columns: dict[str, Any] = {}
        for name in (*COLUMNS, *self._names):
            if name in self._fields:
                columns[name] = pd.Series(self._fields.pop(name)).array.repeat(repeats)
            else:
                columns[name] = self._numbers.pop(name).column()
        return pd.DataFrame(columns, copy=False)


def _run_fields(record: Record) -> dict[str, object]:
    """Return the fields of a run, which are equal in all of its rows."""
    spec, facts = record.spec, record.spec.workload.facts
    return {
        "run_id": record.run_id,
        "submission": spec.submission.name,
        "version": spec.submission.version,
        "workload": facts.name,
        "workload_version": facts.version,
        "hardware": spec.hardware,
        "ruleset": spec.ruleset.id,
        "purpose": spec.purpose,
        "study": spec.study,
        "trial": spec.trial,
        "root_seed": spec.root_seed,
        "status": record.status,
        "hit": record.hit is not None,
        **{f"hparam.{name}": value for name, value in spec.hparams.items()},
    }


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
