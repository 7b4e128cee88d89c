"""Adds the results of other hardware classes to the tables of `fixed-budget`.

A compute multiplier does not depend on the hardware. A table can therefore contain a workload on which no run was made
on its hardware class, if the costs of the submissions were measured there (see `relative_costs.ProjectedCosts`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from harness.contract.envelope import ReferenceEnvelope
from harness.contract.record import Record
from harness.contract.workload import Access
from harness.scoring.relative_costs import CostPairs

#: Hardware class, ruleset and kind of access of a table.
TableKey: TypeAlias = tuple[str, str, Access]


class BoardTable(NamedTuple):
    """The records of one hardware class, ruleset and kind of access.

    Args:
        key: the hardware class, the ruleset and the kind of access.
        records: the records, those of projected workloads included.
        projected: `name@version` of a workload without runs on the hardware class -> hardware class of its runs.
        pairs: the runs of `bench cost`, from which the costs on projected workloads come.
    """

    key: TableKey
    records: Sequence[Record]
    projected: Mapping[str, str]
    pairs: CostPairs


def make_board_tables(
    by_table: Mapping[TableKey, Sequence[Record]],
    envelopes: Mapping[str, ReferenceEnvelope],
    pairs: CostPairs,
) -> list[BoardTable]:
    """Return the tables, each with the records of the workloads that can be projected to its hardware class.

    These are the workloads without a scored run on this hardware class, on which the costs of the reference and of
    another submission were measured. If the runs of a workload were made on several hardware classes, those of the
    class with the most runs are projected.

    Args:
        by_table: the scored runs and tuning trials of each table.
        envelopes: `name@version` of a workload -> envelope of the workload's reference.
        pairs: the runs of `bench cost`.
    """
    sources: dict[tuple[str, Access, str], dict[str, list[Record]]] = defaultdict(dict)
    for (hardware, ruleset, access), records in by_table.items():
        for record in records:
            workload = record.spec.workload.facts.id
            sources[ruleset, access, workload].setdefault(hardware, []).append(record)
    keys = {
        *by_table,
        *((hardware, ruleset, access) for hardware in pairs.hardware for ruleset, access, _ in sources),
    }
    tables = []
    for key in sorted(keys):
        hardware, ruleset, access = key
        records, projected = list(by_table.get(key, ())), {}
        for (source_ruleset, source_access, workload), by_hardware in sorted(sources.items()):
            if (source_ruleset, source_access) != (ruleset, access) or hardware in by_hardware:
                continue
            envelope = envelopes.get(workload)
            if envelope is None or len(pairs.relative_to(hardware, workload, envelope.reference).log_ratios) < 2:
                continue
            projected[workload] = max(sorted(by_hardware), key=lambda name: len(by_hardware[name]))
            records += by_hardware[projected[workload]]
        if records:
            # A submission that neither ran here nor has a cost here would only have empty rows.
            here = {record.spec.submission.id for record in by_table.get(key, ())} | pairs.submissions(hardware)
            records = [record for record in records if record.spec.submission.id in here]
            tables.append(BoardTable(key, records, projected, pairs))
    return tables
