"""Cases of stored records: plain records, shards with their indexes, notes, and the commands that read them."""

from __future__ import annotations

import functools
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from fuzzing import mutations
from fuzzing.case import CaseFile, Expected, FuzzCase
from harness.contract.record import Record
from harness.storage import layout, packing
from harness.storage.records import content_hash, encode, iter_records
from harness.storage.shards import ShardIndex

ROOT = Path(__file__).resolve().parents[2]
#: Folders below `results/` with one record of each form: a pool, a stream, a curriculum.
_FORMS = ("*/lm-tiny/wsd", "*/continual-digits/adamw-cosine", "*/curriculum-lm/*")
_SHARD = layout.shard_name(1)
_INDEX = layout.shard_index(Path(_SHARD)).name


@functools.cache
def sample_records() -> tuple[Record, ...]:
    """Return published records, shortened to four points, so that a case is small and quick."""
    records = []
    for form in _FORMS:
        folder = next(iter(sorted((ROOT / "results").glob(form))))
        records += list(iter_records([folder], []))[:2]
    return tuple(_shorten(record) for record in records)


def _shorten(record: Record) -> Record:
    return msgspec.structs.replace(record, points=record.points[:4], hit=None, stage_hits=(), status="exhausted")


@functools.cache
def sample_files() -> tuple[tuple[str, bytes], ...]:
    """Return the run_id and the JSON of each sample."""
    return tuple((record.run_id, encode(record)) for record in sample_records())


@functools.cache
def sample_shard() -> tuple[bytes, bytes]:
    """Return a shard of the samples and its index."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for run_id, content in sample_files():
            (folder / f"{run_id}.json").write_bytes(content)
        list(packing.pack(folder))
        return (folder / _SHARD).read_bytes(), (folder / _INDEX).read_bytes()


def valid_files() -> Iterator[CaseFile]:
    """Yield the files of two valid runs and of a shard."""
    for run_id, content in sample_files()[:2]:
        yield CaseFile(path=f"runs/{run_id}/record.json", content=content)
    shard, index = sample_shard()
    yield CaseFile(path=f"results/{_SHARD}", content=shard)
    yield CaseFile(path=f"results/{_INDEX}", content=index)


def make_case(number: int, rng: random.Random) -> FuzzCase:
    """Return a case with one changed file among valid records."""
    return _change_shard(number, rng) if rng.random() < 0.25 else _change_record(number, rng)


# --- plain records ----------------------------------------------------------------------------------------------------


def _change_record(number: int, rng: random.Random) -> FuzzCase:
    (other, other_content), (run_id, content) = rng.sample(sample_files(), 2)
    path = f"runs/{run_id}/record.json"
    others = [CaseFile(path=f"runs/{other}/record.json", content=other_content)]
    change = rng.choice(["bytes", "bytes", "json", "json", "rehashed", "rehashed", "rehashed", "type", "swap", "note"])
    damaged = True
    match change:
        case "bytes":
            changed = CaseFile(path=path, content=mutations.change_bytes(content, rng))
        case "json":
            changed_json = mutations.change_json(json.loads(content), rng)
            changed = CaseFile(path=path, content=mutations.write_json(changed_json, rng))
        case "rehashed":
            changed = CaseFile(path=path, content=rehash(mutations.change_json(json.loads(content), rng), rng))
            damaged = False
        case "type":
            changed = mutations.change_type(path, rng)
        case "swap":
            changed = CaseFile(path=path, content=other_content)
        case _:
            changed = CaseFile(path=path, content=content)
            note = mutations.change_bytes(b"a note about a run\n", rng)
            others.append(CaseFile(path=f"runs/{run_id}/note.txt", content=note))
            damaged = False
    damaged = damaged and not _is_equal_json(changed.content, content)
    arguments, expected, absent = _choose_command(run_id, other, rng)
    function = "load_results" if rng.random() < 0.1 else ""
    return FuzzCase(
        kind="records",
        number=number,
        files=(*others, changed),
        arguments=() if function else arguments,
        function=function,
        expected=expected if damaged and not function else "any",
        absent=run_id if damaged and absent else "",
        change=f"{change} of {path}",
    )


def _choose_command(run_id: str, other: str, rng: random.Random) -> tuple[tuple[str, ...], Expected, bool]:
    """Return a command, its exit code for a damaged record, and whether its output must not name the record."""
    report: tuple[str, ...] = ("report", "out.html", "--runs", "runs")
    commands: list[tuple[tuple[str, ...], Expected, bool]] = [
        (("results", "verify", "runs", *rng.choice([(), ("--json",)])), "refused", False),
        (("runs", *rng.choice([(), ("--json",), ("--sort", "metric"), ("--failed",)])), "any", True),
        (("leaderboard", "--format", rng.choice(["table", "md", "csv", "json", "html"])), "any", False),
        (("leaderboard", "--by", rng.choice(["examples", "steps", "metric@1000"])), "any", False),
        (("show", f"runs/{run_id}", *rng.choice([(), ("--json",)])), "refused", True),
        (("show", run_id[:8]), "any", False),
        (("diff", run_id, other, *rng.choice([(), ("--json",)])), "refused", False),
        (("best", rng.choice(["lm-tiny", "continual-digits", "curriculum-lm"])), "any", False),
        (("compare", "wsd", "adamw-cosine", "--by", rng.choice(["time", "examples", "steps"])), "any", False),
        (report, "any", False),
        (("note", run_id, *rng.choice([(), ("words",)])), "any", False),
        (("run", "--dry-run", "-s", "wsd", "-w", "lm-tiny"), "any", False),
    ]
    return rng.choice(commands)


def rehash(value: Any, rng: random.Random) -> bytes:
    """Return a changed record as JSON with a right content hash, and often with a right run_id."""
    if not isinstance(value, dict):
        return mutations.write_json(value, rng)
    try:
        if rng.random() < 0.5:
            value["run_id"] = layout.run_id_of_json(json.dumps(value).encode())
        value["content_hash"] = content_hash(json.dumps(value).encode())
    except Exception:
        pass  # a value that is not valid JSON is refused before its hash is compared
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _is_equal_json(changed: bytes, content: bytes) -> bool:
    """Return whether both texts have the same value, apart from white space and the order of keys."""
    try:
        return json.dumps(json.loads(changed), sort_keys=True) == json.dumps(json.loads(content), sort_keys=True)
    except (ValueError, RecursionError):
        return False


# --- shards -----------------------------------------------------------------------------------------------------------


def _change_shard(number: int, rng: random.Random) -> FuzzCase:
    shard, index = sample_shard()
    files = {f"results/{_SHARD}": shard, f"results/{_INDEX}": index}
    path = rng.choice(list(files))
    match rng.randrange(4):
        case 0 if path.endswith(_INDEX):
            changed = CaseFile(
                path=path, content=mutations.write_json(mutations.change_json(json.loads(index), rng), rng)
            )
        case 1:
            changed = mutations.change_type(path, rng)
        case _:
            changed = CaseFile(path=path, content=mutations.change_bytes(files[path], rng))
    # An index that is missing, or that leads to itself, is computed again from the shard.
    same = (
        changed.target in ("missing", path.rpartition("/")[2])
        if path.endswith(_INDEX)
        else changed.content == files[path]
    )
    if changed.type == "file" and path.endswith(_INDEX):
        same = _is_equal_index(changed.content, index)
    run_id = rng.choice(sample_files())[0]
    commands: list[tuple[tuple[str, ...], Expected]] = [
        (("results", "verify", "results"), "refused"),
        (("results", "unpack", "results"), "refused"),
        (("results", "pack", "results"), "any"),
        (("leaderboard", "--runs", "none"), "any"),
        (("runs", "--runs", "none", "--json"), "any"),
        (("show", run_id, "--runs", "none"), "any"),
        (("show", f"results/{run_id}.json"), "any"),
    ]
    arguments, expected = rng.choice(commands)
    return FuzzCase(
        kind="records",
        number=number,
        files=(*(CaseFile(path=p, content=c) for p, c in files.items() if p != path), changed),
        arguments=arguments,
        expected="any" if same else expected,
        change=f"{path} as {changed.type}",
    )


def _is_equal_index(changed: bytes, index: bytes) -> bool:
    """Return whether both texts are the same index."""
    try:
        return msgspec.json.decode(changed, type=ShardIndex) == msgspec.json.decode(index, type=ShardIndex)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return False
