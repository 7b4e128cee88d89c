"""Cases of stored records: plain records, shards (files with many records) with their indexes, and notes."""

from __future__ import annotations

import functools
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from fuzzing import mutations
from fuzzing.case import CaseFile, Expected, FuzzCase
from fuzzing.process import REPORT
from harness.contract.record import Record
from harness.storage import layout, packing
from harness.storage.records import content_hash, encode, iter_records
from harness.storage.shards import ShardIndex

ROOT = Path(__file__).resolve().parents[2]
#: Patterns of folders below `results/`, one for each form of training data: a pool, a stream, and a curriculum (data of
#: increasing difficulty).
_FORMS = ("archive/*/lm-tiny/wsd", "*/continual-digits/adamw-cosine", "archive/*/curriculum-lm/*")
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


def run_ids() -> tuple[str, ...]:
    """Return the run_ids of the samples. `valid_files` contains the first two as plain records."""
    return tuple(run_id for run_id, _ in sample_files())


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
    """Return a case with valid records. Usually, one file is changed or added."""
    return _change_shard(number, rng) if rng.random() < 0.25 else _change_record(number, rng)


# --- plain records ----------------------------------------------------------------------------------------------------


@functools.cache
def planned_record() -> Record:
    """Return a record of the trial that the command `_RUN` plans on this machine."""
    from harness import plan

    (spec,) = plan("wsd", "lm-tiny").phase1
    sample = next(record for record in sample_records() if record.spec.workload.facts.name == "lm-tiny")
    return msgspec.structs.replace(sample, spec=spec, run_id=layout.run_id(spec))


def _change_record(number: int, rng: random.Random) -> FuzzCase:
    (other, other_content), (run_id, content) = rng.sample(sample_files(), 2)
    is_planned = rng.random() < 0.1
    if is_planned:
        run_id, content = planned_record().run_id, encode(planned_record())
    path = f"runs/{run_id}/record.json"
    others = [CaseFile(path=f"runs/{other}/record.json", content=other_content)]
    change = rng.choice([*("bytes", "json", "rehashed") * 2, "rehashed", "type", "swap", "note", "beside", "nothing"])
    changed = CaseFile(path=path, content=content)
    match change:
        case "bytes":
            changed = CaseFile(path=path, content=mutations.change_bytes(content, rng))
        case "json":
            changed_json = mutations.change_json(json.loads(content), rng)
            changed = CaseFile(path=path, content=mutations.write_json(changed_json, rng))
        case "rehashed":
            changed = CaseFile(path=path, content=rehash(mutations.change_json(json.loads(content), rng), rng))
        case "type":
            changed = mutations.change_type(path, rng)
        case "swap":
            changed = CaseFile(path=path, content=other_content)
        case "note":
            note = mutations.change_bytes(b"a note about a run\n", rng)
            others.append(CaseFile(path=f"runs/{run_id}/note.txt", content=note))
        case "beside":
            others.append(_odd_neighbour(run_id, rng))
    # A changed record with a new, right hash counts as damaged only if its run_id differs from the one in its path.
    is_damaged = not _is_equal_json(changed.content, content)
    if change == "rehashed":
        is_damaged = _run_id_of(changed.content) != run_id
    command = _RUN if is_planned else rng.choice(_commands(run_id, other, rng))
    expected: Expected = "any"
    if is_damaged:
        expected = command.damaged
    elif change in ("note", "nothing") and command.valid:
        expected = "accepted"
    elif change == "rehashed" and command.arguments[:1] == ("verify",) and not _has_own_run_id(changed.content):
        expected = "refused"
    return FuzzCase(
        kind="records",
        number=number,
        files=(*others, changed),
        arguments=command.arguments,
        function=command.function,
        expected=expected,
        absent=run_id if is_damaged and command.lists else "",
        ignored=path if is_damaged and command.computes else "",
        change=f"{change} of {path}",
    )


def _odd_neighbour(run_id: str, rng: random.Random) -> CaseFile:
    """Return a damaged file of a kind that is stored beside records."""
    name = rng.choice(["final.safetensors", f"attestation-{'0' * 16}-{'0' * 8}.json", "ledger.jsonl", "worker.log"])
    path = f"runs/{name}" if name == "ledger.jsonl" else f"runs/{run_id}/{name}"
    if rng.random() < 0.5:
        return mutations.change_type(path, rng)
    entry = {"schema": 1, "previous": "", "time": "", "event": "finished", "run_id": run_id, "attempt": 1}
    changed = mutations.change_bytes(mutations.write_json(mutations.change_json(entry, rng), rng), rng)
    return CaseFile(path=path, content=changed + b"\n" * rng.randrange(2))


class RecordCommand(NamedTuple):
    """A command that reads the records below the folder `runs`.

    Args:
        arguments: arguments of `bench`.
        damaged: the expected outcome if a record is damaged.
        lists: whether stdout names the valid records. It must then not name a damaged record.
        computes: whether the command must ignore a damaged record, so that its result is the same without it.
        valid: whether the command succeeds with valid records.
        function: name of a function of the package `harness`; empty for `bench`.
    """

    arguments: tuple[str, ...]
    damaged: Expected = "any"
    lists: bool = False
    computes: bool = False
    valid: bool = True
    function: str = ""


#: The command plans one trial, and runs it unless a valid record of it exists.
_RUN = RecordCommand(("run", "-s", "wsd", "-w", "lm-tiny"), "trial")


def _commands(run_id: str, other: str, rng: random.Random) -> list[RecordCommand]:
    """Return the commands that may read the changed record, with random options."""
    as_json = rng.choice([(), ("--json",)])
    leaderboard_by, form = (
        rng.choice(["examples", "steps", "metric@1000"]),
        rng.choice(["table", "md", "csv", "json", "html"]),
    )
    workload, by = (
        rng.choice(["lm-tiny", "continual-digits", "curriculum-lm"]),
        rng.choice(["time", "examples", "steps"]),
    )
    return [
        RecordCommand(("results", "verify", "runs", *as_json), "refused"),
        RecordCommand(("verify", "runs", "--no-weights", *as_json), "refused", valid=False),
        RecordCommand(
            ("runs", *rng.choice([(), ("--json",), ("--sort", "metric"), ("--failed",)])), lists=True, computes=True
        ),
        RecordCommand(("leaderboard", "--format", form), computes=True),
        RecordCommand(("leaderboard", "--by", leaderboard_by), computes=True, valid=False),
        RecordCommand(("show", f"runs/{run_id}", *as_json), "refused", lists=True),
        RecordCommand(("show", run_id[:8]), "refused", lists=True),
        RecordCommand(("diff", run_id, other, *as_json), "refused"),
        RecordCommand(("best", workload), computes=True, valid=False),
        RecordCommand(("compare", "wsd", "adamw-cosine", "--by", by), computes=True, valid=False),
        RecordCommand(("report", REPORT, "--runs", "runs"), computes=True),
        RecordCommand(("note", run_id, *rng.choice([(), ("words",)]))),
        RecordCommand(("rerun", run_id, "--max-minutes", "1", "--nonce", "local"), "refused", valid=False),
        RecordCommand(("run", "--dry-run", "-s", "wsd", "-w", "lm-tiny")),
        RecordCommand((), function="load_results", computes=True),
    ]


def _run_id_of(content: bytes) -> str | None:
    """Return the run_id that a record states; None if the content is not a JSON object with a run_id."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value.get("run_id") if isinstance(value, dict) else None


def _has_own_run_id(content: bytes) -> bool:
    """Return whether a record states the run_id of its specification; True if the run_id cannot be computed."""
    try:
        return layout.run_id_of_json(content) == _run_id_of(content)
    except Exception:
        return True


def rehash(value: Any, rng: random.Random) -> bytes:
    """Return a changed record as JSON with a right content hash. Its run_id is often computed again too."""
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
    """Return whether both JSON texts are equal, apart from white space and the order of keys."""
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
    # An index that is a link to itself or to a missing file is harmless: it is computed again from the shard.
    is_harmless = (
        changed.target in ("missing", path.rpartition("/")[2])
        if path.endswith(_INDEX)
        else changed.content == files[path]
    )
    if changed.type == "file" and path.endswith(_INDEX):
        is_harmless = _is_equal_index(changed.content, index)
    run_id = rng.choice(sample_files())[0]
    # A damaged index may concern one record only. A damaged shard concerns all records.
    expected_of_show: Expected = "any" if path.endswith(_INDEX) else "refused"
    commands: list[tuple[tuple[str, ...], Expected]] = [
        (("results", "verify", "results"), "refused"),
        (("verify", "results", "--no-weights"), "refused"),
        (("results", "unpack", "results"), "refused"),
        (("results", "pack", "results"), "any"),
        (("leaderboard", "--runs", "none"), "any"),
        (("runs", "--runs", "none", "--json"), "any"),
        (("best", "lm-tiny", "--runs", "none"), "any"),
        (("show", run_id, "--runs", "none"), expected_of_show),
        (("show", f"results/{run_id}.json"), expected_of_show),
    ]
    arguments, expected = rng.choice(commands)
    computes = arguments[0] in ("leaderboard", "runs", "best") and expected_of_show == "refused"
    return FuzzCase(
        kind="records",
        number=number,
        files=(*(CaseFile(path=p, content=c) for p, c in files.items() if p != path), changed),
        arguments=arguments,
        expected="any" if is_harmless else expected,
        ignored=path if computes and not is_harmless else "",
        change=f"{path} as {changed.type}",
    )


def _is_equal_index(changed: bytes, index: bytes) -> bool:
    """Return whether both texts are the same index."""
    try:
        return msgspec.json.decode(changed, type=ShardIndex) == msgspec.json.decode(index, type=ShardIndex)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return False
