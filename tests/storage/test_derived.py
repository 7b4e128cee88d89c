"""Files of stored values: damage, several writers, limits, and a cache folder that cannot be used."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from array import array
from pathlib import Path

import msgspec
import pytest

import harness
from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.scoring.time_to_target import Floats
from harness.storage import derived
from harness.storage.derived import DerivedValues
from tests.report import synthetic

SPEC = synthetic.record().spec


class Value(msgspec.Struct):
    run_id: str
    number: int = 0
    floats: Floats = array("d", [0.1, float("inf")])
    content_hash: str = ""
    spec: RunSpec = SPEC


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(derived, "MIN_VALUES", 2)
    monkeypatch.setattr(derived, "_SETTLED_S", -1)
    return tmp_path / "cache" / derived.FOLDER


def compute(record: Record) -> Value | None:
    return Value(record.run_id)


def opened(parameters: str = "", folder: str = "runs") -> DerivedValues[Value]:
    return DerivedValues(Value, compute, parameters, [Path(folder)])


def digest(number: int) -> bytes:
    return hashlib.sha256(bytes([number])).digest()


def save(*numbers: int, parameters: str = "", folder: str = "runs") -> None:
    values = opened(parameters, folder)
    for number in numbers:
        values.add(digest(number), Value(str(number), number))
    values.save()


def stored(*numbers: int, parameters: str = "", folder: str = "runs") -> list[int]:
    values = opened(parameters, folder)
    return [value.number for number in numbers if (value := values.find(digest(number))) is not None]


def test_values_survive_the_process(cache: Path) -> None:
    save(1, 2)
    assert stored(1, 2, 3) == [1, 2]
    assert opened().find(digest(1)) == Value("1", 1)
    assert stored(1, parameters="other") == stored(1, folder="other") == []


def test_damage_is_noticed_wherever_it_is(cache: Path) -> None:
    save(1, 2)
    (path,) = cache.iterdir()
    content = path.read_bytes()
    for position in range(0, len(content), 13):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        assert stored(1, 2) == [], position
        path.write_bytes(content[:position])
        assert stored(1, 2) == [], position
    foreign = msgspec.msgpack.encode((opened()._key, {digest(1): {"run_id": 3}, digest(2): 1}))
    for other in (b"", b"{}", foreign, hashlib.sha256(foreign).digest() + foreign, hashlib.sha256(b"").digest()):
        path.write_bytes(other)
        assert stored(1, 2) == []
    path.unlink()
    os.mkfifo(path)
    assert stored(1, 2) == []
    path.unlink()
    save(1, 2)
    assert path.read_bytes() == content


def test_the_last_of_two_writers_wins(cache: Path) -> None:
    first, second = opened(), opened()
    for number in (1, 2, 3):
        first.add(digest(number), Value(str(number), number))
        second.add(digest(10 * number), Value(str(number), 10 * number))
    first.save()
    second.save()
    assert stored(1, 2, 3, 10, 20, 30) == [10, 20, 30]
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("blocked", ["cache", "tables"])
def test_no_usable_cache_folder_is_no_error(cache: Path, blocked: str) -> None:
    place = cache if blocked == "tables" else cache.parent
    place.parent.mkdir(exist_ok=True)
    place.touch()
    save(1, 2)
    assert stored(1, 2) == []


def test_a_read_only_cache_is_read(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(1, 2)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    for name in ("utime", "replace", "mkdir", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    save(3, 4)
    assert stored(1, 2, 3) == [1, 2]


def test_a_file_contains_the_values_that_were_used_last(cache: Path) -> None:
    save(*range(20))
    (path,) = cache.iterdir()
    before = path.read_bytes()
    values = opened()
    for number in range(18):
        values.find(digest(number))
    values.save()
    assert path.read_bytes() == before, "a few unused values are kept"
    values = opened()
    for number in range(10):
        values.find(digest(number))
    values.save()
    assert stored(*range(20)) == list(range(10))


def test_sizes_are_limited(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(1)
    assert not cache.exists(), "a single value is not worth a file"
    monkeypatch.setattr(derived, "MAX_FILES", 3)
    for number in range(6):
        save(1, 2, parameters=str(number))
        for path in cache.iterdir():
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**12))
    assert [stored(1, parameters=str(number)) for number in range(6)] == [[], [], [], [1], [1], [1]]
    old, young = cache / ".old.1.tmp", cache / ".young.1.tmp"
    for temporary in (old, young):
        temporary.touch()
    os.utime(old, (0, 0))
    monkeypatch.setattr(derived, "MAX_FILE_BYTES", 100)
    save(1, 2, parameters="large")
    assert stored(1, parameters="large") == []
    size = len(msgspec.msgpack.encode(SPEC)) + 200
    monkeypatch.setattr(derived, "MAX_FILE_BYTES", 3 * size)
    save(1, 2, 3, 4, 5, parameters="limited")
    assert stored(1, 2, 3, 4, 5, parameters="limited") == [1, 2, 3]
    assert not old.exists()
    assert young.exists()


def test_a_value_that_cannot_be_stored_is_left_out(cache: Path) -> None:
    values = opened()
    for number in (1, 2, 2**70):
        values.add(digest(number % 251), Value("", number))
    values.save()
    assert stored(1, 2, 2**70 % 251) == [1, 2]


def test_the_source_hash_covers_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "harness"
    (root / "scoring").mkdir(parents=True)
    for name in ("__init__.py", "scoring/summary.py"):
        shutil.copy(Path(harness.__file__).parent / name, root / name)
    monkeypatch.setattr(harness, "__file__", str(root / "__init__.py"))
    read = derived._read_source.__wrapped__
    first, changed = read()
    assert (first, changed) == read()
    with (root / "scoring" / "summary.py").open("a") as file:
        file.write("\n")
    assert len({first, read()[0]}) == 2
    (root / "scoring" / "new.py").touch()
    assert read()[0] not in (first, "")
    monkeypatch.setattr(harness, "__file__", str(tmp_path / "archive.zip" / "__init__.py"))
    assert read() == ("", 0.0)


def test_nothing_is_stored_just_after_the_source_changed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derived, "_SETTLED_S", 10**12)
    save(1, 2)
    assert not cache.exists()


def test_without_source_nothing_is_stored(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derived, "_read_source", lambda: ("", 0.0))
    save(1, 2)
    assert stored(1, 2) == []
    assert not cache.exists()
