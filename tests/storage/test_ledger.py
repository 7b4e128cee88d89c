"""The ledger: entries are chained, nothing can be changed in between, and a torn line is not an entry."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from harness.contract.run import Nonce
from harness.errors import DamagedError
from harness.storage.ledger import LEDGER, ORIGIN, AttemptLedger, LedgerEntry, LedgerEvent, read_ledger


def entry(event: LedgerEvent, run: str = "run-1") -> LedgerEntry:
    return LedgerEntry(previous=ORIGIN, time="", event=event, run_id=run)


def test_attempts_are_numbered_across_processes(tmp_path: Path) -> None:
    first, second = AttemptLedger(tmp_path), AttemptLedger(tmp_path)
    numbers = [
        first.append(entry("started")).attempt,
        second.append(entry("resumed")).attempt,
        second.append(entry("finished")).attempt,
        first.append(entry("started")).attempt,
        second.append(entry("started", "run-2")).attempt,
        second.append(entry("finished")).attempt,
    ]
    assert numbers == [1, 1, 1, 2, 1, 2]
    assert [line.event for line in read_ledger(tmp_path / LEDGER)][:3] == ["started", "resumed", "finished"]


@pytest.mark.parametrize("edit", ["change", "remove", "insert"])
def test_an_edited_chain_is_damaged(tmp_path: Path, edit: str) -> None:
    ledger = AttemptLedger(tmp_path)
    for index in range(4):
        ledger.append(entry("started", f"run-{index}"))
    path = tmp_path / LEDGER
    lines = path.read_bytes().splitlines(keepends=True)
    if edit == "change":
        lines[1] = lines[1].replace(b"run-1", b"run-9")
    elif edit == "remove":
        del lines[1]
    else:
        lines.insert(2, lines[1])
    path.write_bytes(b"".join(lines))
    with pytest.raises(DamagedError, match="was changed"):
        read_ledger(path)
    with pytest.raises(DamagedError, match="was changed"):
        AttemptLedger(tmp_path).append(entry("finished"))


def test_a_torn_last_line_is_removed(tmp_path: Path) -> None:
    """The writer was killed in the middle of a line."""
    AttemptLedger(tmp_path).append(entry("started"))
    path = tmp_path / LEDGER
    path.write_bytes(path.read_bytes() + b'{"previous":"ab')
    assert len(read_ledger(path)) == 1
    assert AttemptLedger(tmp_path).append(entry("finished")).attempt == 1
    assert [line.event for line in read_ledger(path)] == ["started", "finished"]


def test_threads_append_whole_lines(tmp_path: Path) -> None:
    def write(name: str) -> None:
        ledger = AttemptLedger(tmp_path)
        for _ in range(10):
            ledger.append(entry("started", name))

    threads = [threading.Thread(target=write, args=(f"run-{index}",)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = read_ledger(tmp_path / LEDGER)
    assert len(entries) == 40
    assert max(line.attempt for line in entries) == 10


def test_a_nonce_counts_for_sources_committed_before_it(tmp_path: Path) -> None:
    ledger, nonce = AttemptLedger(tmp_path), Nonce(value="ab" * 32, source="local")
    ledger.append(LedgerEntry(previous=ORIGIN, time="", event="nonce", sources={"a@1": "x", "b@1": "y"}, nonce=nonce))
    assert ledger.find_nonce({"a@1": "x"}, "local") == nonce
    assert ledger.find_nonce({"a@1": "edited"}, "local") is None
    assert ledger.find_nonce({"a@1": "x", "c@1": "z"}, "local") is None
    assert ledger.find_nonce({"a@1": "x"}, "beacon") is None


def test_a_ledger_of_any_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    AttemptLedger(tmp_path).append(entry("started"))
    with open(tmp_path / "ledger.jsonl", "ab") as file:
        file.truncate(1 << 40)
    with pytest.raises(DamagedError, match="the limit for a ledger"):
        AttemptLedger(tmp_path).append(entry("started"))
    with pytest.raises(DamagedError, match="the limit for this kind of file"):
        read_ledger(tmp_path / "ledger.jsonl")
