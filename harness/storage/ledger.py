"""The ledger of a runs folder: a file that lists every attempt to run a trial.

`ledger.jsonl` has one entry per line. An entry is appended before and after every attempt. Every entry contains the
SHA-256 of the line before it, so a line cannot be changed or removed without changing all lines after it. To detect a
rewrite of the whole ledger, compare it with an earlier copy, or with the published hash of an earlier last line.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from harness.contract.base import Data
from harness.contract.record import Status
from harness.contract.run import Nonce
from harness.errors import DamagedError
from harness.system.files import decode_json, read_file, write_error
from harness.system.locks import wait_for_lock

#: Name of the ledger in the runs folder.
LEDGER: Final = "ledger.jsonl"
#: The value of `previous` in the first entry.
ORIGIN: Final = "0" * 64
#: Maximum size of a ledger in bytes: about a million attempts.
_MAX_BYTES = 1 << 30
#: Seconds to wait for the lock. Appending takes milliseconds, so a lock is held this long only by a stopped process.
_LOCK_TIMEOUT_S = 60.0
_RESTORE = "restore it, or use another runs folder"
#: The kinds of events in a ledger. A nonce is a random number from which seeds are derived.
#: `committed`: the source hashes of submissions were noted, before a nonce was requested.
#: `nonce`: a nonce was obtained.
#: `started`, `resumed`, `finished`: an attempt to run a trial started, resumed from a checkpoint, or finished.
#: `damaged`: the record of the attempt could not be read when its command was repeated. The trial runs again.
LedgerEvent = Literal["committed", "nonce", "started", "resumed", "finished", "damaged"]


class LedgerEntry(Data, frozen=True, kw_only=True, omit_defaults=True):
    """An entry of a ledger.

    Args:
        previous: SHA-256 of the line before this entry, in hex; `ORIGIN` in the first entry.
        time: time of the entry, UTC in ISO 8601.
        event: what happened.
        sources: source hash of each submission, by `name@version`. Only entries with the events `committed` and
            `nonce` have this field.
        nonce: the nonce. Only entries with the event `nonce` have this field.
        run_id: the trial. Only entries with the events `started`, `resumed`, `finished` and `damaged` have the fields
            from here to `attempt`.
        submission: `name@version` of the submission.
        source_hash: source hash of the submission.
        workload: `name@version` of the workload.
        purpose: purpose of the trial.
        seeds_from: value of the trial's nonce; empty if the seeds are derived from the root seed.
        attempt: number of the attempt of this trial, from 1.
        status: status of the record. Only entries with the event `finished` have this field and the next one.
        record: content hash of the record.
    """

    previous: str
    time: str
    event: LedgerEvent
    sources: dict[str, str] = msgspec.field(default_factory=dict)
    nonce: Nonce | None = None
    run_id: str = ""
    submission: str = ""
    source_hash: str = ""
    workload: str = ""
    purpose: str = ""
    seeds_from: str = ""
    attempt: int = 0
    status: Status | None = None
    record: str = ""


class AttemptLedger:
    """A ledger to which entries can be appended. Several processes may append to the same ledger.

    Each call of `append` reads only the lines that were added since the last call.

    Args:
        runs: the runs folder. It is created by the first entry.
    """

    def __init__(self, runs: Path) -> None:
        self.path = runs / LEDGER
        self._offset = 0
        self._last = ORIGIN
        self._attempts: dict[str, int] = {}

    def append(self, entry: LedgerEntry) -> LedgerEntry:
        """Append an entry. Return it as it was written, with `previous`, `time` and `attempt`.

        Raises:
            StoreError: the ledger cannot be written, or another process holds its lock.
            DamagedError: an earlier line is damaged or was changed.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path):
                return self._append_locked(entry)
        except OSError as error:
            raise write_error(self.path, error) from None

    def _append_locked(self, entry: LedgerEntry) -> LedgerEntry:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._read_new_lines(descriptor)
            attempt = self._attempts.get(entry.run_id, 0) + (entry.event == "started")
            entry = msgspec.structs.replace(
                entry,
                previous=self._last,
                time=datetime.now(UTC).isoformat(timespec="seconds"),
                attempt=attempt if entry.run_id else 0,
            )
            line = msgspec.json.encode(entry, order="deterministic") + b"\n"
            if os.pwrite(descriptor, line, self._offset) < len(line):
                os.ftruncate(descriptor, self._offset)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
            self._note(entry, line)
        finally:
            os.close(descriptor)
        return entry

    def find_nonce(self, sources: dict[str, str], origin: str) -> Nonce | None:
        """Return the newest nonce that was requested after all of these sources were committed, or None.

        Args:
            sources: source hash of each submission, by `name@version`.
            origin: where the nonce comes from; the nonce's field `source`.
        """
        entries = read_ledger(self.path) if self.path.exists() else []
        for entry in reversed(entries):
            if entry.nonce is not None and entry.nonce.source == origin and sources.items() <= entry.sources.items():
                return entry.nonce
        return None

    def _read_new_lines(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        if size < self._offset:
            raise DamagedError(f"{self.path} has become shorter", fix=_RESTORE)
        if size > _MAX_BYTES:
            raise DamagedError(f"{self.path} has more than {_MAX_BYTES:,} bytes, the limit for a ledger", fix=_RESTORE)
        content = os.pread(descriptor, size - self._offset, self._offset)
        complete = content.rfind(b"\n") + 1
        if complete < len(content):
            # The process that wrote this line was killed, so the entry was never complete.
            os.ftruncate(descriptor, self._offset + complete)
        for line in content[:complete].splitlines(keepends=True):
            self._note(_decode_line(line, self._last, self.path), line)

    def _note(self, entry: LedgerEntry, line: bytes) -> None:
        """Remember where a line ends, its hash, and the attempts of its trial."""
        self._offset += len(line)
        self._last = line_hash(line)
        if entry.run_id:
            self._attempts[entry.run_id] = max(entry.attempt, self._attempts.get(entry.run_id, 0))


def read_ledger(path: Path) -> list[LedgerEntry]:
    """Return the entries of a ledger, after comparing each entry's `previous` with the line before it.

    A last line without a line break is ignored, because it is incomplete: the process that wrote it was killed.

    Raises:
        StoreError: the file cannot be read.
        DamagedError: a line is damaged, was changed, or does not follow the line before it.
    """
    entries, last = [], ORIGIN
    for line in read_file(path, limit=_MAX_BYTES).splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        entries.append(_decode_line(line, last, path))
        last = line_hash(line)
    return entries


def _decode_line(line: bytes, last: str, path: Path) -> LedgerEntry:
    entry = decode_json(line, f"an entry of {path}", LedgerEntry, fix=_RESTORE)
    if entry.previous != last:
        problem = f"{path} was changed: the entry of {entry.time} does not follow the one before it"
        raise DamagedError(problem, fix=_RESTORE)
    return entry


def line_hash(line: bytes) -> str:
    """Return the SHA-256 of a line without its line break, in hex."""
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()


def find_ledger(folder: Path) -> Path | None:
    """Return the path of the ledger in a runs folder; None if there is none. `folder` may also be one run's folder."""
    for candidate in (folder / LEDGER, folder.parent / LEDGER):
        with contextlib.suppress(OSError):
            if candidate.is_file():
                return candidate
    return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock a ledger.

    On some file systems, locks do not exclude other machines. Simultaneous writes of two machines can damage the
    ledger.
    """
    descriptor = wait_for_lock(path, _LOCK_TIMEOUT_S)
    try:
        yield
    finally:
        os.close(descriptor)
