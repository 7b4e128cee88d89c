"""The publication file. It is beside published records and states how they were published."""

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
        source_hash: SHA-256 of the submission's source.
        workload: `name@version`.
        ruleset: `name@version`.
        hardware: hardware class.
        records: run ID -> content hash of the record.
        attempts: run ID -> number of attempts, for trials that were run more than once or whose worker was started
            again.
        unpublished: run IDs of runs with the same source and workload that were not published. They are found in the
            ledger, the file `ledger.jsonl` of the runs folder, which lists all attempts to run trials.
        other_sources: number of other sources of the submission that were run on this workload.
        ledger_entries: number of lines of the ledger; 0 without a ledger.
        ledger_hash: SHA-256 of the last line of the ledger, in hex. If the ledger is rewritten later, it has another
            hash.
        unchecked: name of a check -> number of records on which this check could not be made.
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
