"""Check that the ledger of a runs folder is undamaged, and that every attempt in it has a record."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import msgspec

from harness.contract.record import Record
from harness.errors import StoreError
from harness.storage.layout import RECORD, SUPERSEDED
from harness.storage.ledger import LedgerEntry, find_ledger, read_ledger
from harness.storage.run_folder import RunFolder
from harness.system.beacon import CHAINS
from harness.system.files import JSON_ERRORS, read_file
from harness.verification.findings import Finding, make_finding


class _Hash(msgspec.Struct):
    """The only field that is read from the records beside the ledger."""

    content_hash: str = ""


@dataclass(frozen=True)
class _FolderLedger:
    """The ledger of one runs folder."""

    path: Path

    @cached_property
    def entries(self) -> list[LedgerEntry]:
        return read_ledger(self.path)

    @cached_property
    def problem(self) -> str:
        """Why the ledger cannot be read; empty if it is undamaged."""
        try:
            self.entries  # noqa: B018
        except StoreError as error:
            return str(error)
        return ""

    @cached_property
    def finished(self) -> dict[str, list[LedgerEntry]]:
        """The entries of the attempts that have ended, by run ID."""
        by_run: dict[str, list[LedgerEntry]] = {}
        for entry in self.entries:
            if entry.event == "finished":
                by_run.setdefault(entry.run_id, []).append(entry)
        return by_run

    @cached_property
    def missing(self) -> Counter[tuple[str, str, str]]:
        """The number of attempts whose record is not in the runs folder, by source, workload and purpose.

        Attempts that ended as `interrupted` are not counted. An attempt without an end in the ledger is counted if its
        run has no record and is not running now.
        """
        runs = self.path.parent
        present = _stored_hashes(runs)
        unfinished = {
            entry.run_id: entry
            for entry in self.entries
            if entry.event == "started" and entry.run_id not in self.finished
        }
        finished = [entry for entries in self.finished.values() for entry in entries]
        missing = [
            *(entry for entry in finished if entry.status != "interrupted" and entry.record not in present),
            *(entry for run_id, entry in unfinished.items() if _is_missing(RunFolder(runs, run_id))),
        ]
        return Counter((entry.source_hash, entry.workload, entry.purpose) for entry in missing)


class AttemptChecker:
    """Checks records against the ledger of their runs folder. Every ledger is read once."""

    def __init__(self) -> None:
        self._folders: dict[Path, _FolderLedger] = {}

    def check(self, record: Record, path: Path) -> Finding:
        """Return the finding about the attempts of a record.

        Args:
            record: the record.
            path: path of the record's file.
        """
        ledger = find_ledger(path.parent)
        if ledger is None:
            return make_finding("ledger", [], "no ledger is beside the record")
        folder = self._folders.setdefault(ledger, _FolderLedger(ledger))
        if folder.problem:
            return make_finding("ledger", [folder.problem])
        attempts = folder.finished.get(record.run_id, [])
        if not attempts and record.status == "interrupted":
            return make_finding("ledger", [], "the run has not ended")
        return make_finding("ledger", _list_problems(record, folder, attempts))


def _list_problems(record: Record, folder: _FolderLedger, attempts: list[LedgerEntry]) -> list[str]:
    spec = record.spec
    problems = []
    if not attempts:
        problems.append("the ledger does not contain this run")
    elif record.content_hash not in {entry.record for entry in attempts}:
        problems.append(f"the ledger contains {len(attempts)} attempt(s) of this trial, with other records")
    missing = folder.missing[spec.submission.source_hash, spec.workload.facts.id, spec.purpose]
    if missing:
        problems.append(f"the records of {missing} further attempt(s) on this workload are missing")
    if spec.nonce is not None and spec.nonce.source != "given":
        problems += _list_nonce_problems(record, folder.entries)
    return problems


def _list_nonce_problems(record: Record, entries: list[LedgerEntry]) -> list[str]:
    """Return a problem if these events did not happen in this order.

    1. The source was committed.
    2. The nonce was requested.
    3. The run started.
    """
    submission, nonce = record.spec.submission, record.spec.nonce
    committed = ""
    for entry in entries:
        if entry.event == "committed" and entry.sources.get(submission.id) == submission.source_hash:
            committed = committed or entry.time
        if entry.event == "nonce" and entry.nonce == nonce:
            if not committed:
                return ["the nonce was requested before the source was committed"]
            return _list_order_problems(record, committed)
        if entry.run_id == record.run_id:
            break
    return ["the ledger does not contain the request of the nonce before the run"]


def _list_order_problems(record: Record, committed: str) -> list[str]:
    nonce = record.spec.nonce
    if nonce is None or nonce.source != "beacon" or nonce.chain not in CHAINS:
        return []
    published = CHAINS[nonce.chain].time_of(nonce.round)
    return (
        []
        if datetime.fromisoformat(committed).timestamp() <= published
        else ["the beacon's round is older than the commitment"]
    )


def _is_missing(folder: RunFolder) -> bool:
    """Return whether a run has no record although it is not running."""
    try:
        return not folder.record_path.exists() and folder.lock_holder() is None
    except (StoreError, OSError):
        return True


def _stored_hashes(runs: Path) -> set[str]:
    """Return the content hashes of all records in a runs folder, including replaced runs."""
    hashes = set()
    for folder in (runs, runs / SUPERSEDED):
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            try:
                hashes.add(msgspec.json.decode(read_file(folder / name / RECORD), type=_Hash).content_hash)
            except (StoreError, *JSON_ERRORS):
                continue
    return hashes
