"""Tables of `fixed-stop` claims, `anytime` scores and multipliers, as plain data. These results are not times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol, TypeAlias, TypeVar

from harness.contract.attestation import Attestation
from harness.contract.envelope import ReferenceEnvelope
from harness.contract.workload import WorkloadFacts
from harness.scoring.headline import Headline
from harness.scoring.ties import PairVerdict

#: A cell: text, or a number that is formatted by its column's format. None and nan are printed as a dash.
Cell: TypeAlias = str | int | float | None

#: Name of the format with three significant digits, for numbers of any size.
NUMBER = "number"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultTable:
    """A table of results.

    Args:
        title: one line with the workload, hardware class, ruleset and the content of the table.
        heading: column headings.
        formats: format of each column: a number format (`.3f`, `NUMBER`), `>` for right-aligned text, or an empty
            string for left-aligned text.
        rows: rows of cells, one cell for each column.
        data: the results as plain data, one mapping for each row.
        headline: who leads, by how much, and who is tied; None for a table that is not a ranking.
        verdicts: the verdicts on the pairs of submissions; empty for a table that is not a ranking.
        scope: hardware class, ruleset and kind of access of a ranking, as plain data.
        notes: explanations, which are printed below the table.
    """

    title: str
    heading: tuple[str, ...]
    formats: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    data: tuple[dict[str, Any], ...]
    headline: Headline | None = None
    verdicts: tuple[PairVerdict, ...] = ()
    scope: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableContext:
    """What the tables of a ruleset need besides records.

    Args:
        envelopes: `name@version` of a workload -> envelope of its reference.
        installed: facts of the installed workloads, by which a table finds the workloads that it lacks.
        attestations: content hash of a record -> attestations of this record.
    """

    envelopes: Mapping[str, ReferenceEnvelope]
    installed: Sequence[WorkloadFacts]
    attestations: Mapping[str, Sequence[Attestation]]


class _TableRow(Protocol):
    """A row with the three fields that determine its table."""

    @property
    def hardware(self) -> str: ...
    @property
    def ruleset(self) -> str: ...
    @property
    def workload(self) -> str: ...


RowT = TypeVar("RowT", bound=_TableRow)


def split_into_tables(rows: Iterable[RowT]) -> list[list[RowT]]:
    """Split sorted rows into one list for each hardware class, ruleset and workload."""
    return [list(group) for _, group in groupby(rows, key=lambda row: (row.hardware, row.ruleset, row.workload))]
