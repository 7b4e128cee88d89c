"""Values that two processes computed are those of one process, whatever the folders contain and however it ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from harness.contract.record import Record
from harness.scoring.summary import LeaderboardQuery, RunSummary, summarize_content
from harness.storage import derived, derived_records, layout, packing, records
from harness.storage.derived import DerivedValues
from harness.storage.derived_records import iter_derived
from harness.storage.verified import verified_records
from harness.system import second_process
from tests.storage import published

Read = Callable[[], tuple[list[RunSummary | Record], list[str]]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(derived, "MIN_VALUES", 1)
    monkeypatch.setattr(derived, "_SETTLED_S", -1)
    monkeypatch.setattr(derived_records, "MIN_MISSING", 1)
    # A test must not depend on the cores and threads of the process that runs it.
    monkeypatch.setattr(second_process, "_can_fork", lambda: True)
    return tmp_path / "cache" / derived.FOLDER


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Records of five submissions in both halves: packed, damaged, edited, misnamed, doubled, and without a value."""
    folder = tmp_path / "results"
    for name in ("alpha", "beta", "gamma", "delta", "epsilon"):
        paths = published.write(folder, name, *range(5))
        paths[1].write_bytes(paths[1].read_bytes()[:-40])
        paths[2].write_bytes(paths[2].read_bytes().replace(b'"reason":"', b'"reason":"x', 1))
        paths[3].rename(paths[3].with_name("run-0123456789abcdef.json"))
    for name in ("beta", "epsilon"):
        published.write(folder, name, 7, 8, 9)
        list(packing.pack(folder / "hills" / name))
    double = folder / "hills" / "zeta"
    double.mkdir()
    other = msgspec.structs.replace(published.record("alpha", 0), reason="another content")
    (double / f"{other.run_id}.json").write_bytes(records.encode(other))
    (double / "run-fifo.json").mkdir()
    return folder


def compute(record: Record) -> RunSummary | None:
    is_without_value = record.spec.study == 4
    return None if is_without_value else summarize_content(record, LeaderboardQuery())


@pytest.fixture
def read(folder: Path) -> Read:
    def read() -> tuple[list[RunSummary | Record], list[str]]:
        problems: list[str] = []
        values = DerivedValues(RunSummary, compute, "", [folder])
        listed = layout.walk_all([folder], problems)
        items = iter_derived(listed, problems, values)
        return list(items), problems

    return read


def read_alone(read: Read, monkeypatch: pytest.MonkeyPatch) -> tuple[list[RunSummary | Record], list[str]]:
    with monkeypatch.context() as alone:
        alone.setattr(second_process, "_can_fork", lambda: False)
        alone.setenv("BENCH_CACHE", os.devnull)
        return read()


def test_two_processes_give_the_items_and_problems_of_one(
    read: Read, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, problems = read_alone(read, monkeypatch)
    assert len({item.run_id for item in expected}) == len(expected) > 10
    assert len(problems) > 10
    assert any(isinstance(item, Record) for item in expected)
    used: list[int] = []
    original = DerivedValues.offer

    def offer(values: DerivedValues[RunSummary], digest: bytes, encoded: bytes) -> None:
        used.append(1)
        original(values, digest, encoded)

    monkeypatch.setattr(DerivedValues, "offer", offer)
    for _ in range(2):
        items, found = read()
        assert list(map(repr, items)) == list(map(repr, expected))
        assert sorted(found) == sorted(problems)
    assert used
    assert any(cache.iterdir())


def test_what_the_second_process_computed_is_stored(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    items, _ = read()
    computed: list[str] = []
    monkeypatch.setattr(derived_records, "MIN_MISSING", 1000)
    monkeypatch.setattr(records, "_matches_hash", lambda *_: computed.append("hash"))
    again, _ = read()
    assert {item.run_id for item in again} == {item.run_id for item in items}
    # Only the hashes of edited records are computed again.
    assert len(computed) == 5
    assert verified_records().new == []


def kill(*_: object) -> None:
    os.kill(os.getpid(), 9)


def fail(*_: object) -> None:
    raise MemoryError


@pytest.mark.parametrize("end", [kill, fail])
def test_a_second_process_that_fails_changes_nothing(
    read: Read, monkeypatch: pytest.MonkeyPatch, end: Callable[..., None]
) -> None:
    expected, problems = read_alone(read, monkeypatch)
    monkeypatch.setattr(derived_records, "_compute", end)
    items, found = read()
    assert list(map(repr, items)) == list(map(repr, expected))
    assert sorted(found) == sorted(problems)


def test_the_second_process_ends_with_a_reader_that_stops_early(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forked: list[int] = []
    fork = os.fork

    def listing() -> int:
        forked.append(fork())
        return forked[-1]

    monkeypatch.setattr(os, "fork", listing)
    values = DerivedValues(RunSummary, compute, "", [folder])
    items = iter_derived(layout.walk_all([folder], []), [], values)
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert len(forked) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(forked[0], 0)
