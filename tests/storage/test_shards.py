"""Packed records: byte for byte, appended and never changed, whole or reported."""

from __future__ import annotations

import hashlib
import json
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DamagedError, StoreError
from harness.planning.estimate import Estimates
from harness.storage import packing, shards, verification
from harness.storage.records import encode, read_all, read_record
from tests.storage import published
from tests.storage.published import contents

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three records of alpha and two of beta, as plain files."""
    published.write(tmp_path / "records", "alpha", 0, 1, 2)
    published.write(tmp_path / "records", "beta", 0, 1)
    return tmp_path / "records"


def pack(folder: Path) -> list[str]:
    """Pack; returns the problems."""
    return [problem for report in packing.pack(folder) for problem in report.problems]


def unpack(folder: Path) -> list[str]:
    return [problem for report in packing.unpack(folder) for problem in report.problems]


def verify(folder: Path) -> list[str]:
    return [problem for report in verification.verify(folder) for problem in report.problems]


# --- byte for byte ------------------------------------------------------------------------------


def test_files_come_back_byte_for_byte_and_records_read_the_same(folder: Path) -> None:
    before, records = contents(folder), read_all([folder])
    assert pack(folder) == []
    assert set(contents(folder)) == {
        f"hills/{name}/records-0001.{suffix}" for name in ("alpha", "beta") for suffix in ("jsonl.xz", "index.json")
    }
    assert read_all([folder]) == records
    assert read_all([folder / "hills" / "beta"])[0] == records[0][3:]
    assert verify(folder) == []
    assert unpack(folder) == []
    assert contents(folder) == before


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(
    content=st.dictionaries(st.sampled_from(["file", "text", "b"]) | st.text(), _JSON, max_size=4),
    named_by_id=st.booleans(),
    indent=st.sampled_from([None, 0, 1, 2, "\t"]),
    ascii_only=st.booleans(),
    end=st.sampled_from(["", "\n", "\r\n", "\n\n"]),
)
def test_any_layout_and_any_name_come_back(
    content: dict[str, object], named_by_id: bool, indent: int | str | None, ascii_only: bool, end: str
) -> None:
    text = json.dumps(content | {"run_id": "run-1"}, indent=indent, ensure_ascii=ascii_only)
    file = (text + end).encode("utf-8", errors="replace")
    name = "run-1.json" if named_by_id else "copy of run-1.json"
    line = shards.encode_line(name, file)
    assert b"\n" not in line
    assert shards.file_name(line) == name
    assert shards.file_content(line) == file
    assert json.loads(shards.record_json(line)) == json.loads(file)


def test_a_file_of_another_layout_and_name_is_packed_too(folder: Path) -> None:
    (path, *_) = sorted((folder / "hills" / "beta").iterdir())
    path.rename(path.with_name(f"old-{path.name}"))
    path.with_name(f"old-{path.name}").write_text(
        json.dumps(json.loads(contents(folder)[f"hills/beta/old-{path.name}"]))
    )
    before, records = contents(folder), read_all([folder])
    assert pack(folder) == []
    assert read_all([folder]) == records
    assert verify(folder) == []
    assert unpack(folder) == []
    assert contents(folder) == before


def test_a_file_with_a_name_that_no_shard_may_have_stays(folder: Path) -> None:
    (path, *_) = sorted((folder / "hills" / "beta").iterdir())
    odd = path.rename(path.with_name(f"copy of {path.name}"))
    (problem,) = pack(folder)
    assert f"'copy of {path.name}' is not a file name of a record" in problem
    assert odd.exists()
    assert len(read_all([folder])[0]) == 5


def test_the_index_lists_records_without_decompressing_any(folder: Path) -> None:
    file = folder / "hills" / "beta" / "x-run-1.json"
    file.write_bytes(encode(published.record("beta", 7)))
    before = contents(folder)
    pack(folder)
    shard = folder / "hills" / "beta" / "records-0001.jsonl.xz"
    index = json.loads(shard.with_name("records-0001.index.json").read_bytes())
    assert (index["schema"], index["shard"], index["size"]) == (1, shard.name, shard.stat().st_size)
    assert index["sha256"] == hashlib.sha256(shard.read_bytes()).hexdigest()
    for entry in index["records"]:
        plain = before[f"hills/beta/{entry['file']}"]
        record = json.loads(plain)
        assert entry["sha256"] == hashlib.sha256(plain).hexdigest()
        assert (entry["run_id"], entry["content_hash"]) == (record["run_id"], record["content_hash"])
    assert [entry["file"] for entry in index["records"]] == sorted(Path(name).name for name in before if "beta" in name)


def test_a_shard_is_readable_with_common_tools(folder: Path) -> None:
    records, _ = read_all([folder / "hills" / "alpha"])
    pack(folder)
    with lzma.open(folder / "hills" / "alpha" / "records-0001.jsonl.xz", "rt", encoding="utf-8") as lines:
        assert [json.loads(line)["run_id"] for line in lines] == [record.run_id for record in records]


def test_equal_records_make_equal_shards(folder: Path, tmp_path: Path) -> None:
    published.write(tmp_path / "again", "beta", 1, 0)
    published.write(tmp_path / "again", "alpha", 2, 0, 1)
    pack(folder)
    pack(tmp_path / "again")
    assert contents(folder) == contents(tmp_path / "again")


def test_more_records_make_another_shard_and_change_none(folder: Path) -> None:
    pack(folder)
    first = contents(folder)
    published.write(folder, "alpha", 3, 4)
    before, records = contents(folder), read_all([folder])
    assert not records[1]
    assert len(records[0]) == 7
    assert pack(folder) == []
    after = contents(folder)
    assert {name: after[name] for name in first} == first
    assert set(after) - set(first) == {f"hills/alpha/records-0002.{end}" for end in ("jsonl.xz", "index.json")}
    assert read_all([folder]) == records
    assert pack(folder) == []
    assert contents(folder) == after, "nothing new, nothing changed"
    assert unpack(folder) == []
    assert {name: content for name, content in before.items() if "run-" in name}.items() <= contents(folder).items()


# --- reading ------------------------------------------------------------------------------------


def test_a_packed_record_is_read_by_the_path_of_its_file(folder: Path) -> None:
    path = sorted((folder / "hills" / "alpha").iterdir())[1]
    record = read_record(path)
    pack(folder)
    assert read_record(path) == record
    with pytest.raises(StoreError, match=r"cannot read .*run-0\.json"):
        read_record(path.with_name("run-0.json"))
    with pytest.raises(StoreError, match=r"cannot read .*gone"):
        read_record(folder / "gone" / "run-0.json")


def test_estimates_read_shards(folder: Path) -> None:
    spec = published.record("alpha", 0).spec
    seconds = Estimates([folder]).median_seconds(spec)
    assert seconds is not None
    pack(folder)
    assert Estimates([folder]).median_seconds(spec) == seconds


def test_records_are_read_one_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(folder)
    lines: list[bytes] = []
    original = shards.read_lines

    def counted(*arguments: object) -> object:
        for line in original(*arguments):  # type: ignore[arg-type]
            lines.append(line)
            yield line

    monkeypatch.setattr(shards, "read_lines", counted)
    iterator = shards.read_shard(folder / "hills" / "alpha" / "records-0001.jsonl.xz")
    next(iterator)
    assert len(lines) == 1


def _change(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


DAMAGES: dict[str, Callable[[Path, Path], None]] = {
    "a flipped bit": lambda shard, index: _change(shard, lambda b: b[:200] + bytes([b[200] ^ 1]) + b[201:]),
    "truncated": lambda shard, index: _change(shard, lambda b: b[: len(b) // 2]),
    "empty": lambda shard, index: _change(shard, lambda b: b""),
    "appended to": lambda shard, index: _change(shard, lambda b: b + b"x"),
    "another file": lambda shard, index: _change(shard, lambda b: b"no archive"),
    "no shard": lambda shard, index: shard.unlink(),
    "no index": lambda shard, index: index.unlink(),
    "an index that is no JSON": lambda shard, index: _change(index, lambda b: b[:-20]),
    "an index of another schema": lambda shard, index: _change(index, lambda b: b.replace(b": 1", b": 9", 1)),
    "another index": lambda shard, index: _change(index, lambda b: b.replace(b"records-0001", b"records-2")),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_one_line_that_names_the_file_and_other_shards_are_read(folder: Path, damage: str) -> None:
    published.write(folder, "alpha", 0)
    pack(folder)
    published.write(folder, "alpha", 9)
    pack(folder)
    shard = folder / "hills" / "alpha" / "records-0001.jsonl.xz"
    DAMAGES[damage](shard, shard.with_name("records-0001.index.json"))
    records, problems = read_all([folder])
    assert [(r.spec.submission.name, r.spec.study) for r in records] == [("alpha", 9), ("beta", 0), ("beta", 1)]
    (problem,) = problems
    assert str(folder / "hills" / "alpha" / "records-0001") in problem
    assert "\n" not in problem
    assert len(verify(folder)) == 1


def test_a_matching_hash_does_not_excuse_a_damaged_shard(folder: Path) -> None:
    pack(folder)
    shard = folder / "hills" / "alpha" / "records-0001.jsonl.xz"
    index = msgspec.json.decode(shard.with_name("records-0001.index.json").read_bytes(), type=shards.ShardIndex)
    for content in (
        b"no archive",
        lzma.compress(b"{}\n{}\n{}\n")[:-9],
        lzma.compress(b'{"file":1}\n' * 3),
        lzma.compress(b"\n"),
    ):
        shard.write_bytes(content)
        forged = msgspec.structs.replace(index, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        shard.with_name("records-0001.index.json").write_bytes(msgspec.json.encode(forged))
        records, problems = read_all([folder])
        assert len(records) == 2
        assert problems
        assert all(str(shard.parent) in problem for problem in problems)
        assert verify(folder)
        assert unpack(folder / "hills" / "alpha")
        assert shard.exists()


def test_unpacking_writes_into_its_own_folder_alone(folder: Path) -> None:
    pack(folder)
    index = folder / "hills" / "alpha" / "records-0001.index.json"
    _change(index, lambda b: b.replace(b'"file": "run-', b'"file": "../run-', 1))
    (problem,) = unpack(folder)
    assert "is not a file name of a record" in problem
    assert str(index) in problem
    assert not list((folder / "hills").glob("run-*"))


# --- packing and unpacking ----------------------------------------------------------------------


def test_run_folders_and_other_files_stay(folder: Path) -> None:
    run = folder / "run-1"
    run.mkdir()
    (run / "record.json").write_bytes(encode(published.record("alpha", 5)))
    (folder / "superseded").mkdir()
    (folder / "superseded" / "run-2.json").write_text("{}")
    (folder / "notes.md").write_text("notes")
    pack(folder)
    assert (run / "record.json").exists()
    assert (folder / "superseded" / "run-2.json").exists()
    assert (folder / "notes.md").exists()
    assert len(read_all([folder])[0]) == 6


def test_archived_records_are_read_only_if_their_folder_is_named(folder: Path) -> None:
    published_records = len(read_all([folder])[0])
    archived = folder / "archive" / "hills"
    archived.parent.mkdir()
    (folder / "hills").rename(archived)
    assert read_all([folder]) == ([], [])
    assert len(read_all([folder / "archive"])[0]) == published_records


def test_a_damaged_record_is_reported_and_stays(folder: Path) -> None:
    path = sorted((folder / "hills" / "alpha").iterdir())[0]
    _change(path, lambda b: b.replace(b'"lr":0.001', b'"lr":0.002', 1))
    path.with_name("run-cut.json").write_bytes(path.read_bytes()[:100])
    (edited, cut) = pack(folder)
    assert f"{path} was edited" in edited
    assert "run-cut.json is damaged" in cut
    assert path.exists()
    assert len(contents(folder)) == 6
    assert len(read_all([folder])[0]) == 4


def test_a_plain_file_that_contradicts_the_packed_one_is_reported_and_both_stay(folder: Path) -> None:
    (path, *_) = sorted((folder / "hills" / "alpha").iterdir())
    original = path.read_bytes()
    pack(folder)
    other = msgspec.structs.replace(msgspec.json.decode(original, type=type(published.record("x", 0))), reason="other")
    path.write_bytes(encode(other))
    before = contents(folder)
    for command in (pack, unpack):
        (problem,) = command(folder / "hills" / "alpha")
        assert f"{path} differs" in problem
        assert {name: content for name, content in before.items() if "alpha" in name}.items() <= contents(
            folder
        ).items()
    assert read_all([folder])[1] == [f"record {path} has the run_id of another record; the record read first is used"]
    assert len(verify(folder)) == 1
    path.write_bytes(original)
    assert pack(folder) == [], "an equal file is removed, since it is packed"
    assert not path.exists()


def test_another_process_that_packs_keeps_this_one_out(folder: Path) -> None:
    with packing._locked(folder / "hills" / "alpha"), pytest.raises(StoreError, match="another process"):
        pack(folder)


def test_a_full_disk_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(folder)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match=r"records-0001\.jsonl\.xz: No space left.*free some space"):
        pack(folder)
    assert contents(folder) == before


def test_a_file_that_changes_while_it_is_packed_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sorted((folder / "hills" / "alpha").iterdir())[1]
    other = path.read_bytes() + b" "
    original = shards.encode_line

    def changing(name: str, content: bytes) -> bytes:
        if name == path.name:
            path.write_bytes(other)
        return original(name, path.read_bytes() if name == path.name else content)

    monkeypatch.setattr(shards, "encode_line", changing)
    with pytest.raises(StoreError, match=f"{path.name} was changed"):
        pack(folder)
    assert path.read_bytes() == other
    assert len(read_all([folder])[0]) == 5


_KILLED = """
import os, sys
from pathlib import Path
from harness.storage import packing, verification
from tests.storage.published import contents
import shutil

command, source, work = getattr(packing, sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])

def run_until(step):
    "The command in a process that is killed before its system call of this number."
    pid = os.fork()
    if not pid:
        count = 0
        def counting(function):
            def call(*arguments, **options):
                nonlocal count
                count += 1
                if count > step:
                    os._exit(9)
                return function(*arguments, **options)
            return call
        for name in ("replace", "unlink", "fsync"):
            setattr(os, name, counting(getattr(os, name)))
        list(command(work))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

from harness.storage.records import read_all
expected = {r.run_id: r for r in read_all([source])[0]}
for step in range(1000):
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, work)
    code = run_until(step)
    records, problems = read_all([work])
    assert {r.run_id: r for r in records} == expected, (step, problems)
    assert all("has no index" in p for p in problems) and len(problems) <= 1, (step, problems)
    assert not [p for report in command(work) for p in report.problems], step
    done = contents(work)
    if code == 0:
        break
    print(step, len(done))
    assert not [name for name in done if name.endswith(".tmp")], (step, list(done))
    for report in verification.verify(work):
        assert not report.problems, step
    finished = done
assert finished == done, "it ended as if it had not been killed"
assert code == 0
print("steps", step)
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_killed_at_any_step_nothing_is_lost_and_the_next_call_completes(
    folder: Path, tmp_path: Path, command: str
) -> None:
    pack(folder / "hills" / "beta")
    published.write(folder, "beta", 5)
    if command == "unpack":
        pack(folder)
    arguments = [sys.executable, "-c", _KILLED, command, str(folder), str(tmp_path / "work")]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 15


# --- verify -------------------------------------------------------------------------------------


def test_a_record_that_is_not_what_its_index_says_is_neither_verified_nor_unpacked(folder: Path) -> None:
    pack(folder)
    index = folder / "hills" / "alpha" / "records-0001.index.json"
    entries = msgspec.json.decode(index.read_bytes(), type=shards.ShardIndex)
    first = entries.records[0]
    for change, word in (
        ({"run_id": "run-0"}, "a run_id or content hash that differs"),
        ({"content_hash": "0"}, "a run_id or content hash that differs"),
        ({"sha256": "0"}, "does not match its hash"),
    ):
        changed = (msgspec.structs.replace(first, **change), *entries.records[1:])
        index.write_bytes(msgspec.json.encode(msgspec.structs.replace(entries, records=changed)))
        for (problem,) in (verify(folder), unpack(folder)):
            assert word in problem
            assert first.file in problem
        assert index.exists()


def test_verify_finds_a_run_id_that_is_not_its_specs(folder: Path) -> None:
    record = msgspec.structs.replace(published.record("alpha", 8), run_id="run-8")
    (folder / "run-8.json").write_bytes(encode(record))
    (problem,) = verify(folder)
    assert "run-8.json has the run_id run-8; its spec gives run-" in problem
    pack(folder)
    (problem,) = verify(folder)
    assert "run-8.json in" in problem


def test_verify_reads_plain_files_and_run_folders(folder: Path) -> None:
    path = sorted((folder / "hills" / "alpha").iterdir())[0]
    _change(path, lambda b: b[:-30])
    (folder / "record.json").write_text("{}")
    assert len(verify(folder)) == 2


def test_a_shard_without_index_gets_it_back(folder: Path) -> None:
    pack(folder)
    before = contents(folder)
    for index in folder.rglob("*.index.json"):
        index.unlink()
    assert pack(folder) == []
    assert contents(folder) == before


def test_python_without_lzma_is_told_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(folder)
    monkeypatch.setitem(sys.modules, "lzma", None)
    records, problems = read_all([folder])
    assert not records
    assert all("lzma" in problem for problem in problems)
    with pytest.raises(StoreError, match="lzma"):
        list(shards.read_shard(folder / "hills" / "alpha" / "records-0001.jsonl.xz"))
    assert not issubclass(StoreError, DamagedError)


# --- this repository's records ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["results", "calibration/runs"])
def test_the_repositorys_records_are_whole(name: str) -> None:
    assert verify(ROOT / name) == []
