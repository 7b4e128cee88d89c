"""Read the published power of workloads: how many pairs of submissions one core-hour of runs can tell apart.

The file `power.json` in the top-level package of a workload's code contains the power.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.contract.entries import WorkloadEntry
from harness.contract.power import PowerFile, PowerRow
from harness.errors import DamagedError, StoreError
from harness.plugins.locating import locate_top, split_file_name
from harness.system.files import read_struct

FILE = "power.json"


def published_power(entries: Iterable[WorkloadEntry]) -> tuple[PowerRow, ...]:
    """Return the published rows of workloads, in the order of the workloads.

    The row for a workload's gate budget comes before the row for its full budget. Rows of earlier versions of a
    workload are left out. No package is imported.

    Raises:
        StoreError: a file is damaged.
    """
    rows: list[PowerRow] = []
    files: dict[str, tuple[PowerRow, ...]] = {}
    for entry in entries:
        if split_file_name(entry.load) is not None:
            continue
        top = entry.load.partition(":")[0].partition(".")[0]
        if top not in files:
            files[top] = _read_rows(top)
        own = [row for row in files[top] if row.workload == entry.facts.id]
        rows += sorted(own, key=lambda row: row.budget_name != "gate")
    return tuple(rows)


def _read_rows(top: str) -> tuple[PowerRow, ...]:
    folders, _ = locate_top(top)
    for folder in folders:
        path = Path(folder, FILE)
        if path.is_file():
            try:
                return read_struct(path, PowerFile).rows
            except DamagedError as error:
                raise StoreError(f"the published power {error.what}", fix=f"reinstall the package {top}") from None
    return ()
