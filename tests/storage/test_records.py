"""Records on disk: whole or not there, validated, and readable by later versions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from harness.contract.record import Record
from harness.contract.ruleset import Ruleset
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


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("usage.peak_memory_bytes", 10**400),
        ("usage.parameters", -1),
        ("points.1.examples", 2**63),
        ("spec.workload.facts.budget.horizon", 10**400),
        ("spec.ranks", -2),
        ("deaths", -7),
        ("ledger.attempts", 0),
        ("spec.workload.facts.version", "9" * 5000),
        ("spec.workload.facts.version", ""),
        ("spec.submission.version", "1\n"),
        ("spec.ruleset.version", "1@2"),
    ],
)
def test_an_impossible_integer_or_version_is_refused(record: Record, path: str, value: object) -> None:
    """A table would fail for all records at the first computation with such a value."""
    plain = fields = json.loads(records.encode(record)) | {"ledger": {}}
    *parents, name = path.split(".")
    for key in parents:
        fields = fields[int(key) if key.isdigit() else key]
    fields[name] = value
    with pytest.raises(StoreError, match="damaged") as caught:
        records.decode(json.dumps(plain).encode(), "here")
    assert f".{name}" in str(caught.value)


@pytest.mark.parametrize("path", ["schema", "reason", "spec.study", "points.0.metrics"])
def test_a_record_from_which_a_field_was_removed_is_refused(record: Record, path: str) -> None:
    """Old records lack fields with a default, but then their content hash is that of a record without these fields."""
    plain = fields = json.loads(records.encode(record))
    *parents, name = path.split(".")
    for key in parents:
        fields = fields[int(key) if key.isdigit() else key]
    del fields[name]
    with pytest.raises(StoreError):
        records.decode(json.dumps(plain).encode(), "here")


@pytest.mark.parametrize("index", [-1, -9, 10**6, 10**200])
@pytest.mark.parametrize("field", ["hit", "stage_hits"])
def test_an_index_outside_the_points_is_refused(record: Record, field: str, index: int) -> None:
    value = index if field == "hit" else (index,)
    with pytest.raises(StoreError, match="damaged"):
        records.decode(records.encode(msgspec.structs.replace(record, **{field: value})), "here")


def test_white_space_and_the_order_of_keys_do_not_change_a_record(record: Record) -> None:
    plain = json.loads(records.encode(record))
    assert records.decode(
        json.dumps(dict(reversed(plain.items())), indent=4).encode(), "here"
    ) == records.add_content_hash(record)


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
    for name in ("worker/compiled/triton", "worker/scratch/tmp", "evaluator"):
        (folder.path / name).mkdir(parents=True)
    for name in ("account.json", "worker/checkpoint.pt", "evaluator/3.pt", "final.safetensors", "worker.log"):
        (folder.path / name).touch()
    folder.remove_checkpoints()
    assert sorted(path.name for path in folder.path.iterdir()) == ["final.safetensors", "worker.log"]


def test_a_new_worker_finds_checkpoints_and_nothing_else(tmp_path: Path) -> None:
    """What a submission left in the folder must not reach the next worker of its run."""
    folder = run_folder.RunFolder(tmp_path / "runs", "run-1")
    outside = tmp_path / "outside"
    for path in (outside, folder.worker_path / "compiled", folder.worker_path / "scratch" / "tmp"):
        path.mkdir(parents=True)
    for name in ("checkpoint.pt", "checkpoint.previous.pt", "checkpoint.pt.new", "compiled/kernel.so", "weights"):
        (folder.worker_path / name).touch()
    (outside / "file").touch()
    (folder.worker_path / "link").symlink_to(outside)
    folder.prepare_worker(has_compiler_cache=True)
    names = sorted(path.name for path in folder.worker_path.iterdir())
    assert names == ["checkpoint.previous.pt", "checkpoint.pt", "compiled"]
    assert (folder.worker_path / "compiled" / "kernel.so").exists()
    assert (outside / "file").exists(), "a link is removed, and not what it leads to"
    folder.prepare_worker()
    assert not (folder.worker_path / "compiled").exists()


def test_checkpoints_of_earlier_versions_are_used(tmp_path: Path) -> None:
    folder = run_folder.RunFolder(tmp_path, "run-1")
    folder.path.mkdir()
    (folder.path / "checkpoint.pt").write_text("state")
    folder.prepare_worker()
    assert (folder.worker_path / "checkpoint.pt").read_text() == "state"
    assert not (folder.path / "checkpoint.pt").exists()


def test_weights_and_damaged_checkpoints_leave_the_workers_folder(tmp_path: Path) -> None:
    folder = run_folder.RunFolder(tmp_path, "run-1")
    folder.worker_path.mkdir(parents=True)
    (folder.path / "checkpoint.corrupt").write_text("first")
    (folder.worker_path / "checkpoint.corrupt").write_text("second")
    (folder.worker_path / "final.safetensors").write_text("weights")
    folder.collect_worker_files()
    assert not list(folder.worker_path.iterdir())
    assert (folder.path / "final.safetensors").read_text() == "weights"
    assert sorted(path.read_text() for path in folder.path.glob("checkpoint*")) == ["first", "second"]
    (folder.worker_path / "final.safetensors").symlink_to(folder.path / "checkpoint.corrupt")
    folder.collect_worker_files()
    assert (folder.path / "final.safetensors").read_text() == "weights", "a link could lead anywhere"


def test_a_field_that_was_added_to_the_spec_does_not_change_the_id_of_a_run() -> None:
    """A record from before the field, one with its default, and the spec have one run_id; another value differs."""
    spec = builders.spec()
    identity = layout.run_id(spec)
    plain = msgspec.json.decode(records.encode(builders.record(spec)))
    assert layout.run_id_of_json(msgspec.json.encode(plain)) == identity
    for name, default in layout.LATER_FIELDS.items():
        assert plain["spec"].pop(name) == default
    for name, default in layout.LATER_RULESET_FIELDS.items():
        assert plain["spec"]["ruleset"].pop(name) == default
    del plain["spec"]["workload"]["source_hash"], plain["spec"]["workload"]["code_hash"]
    del plain["spec"]["submission"]["code_hash"]
    assert layout.run_id_of_json(msgspec.json.encode(plain)) == identity
    assert identity == "run-" + hashlib.sha256(msgspec.json.encode(plain["spec"], order="sorted")).hexdigest()[:16]
    whole = msgspec.structs.replace(spec, screening=False)
    assert layout.run_id(whole) != identity
    plain["spec"]["screening"] = False
    assert layout.run_id_of_json(msgspec.json.encode(plain)) == layout.run_id(whole)
    shared = msgspec.structs.replace(spec, ruleset=msgspec.structs.replace(spec.ruleset, common_tuning_seeds=True))
    assert layout.run_id(shared) != identity


def test_every_later_field_exists_with_its_default() -> None:
    for kind, later in ((RunSpec, layout.LATER_FIELDS), (Ruleset, layout.LATER_RULESET_FIELDS)):
        defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
        assert {name: defaults[name] for name in later} == dict(later)
