"""Cases of data files: datasets in idx, text and token format that are imported, verified and listed.

The datasets are small. They belong to a plugin that `install_plugin` writes, so that their checksums are known.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import random
import struct
from dataclasses import replace
from pathlib import Path

from fuzzing import mutations
from fuzzing.case import CaseFile, Expected, FuzzCase

_PLUGIN = "fuzz_datasets"
_FORMATS = {"idx": "workloads.formats.idx:check", "text": "workloads.formats.text:check"}
_FORMATS["tokens"] = "workloads.formats.shards:check"


@functools.cache
def sample_files() -> dict[str, tuple[str, bytes]]:
    """Return dataset -> name and content of its file."""
    images = struct.pack(">BBBBIII", 0, 0, 8, 3, 4, 5, 5) + bytes(range(100))
    tokens = struct.pack("<256i", 20240520, 1, 50, *[0] * 253) + struct.pack("<50H", 50256, *range(49))
    return {
        "idx": ("images-idx3-ubyte", images),
        "idx-gzip": ("images-idx3-ubyte.gz", gzip.compress(images, mtime=0)),
        "text": ("text.txt", b"To be, or not to be: that is the question.\n" * 20),
        "tokens": ("tokens_000000.bin", tokens),
    }


def install_plugin(site: Path) -> None:
    """Write a plugin to an import folder. It declares each sample twice: with a checksum and without one."""
    entries = []
    for name, (file, content) in sample_files().items():
        digest = hashlib.sha256(content).hexdigest()
        for suffix, checksum in (("", digest), ("-unknown", "")):
            entries.append(
                f"    yield DatasetEntry(name={f'fuzz-{name}{suffix}'!r}, title='a sample', licence='none', "
                f"check={_FORMATS[name.partition('-')[0]]!r}, files=(DatasetFile(name={file!r}, "
                f"size={len(content) if checksum else 0}, sha256={checksum!r}, "
                f"urls=('http://localhost/{file}',)),))"
            )
    source = ["from harness.api import DatasetEntry, DatasetFile, hookimpl", "", "@hookimpl", "def bench_datasets():"]
    write_distribution(site, _PLUGIN, "\n".join([*source, *entries, ""]))


def write_distribution(site: Path, name: str, source: str) -> None:
    """Write the files of a distribution with one module to an import folder."""
    for file in distribution_files(name, source.encode()):
        path = site / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)


def distribution_files(name: str, source: bytes) -> list[CaseFile]:
    """Return the files of a distribution with one module, which is also its entry point."""
    info = f"{name}-1.dist-info"
    return [
        CaseFile(path=f"{name}.py", content=source),
        CaseFile(path=f"{info}/METADATA", content=f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n".encode()),
        CaseFile(path=f"{info}/entry_points.txt", content=f"[bench]\nfuzz = {name}\n".encode()),
    ]


def make_case(number: int, rng: random.Random) -> FuzzCase:
    """Return a case of `bench data`, in most cases with a changed file of a dataset or a changed provenance.json."""
    name, (file_name, content) = rng.choice(list(sample_files().items()))
    dataset = f"fuzz-{name}" + rng.choice(["", "-unknown"])
    return (
        _verify(number, dataset, file_name, content, rng)
        if rng.random() < 0.4
        else _import(number, dataset, file_name, content, rng)
    )


def _change_file(path: str, content: bytes, rng: random.Random) -> CaseFile:
    match rng.randrange(5):
        case 0:
            return mutations.change_type(path, rng)
        case 1 if path.endswith(".gz"):
            # Damaged content in a valid archive, or a bomb (a small archive with large content).
            inner = rng.choice([mutations.change_bytes(gzip.decompress(content), rng), b"\0" * 20_000_000])
            return CaseFile(path=path, content=gzip.compress(inner, mtime=0))
        case 2 if "idx3" in path and not path.endswith(".gz"):
            sizes = [rng.choice([0, 1, 5, 2**31, 2**32 - 1]) for _ in range(3)]
            return CaseFile(path=path, content=struct.pack(">BBBBIII", 0, 0, 8, rng.choice([1, 3, 255]), *sizes))
        case 3 if path.endswith(".bin"):
            header = struct.pack("<iii", 20240520, 1, rng.choice([-1, 0, 2**31 - 1, 49]))
            return CaseFile(path=path, content=header + content[12:])
        case _:
            return CaseFile(path=path, content=mutations.change_bytes(content, rng))


def _limit_size(file: CaseFile, dataset: str) -> CaseFile:
    """Limit the size of a file if its dataset has no published size, because `bench` then hashes the whole file."""
    return replace(file, size=min(file.size, 300 << 20)) if dataset.endswith("-unknown") else file


def _import(number: int, dataset: str, file_name: str, content: bytes, rng: random.Random) -> FuzzCase:
    changed = _limit_size(_change_file(f"source/{rng.choice(['', 'deep/'])}{file_name}", content, rng), dataset)
    if rng.random() < 0.1:
        changed = CaseFile(path=changed.path, content=content)
    files = [changed]
    if rng.random() < 0.2:
        files.append(CaseFile(path=f"source/{rng.choice(mutations.TEXTS)}", content=content))
    options = [o for o in ("--copy", "--accept-checksum", "--json") if rng.random() < 0.3]
    if rng.random() < 0.1:
        options += ["--only", rng.choice([*mutations.TEXTS, file_name])]
    command = rng.choice(
        [
            ("import", dataset, "source"),
            ("import", dataset, rng.choice(["missing", f"source/{file_name}", "source", "/proc/sys/kernel"])),
            (
                "get",
                dataset,
                "--from",
                rng.choice(["source", "missing", "http://localhost:1/x", "file:///x", "ftp://x"]),
            ),
        ]
    )
    is_unchanged = changed.type == "file" and changed.content == content
    # Equal content that was compressed anew counts as changed: the checksum is that of the compressed file.
    is_wrong = not is_unchanged and not dataset.endswith("-unknown") and "--accept-checksum" not in options
    expected: Expected = "refused" if is_wrong and len(files) == 1 and "--only" not in options else "any"
    if is_unchanged and command[-1] == "source" and not {"--only", "--copy"} & {*options}:
        expected = "accepted"
    return FuzzCase(
        kind="data",
        number=number,
        files=tuple(files),
        arguments=("data", *command, *options),
        expected=expected,
        change=f"{file_name} as {changed.type}",
    )


def _verify(number: int, dataset: str, file_name: str, content: bytes, rng: random.Random) -> FuzzCase:
    folder = f"data/{dataset}"
    state = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "state": "ok",
        "origin": "x",
        "time": "",
    }
    provenance = json.dumps({"schema": 1, "files": {file_name: state}}).encode()
    path = f"{folder}/{file_name}"
    files = {
        path: CaseFile(path=path, content=content),
        f"{folder}/provenance.json": CaseFile(path=f"{folder}/provenance.json", content=provenance),
    }
    chosen = rng.choice(list(files))
    expected: Expected = "any"
    if chosen == path:
        files[path] = _limit_size(_change_file(path, content, rng), dataset)
        is_unchanged = files[path].type == "file" and files[path].content == content
        expected = "any" if is_unchanged else "refused"
    else:
        changed = [
            mutations.change_type(chosen, rng),
            CaseFile(path=chosen, content=mutations.change_bytes(provenance, rng)),
            CaseFile(
                path=chosen, content=mutations.write_json(mutations.change_json(json.loads(provenance), rng), rng)
            ),
        ]
        files[chosen] = rng.choice(changed)
        if dataset.endswith("-unknown") and rng.random() < 0.4:
            # Without a published checksum, the file is compared with the checksum in provenance.json.
            digest = hashlib.sha256(content).hexdigest()
            changed_state = {**state, "sha256": rng.choice(["0" * 64, digest.upper(), digest[:-1], ""])}
            other = json.dumps({"schema": 1, "files": {file_name: changed_state}}).encode()
            files[chosen], expected = CaseFile(path=chosen, content=other), "refused"
    commands = [("verify", dataset), ("verify", dataset, "--json"), ("verify",), ("list",), ("list", "--json")]
    command = rng.choice([*commands, ("get", dataset, "--from", "source"), ("clear-generated",)])
    return FuzzCase(
        kind="data",
        number=number,
        files=tuple(files.values()),
        arguments=("data", *command),
        expected=expected if command[:2] == ("verify", dataset) else "any",
        change=f"{chosen} as {files[chosen].type}",
    )
