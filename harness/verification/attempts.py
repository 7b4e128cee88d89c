"""Check that the ledger of a runs folder is undamaged, and that every attempt in it has a record."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import msgspec

from harness.contract.record import Record
from harness.errors import StoreError
from harness.storage.layout import RECORD, SUPERSEDED
from harness.storage.ledger import LedgerEntry, find_ledger, read_ledger
from harness.storage.run_folder import RunFolder
from harness.system.beacon import CHAINS
from harness.system.files import JSON_ERRORS, read_file
from harness.verification.findings import Finding, make_finding

#: Source hash of a submission, `name@version` of a workload, and purpose of a trial.
_Key: TypeAlias = tuple[str, str, str]


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
    def missing(self) -> Counter[_Key]:
        """The number of attempts whose record is not in the runs folder, by source, workload and purpose.

        An attempt that was interrupted is counted if its trial did not end later and its run has no record. Otherwise
        somebody could look at the curve of a run, stop the run, and delete it. An attempt without an end in the ledger
        is counted if its run has no record and is not running now. An attempt in `replaced` is not counted.
        """
        runs = self.path.parent
        unfinished = {entry.run_id: entry for entry in self.entries if entry.event == "started"}
        without_end = [entry for identity, entry in unfinished.items() if identity not in self.finished]
        finished, interrupted, _ = self._without_record
        candidates = (*without_end, *interrupted)
        missing = [*finished, *(entry for entry in candidates if _is_missing(RunFolder(runs, entry.run_id)))]
        return Counter(map(_key, missing))

    @cached_property
    def replaced(self) -> Counter[_Key]:
        """The number of attempts whose record was damaged and replaced, by source, workload and purpose.

        The command that found the damaged record wrote the event `damaged`, and a later attempt of the trial has a
        record.
        """
        return Counter(map(_key, self._without_record[2]))

    @cached_property
    def _without_record(self) -> tuple[list[LedgerEntry], list[LedgerEntry], list[LedgerEntry]]:
        """The attempts that ended and whose record is not in the runs folder.

        There are three lists: finished attempts, the last attempts of trials that were interrupted, and attempts whose
        record was replaced.
        """
        present = _stored_hashes(self.path.parent)
        finished: list[LedgerEntry] = []
        interrupted: dict[str, LedgerEntry] = {}
        replaced: list[LedgerEntry] = []
        next_events: dict[str, str] = {}
        ended: set[str] = set()
        stored: set[str] = set()
        for entry in reversed(self.entries):
            identity = entry.run_id
            if entry.event == "finished":
                is_damaged = next_events.get(identity) == "damaged" and identity in stored
                if entry.record in present:
                    stored.add(identity)
                elif entry.status == "interrupted":
                    if identity not in ended | stored:
                        interrupted.setdefault(identity, entry)
                else:
                    (replaced if is_damaged else finished).append(entry)
                if entry.status != "interrupted":
                    ended.add(identity)
            next_events[identity] = entry.event
        return finished, list(interrupted.values()), replaced


def _key(entry: LedgerEntry) -> _Key:
    return entry.source_hash, entry.workload, entry.purpose


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
        finding = make_finding("ledger", _list_problems(record, folder, attempts))
        replaced = folder.replaced[_key_of(record)]
        if finding.outcome == "passed" and replaced:
            detail = f"{replaced} damaged record(s) on this workload were replaced by running the trials again"
            return msgspec.structs.replace(finding, detail=detail)
        return finding


def _key_of(record: Record) -> _Key:
    spec = record.spec
    return spec.submission.source_hash, spec.workload.facts.id, spec.purpose


def _list_problems(record: Record, folder: _FolderLedger, attempts: list[LedgerEntry]) -> list[str]:
    spec = record.spec
    problems = []
    if not attempts:
        problems.append("the ledger does not contain this run")
    elif record.content_hash not in {entry.record for entry in attempts}:
        problems.append(f"the ledger contains {len(attempts)} attempt(s) of this trial, with other records")
    missing = folder.missing[_key_of(record)]
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
