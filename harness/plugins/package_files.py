"""Read the data files that a package of workloads ships: the power of its workloads, and the times of their references.

The files are in the top-level package of a workload's code. No package is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from harness.contract.entries import WorkloadEntry
from harness.contract.power import PowerFile, PowerRow
from harness.contract.reference_times import ReferenceTimes, ReferenceTimesFile
from harness.errors import DamagedError, StoreError
from harness.plugins.locating import locate_top, split_file_name
from harness.system.files import read_struct

POWER_FILE = "power.json"
REFERENCE_TIMES_FILE = "reference_times.json"
T = TypeVar("T")


def published_power(entries: Iterable[WorkloadEntry]) -> tuple[PowerRow, ...]:
    """Return the published rows of workloads, in the order of the workloads.

    The row for a workload's gate budget comes before the row for its full budget. Rows of earlier versions of a
    workload are left out.

    Raises:
        StoreError: a file is damaged.
    """
    found = _read_for(entries, POWER_FILE, PowerFile, "the published power", lambda file: file.rows)
    rows: list[PowerRow] = []
    for entry, published in found:
        own = [row for row in published if row.workload == entry.facts.id]
        rows += sorted(own, key=lambda row: row.budget_name != "gate")
    return tuple(rows)


def published_reference_times(entries: Iterable[WorkloadEntry]) -> dict[str, ReferenceTimes]:
    """Return workload id -> times of its tuned reference, for the installed versions of workloads.

    Raises:
        StoreError: a file is damaged.
    """
    what = "the times of references"
    found = _read_for(entries, REFERENCE_TIMES_FILE, ReferenceTimesFile, what, lambda file: file.workloads)
    return {
        times.workload: times for entry, published in found for times in published if times.workload == entry.facts.id
    }


def _read_for(
    entries: Iterable[WorkloadEntry], name: str, kind: type[Any], what: str, items: Callable[[Any], Sequence[T]]
) -> list[tuple[WorkloadEntry, Sequence[T]]]:
    """Return each workload of a package with the items of this package's file. Every file is read once.

    Args:
        entries: the workloads. A workload in a file of its own has no package.
        name: name of the file.
        kind: type of the file's content.
        what: what the file contains, for errors.
        items: function that returns the items of the content.
    """
    found, files = [], {}
    for entry in entries:
        if split_file_name(entry.load) is not None:
            continue
        top = entry.load.partition(":")[0].partition(".")[0]
        if top not in files:
            content = _read_file(top, name, kind, what)
            files[top] = () if content is None else items(content)
        found.append((entry, files[top]))
    return found


def _read_file(top: str, name: str, kind: type[Any], what: str) -> Any:
    """Return the content of a file in a top-level package; None if the package has no such file."""
    folders, _ = locate_top(top)
    for folder in folders:
        path = Path(folder, name)
        if path.is_file():
            try:
                return read_struct(path, kind)
            except DamagedError as error:
                raise StoreError(f"{what} {error.what}", fix=f"reinstall the package {top}") from None
    return None
