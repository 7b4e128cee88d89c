"""Projects rankings of `fixed-budget` to hardware classes on which costs were measured.

A compute multiplier does not depend on the hardware. If the costs of the submissions were measured on a hardware class
(see `relative_costs.ProjectedCosts`), their time multipliers on this hardware class can be computed from runs that were
made elsewhere. A projected ranking is another table than the measured one, which it never changes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from harness.contract.envelope import ReferenceEnvelope
from harness.contract.record import Record, is_finished
from harness.contract.workload import Access
from harness.scoring.relative_costs import CostPairs, ProjectedCosts

#: Hardware class, ruleset and kind of access of a table.
TableKey: TypeAlias = tuple[str, str, Access]
#: Hardware class -> submission -> records of one workload.
_ByHardware: TypeAlias = Mapping[str, Mapping[str, Sequence[Record]]]


class BoardTable(NamedTuple):
    """The records of one hardware class, ruleset and kind of access.

    Args:
        key: the hardware class, the ruleset and the kind of access.
        records: the scored runs and tuning trials.
        projected: `name@version` of a projected workload -> its costs; empty for a measured ranking.
        torch: the versions of torch of the runs of `bench cost`.
    """

    key: TableKey
    records: Sequence[Record]
    projected: Mapping[str, ProjectedCosts]
    torch: frozenset[str] = frozenset()


def project_tables(
    by_table: Mapping[TableKey, Sequence[Record]],
    envelopes: Mapping[str, ReferenceEnvelope],
    pairs: CostPairs,
) -> list[BoardTable]:
    """Return a table for each hardware class, ruleset and kind of access with a projected workload.

    Workloads on which the reference has scored runs on the hardware class are not projected. Their runs are part of the
    table, so that it covers as many workloads as possible. Submissions without any cost are left out.

    Args:
        by_table: the scored runs and tuning trials of each measured table.
        envelopes: `name@version` of a workload -> envelope of the workload's reference.
        pairs: the runs of `bench cost`.
    """
    by_workload: dict[tuple[str, Access], dict[str, dict[str, dict[str, list[Record]]]]] = {}
    for (hardware, ruleset, access), records in by_table.items():
        workloads = by_workload.setdefault((ruleset, access), {})
        for record in records:
            by_hardware = workloads.setdefault(record.spec.workload.facts.id, {})
            by_hardware.setdefault(hardware, {}).setdefault(record.spec.submission.id, []).append(record)
    tables = []
    for hardware, ((ruleset, access), workloads) in itertools.product(
        sorted(pairs.hardware), sorted(by_workload.items())
    ):
        table: list[Record] = []
        projected: dict[str, ProjectedCosts] = {}
        for workload in sorted(workloads.keys() & envelopes.keys()):
            records, costs = _project(workloads[workload], hardware, workload, envelopes[workload].reference, pairs)
            table += records
            projected |= {} if costs is None else {workload: costs}
        with_costs = {name for costs in projected.values() for name in (*costs.submissions, costs.reference)}
        table = [record for record in table if record.spec.submission.id in with_costs]
        if projected:
            torch = pairs.torch.get(hardware, frozenset())
            tables.append(BoardTable((hardware, ruleset, access), table, projected, torch))
    return tables


def _project(
    by_hardware: _ByHardware, hardware: str, workload: str, reference: str, pairs: CostPairs
) -> tuple[list[Record], ProjectedCosts | None]:
    """Return the records of a workload for a projected table, and their costs.

    The costs are None if the workload was measured on the hardware class. There are no records if it can be neither
    measured nor projected. Runs of several hardware classes can be projected: those of the class with scored runs of
    the most submissions with costs, and for other submissions those of the table's own hardware class.
    """
    here = by_hardware.get(hardware, {})
    if _scored(here.get(reference, ())):
        return [record for records in here.values() for record in records], None
    best: tuple[int, list[Record], ProjectedCosts] | None = None
    for _, by_submission in sorted(by_hardware.items()):
        reference_runs = _scored(by_submission.get(reference, ()))
        if not reference_runs:
            continue
        costs = pairs.relative_to(hardware, workload, reference_runs)
        projected = {name for name, records in by_submission.items() if _scored(records)} & costs.submissions
        names_here = {name for name in costs.submissions - projected if _scored(here.get(name, ()))}
        if projected | names_here and (best is None or len(projected) > best[0]):
            names = sorted(by_submission.keys() - names_here)
            records = [record for name in names for record in by_submission[name]]
            records += [record for name in sorted(names_here) for record in here[name]]
            best = len(projected), records, costs
    return ([], None) if best is None else best[1:]


def _scored(records: Sequence[Record]) -> list[Record]:
    """Return the finished scored runs."""
    return [record for record in records if record.spec.purpose == "score" and is_finished(record.status)]
