"""Marks: statements about a record, made after the run. A mark states a doubt, a withdrawal or a restoration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, Protocol, TypeAlias

from harness.contract.base import Data

#: What a mark states. `doubted`: tables show the record, but with the mark. `withdrawn`: tables leave the record out.
#: `restored`: the earlier marks of the record no longer count.
MarkEvent: TypeAlias = Literal["doubted", "withdrawn", "restored"]
#: Maximum number of characters of a reason.
MAX_WHY: Final = 500


class Mark(Data, frozen=True, kw_only=True):
    """A statement about one record. If a record has several marks, only the last one counts.

    Args:
        time: time of the mark, UTC in ISO 8601.
        event: what the mark states.
        run_id: run ID of the record.
        record: content hash of the record.
        why: the reason, in one line.
    """

    time: str
    event: MarkEvent
    run_id: str
    record: str
    why: str

    @property
    def key(self) -> tuple[str, str]:
        """The identity of the record: its run ID and its content hash."""
        return self.run_id, self.record


#: The marks that count, by run ID and content hash of their record.
Marks: TypeAlias = Mapping[tuple[str, str], Mark]


class Markable(Protocol):
    """A record, or a summary of a record."""

    @property
    def run_id(self) -> str: ...
    @property
    def content_hash(self) -> str: ...


def mark_of(record: Markable, marks: Marks) -> Mark | None:
    """Return the mark that counts for a record; None if the record has no mark."""
    return marks.get((record.run_id, record.content_hash))
