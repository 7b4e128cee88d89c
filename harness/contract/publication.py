"""The publication file, which stands beside published records and states how they were published."""

from __future__ import annotations

from typing import Final

from harness.contract.base import Data

PUBLICATION_SCHEMA: Final = 1


class Publication(Data, frozen=True, kw_only=True):
    """What was published into one folder by one command.

    Args:
        schema: version of this format.
        date: time of the command, UTC in ISO 8601.
        version: version of algorace.
        submission: `name@version`.
        source_hash: hash of the submission's source.
        workload: `name@version`.
        ruleset: `name@version`.
        hardware: hardware class.
        records: content hash of each record, by run ID.
        attempts: number of runs of the trials that were run more than once, by run ID.
        unpublished: run IDs of other runs of the same source on this workload in the ledger of the runs folder.
        other_sources: number of other sources of the submission that were run on this workload.
        ledger_entries: number of entries of the ledger; 0 without a ledger.
        ledger_hash: SHA-256 of the last line of the ledger, in hex. A ledger that is rewritten later has another hash.
        unchecked: number of records on which a check could not be made, by name of the check.
    """

    schema: int = PUBLICATION_SCHEMA
    date: str
    version: str
    submission: str
    source_hash: str
    workload: str
    ruleset: str
    hardware: str
    records: dict[str, str]
    attempts: dict[str, int] = {}
    unpublished: tuple[str, ...] = ()
    other_sources: int = 0
    ledger_entries: int = 0
    ledger_hash: str = ""
    unchecked: dict[str, int] = {}
