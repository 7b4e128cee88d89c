"""Records on disk: whole or not there, validated, and readable by later versions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.errors import StoreError
from harness.storage import layout, records, run_folder
from harness.system import files
from tests.helpers import run_here, spec_of, submission
from tests.scoring import builders


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    entry = submission("tests.submissions_for_tests:Base", needs=frozenset({"feedback", "pool", "holdout"}))
    return run_here(spec_of(entry, smoke=True), tmp_path_factory.mktemp("runs"))


def test_a_record_comes_back_as_it_was(record: Record) -> None:
    assert records.decode(records.encode(record), "here") == record


def test_layout_does_not_matter_and_content_does(record: Record) -> None:
    plain = json.loads(records.encode(record))
    shuffled = json.dumps(dict(sorted(plain.items(), reverse=True)), indent=7).encode()
    assert records.decode(shuffled, "here") == record
    plain["points"][1]["metrics"]["loss"] -= 1e-6
    with pytest.raises(StoreError, match="was edited"):
        records.decode(json.dumps(plain).encode(), "here")


def test_a_record_of_an_earlier_version_with_fewer_fields_is_still_whole(record: Record) -> None:
    """A version that adds an optional field must go on reading what was written without it."""
    plain = json.loads(records.encode(record))
    del plain["spec"]["workload"]["facts"]["scores"], plain["content_hash"]
    plain["content_hash"] = records.content_hash(json.dumps(plain).encode())
    assert records.decode(json.dumps(plain).encode(), "here").points == record.points


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"schema": 99}, "schema 99"),
        ({"status": "fine"}, "$.status"),
        ({"points": [{"examples": "many"}]}, "$.points[0]"),
        ({"extra": 1}, "extra"),
    ],
)
def test_what_is_wrong_is_named_with_its_path(record: Record, change: dict[str, object], word: str) -> None:
    plain = json.loads(records.encode(record)) | change
    with pytest.raises(StoreError) as caught:
        records.decode(json.dumps(plain).encode(), "some/file.json")
    assert word in str(caught.value)
    assert "some/file.json" in str(caught.value)


def test_half_a_file_is_no_record(record: Record) -> None:
    payload = records.encode(record)
    with pytest.raises(StoreError, match="damaged"):
        records.decode(payload[: len(payload) // 2], "here")


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    files.write_atomically(path, b"before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left") as caught:
        files.write_atomically(path, b"after")
    assert "free some space" in str(caught.value)
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_only_an_unfinished_run_needs_goes(tmp_path: Path) -> None:
    folder = run_folder.RunFolder(tmp_path, "run-1")
    for name in ("compiled/triton", "scratch/tmp"):
        (folder.path / name).mkdir(parents=True)
    for name in ("checkpoint.pt", "checkpoint.previous.pt", "compiled/kernel.so", "final.safetensors", "worker.log"):
        (folder.path / name).touch()
    folder.remove_checkpoints()
    assert sorted(path.name for path in folder.path.iterdir()) == ["final.safetensors", "worker.log"]


def test_a_field_that_was_added_to_the_spec_does_not_change_the_id_of_a_run() -> None:
    """A record from before the field, one with its default, and the spec have one run_id; another value differs."""
    spec = builders.spec()
    identity = layout.run_id(spec)
    plain = msgspec.json.decode(records.encode(builders.record(spec)))
    assert layout.run_id_of_json(msgspec.json.encode(plain)) == identity
    for name, default in layout.LATER_FIELDS.items():
        assert plain["spec"].pop(name) == default
    del plain["spec"]["workload"]["source_hash"], plain["spec"]["workload"]["code_hash"]
    del plain["spec"]["submission"]["code_hash"]
    assert layout.run_id_of_json(msgspec.json.encode(plain)) == identity
    assert identity == "run-" + hashlib.sha256(msgspec.json.encode(plain["spec"], order="sorted")).hexdigest()[:16]
    whole = msgspec.structs.replace(spec, screening=False)
    assert layout.run_id(whole) != identity
    plain["spec"]["screening"] = False
    assert layout.run_id_of_json(msgspec.json.encode(plain)) == layout.run_id(whole)


def test_every_later_field_exists_with_its_default() -> None:
    defaults = {field.name: field.default for field in msgspec.structs.fields(RunSpec)}
    assert {name: defaults[name] for name in layout.LATER_FIELDS} == dict(layout.LATER_FIELDS)
