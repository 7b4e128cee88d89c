"""Verified record files are remembered by the hash of their bytes, and a changed file is always noticed."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec
import pytest

from harness.contract.record import MAX_REASON, Record
from harness.errors import DamagedError
from harness.storage import records
from harness.storage.layout import RECORD, run_id
from harness.storage.run_folder import RunFolder
from harness.storage.shared_parts import SharedParts
from harness.storage.verified import CAPACITY, VerifiedRecords, verified_records
from tests.report import synthetic


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "verified-records"


def written(folder: Path, study: int = 0, reason: str = "") -> Path:
    record = synthetic.record("alpha", study=study)
    identity = run_id(record.spec)
    RunFolder(folder, identity).path.mkdir(parents=True)
    RunFolder(folder, identity).write(msgspec.structs.replace(record, run_id=identity, reason=reason))
    return folder / identity / RECORD


def test_each_changed_byte_is_noticed_after_the_file_was_verified(tmp_path: Path) -> None:
    path = written(tmp_path / "runs")
    assert records.find_valid_record(path) is not None
    content = path.read_bytes()
    times = path.stat()
    for position in range(content.index(b'"points"'), content.index(b'"points"') + 400, 7):
        if content[position : position + 1] in b" \n":
            continue
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        # The cache must not rely on the time of a file.
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert records.find_valid_record(path) is None, position
        assert records.read_all([tmp_path / "runs"])[0] == []
    path.write_bytes(content)
    assert records.find_valid_record(path) is not None


def test_a_hash_is_computed_once_per_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "runs")
    monkeypatch.setattr(records, "_matches_hash", lambda *_: pytest.fail("the hash was computed again"))
    assert len(records.read_all([tmp_path / "runs"])[0]) == 1
    assert records.find_valid_record(path) is not None


def test_the_digests_are_looked_up_once_per_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for study in range(3):
        written(tmp_path / "runs", study)
    lookups: list[VerifiedRecords] = []

    def counting_lookup() -> VerifiedRecords:
        lookups.append(verified_records())
        return lookups[-1]

    monkeypatch.setattr(records, "verified_records", counting_lookup)
    assert len(records.read_all([tmp_path / "runs"])[0]) == 3
    assert len(lookups) == 1


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize(
    ("name", "is_own"),
    [
        ("RUN/record.json", True),
        ("RUN.json", True),
        ("OTHER/record.json", False),
        ("OTHER.json", False),
        ("copy/record.json", True),
        ("copy.json", True),
        ("record.json", True),
    ],
)
def test_a_record_has_its_own_name_or_no_run_id_as_its_name(
    tmp_path: Path, name: str, is_own: bool, relative: bool
) -> None:
    identity, other = "run-0123456789abcdef", "run-fedcba9876543210"
    path = Path(name.replace("RUN", identity).replace("OTHER", other))
    path = path if relative else tmp_path / path
    with contextlib.nullcontext() if is_own else pytest.raises(DamagedError, match=f"is of another trial, {identity}"):
        records.require_own_name(identity, path)


def test_digests_survive_the_process_and_a_damaged_cache_is_dropped(tmp_path: Path, cache: Path) -> None:
    path = written(tmp_path / "runs")
    digest = hashlib.sha256(path.read_bytes()).digest()
    assert cache.read_bytes() == digest
    assert digest in VerifiedRecords(cache)
    cache.write_bytes(digest[:-1])
    assert digest not in VerifiedRecords(cache)
    assert cache.read_bytes() == b""


def test_the_cache_has_a_largest_size(cache: Path) -> None:
    cache.parent.mkdir()
    digests = [i.to_bytes(32, "big") for i in range(CAPACITY + 1)]
    cache.write_bytes(b"".join(digests))
    verified = VerifiedRecords(cache)
    assert digests[-1] in verified
    assert digests[0] not in verified
    assert cache.stat().st_size == CAPACITY // 2 * 32


def test_no_cache_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file" / "below"))
    path = written(tmp_path / "runs")
    assert records.read_record(path).status == "reached"
    verified_records().save()


def test_absent_fields_of_older_records_are_not_a_change(tmp_path: Path) -> None:
    path = written(tmp_path / "runs")
    fields = msgspec.json.decode(path.read_bytes())
    for point in fields["points"]:
        del point["grad_norm"], point["mean_train_loss"]
    fields["content_hash"] = records.content_hash(msgspec.json.encode(fields))
    path.write_bytes(msgspec.json.encode(fields))
    assert records.find_valid_record(path) is not None
    fields["points"][0]["steps"] += 1
    path.write_bytes(msgspec.json.encode(fields))
    assert records.find_valid_record(path) is None


def test_a_long_reason_is_read_in_short(tmp_path: Path) -> None:
    path = written(tmp_path / "runs", reason="x" * 10_000_000)
    (record,), problems = records.read_all([tmp_path / "runs"])
    assert problems == []
    status = records.find_valid_record(path)
    assert status is not None
    for reason in (record.reason, status.reason):
        assert len(reason) == MAX_REASON
        assert reason.endswith("…")


def test_records_share_their_equal_parts() -> None:
    shared = SharedParts()

    def share(**changes: object) -> Record:
        record = synthetic.record("alpha")
        copy = msgspec.json.decode(msgspec.json.encode(record), type=Record)
        return shared.share(msgspec.structs.replace(copy, spec=msgspec.structs.replace(copy.spec, **changes)))

    first, second, other = share(), share(), share(hardware="another")
    assert first == second == synthetic.record("alpha")
    assert first.spec.workload is second.spec.workload is other.spec.workload
    assert first.spec.ruleset is second.spec.ruleset
    assert other.spec.hardware == "another"
