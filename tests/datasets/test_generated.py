"""The cache of generated arrays: the same values, whatever happens to its files."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.datasets import generated
from harness.datasets.generated import cache_use, cached_arrays, clear_cache
from harness.plugins import loading


class Generator:
    """Makes arrays and counts how often."""

    def __init__(self, **arrays: Any) -> None:
        self.arrays = arrays
        self.calls = 0

    def __call__(self) -> dict[str, Any]:
        self.calls += 1
        return self.arrays


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    Generator.__module__ = __name__
    return tmp_path / "data" / generated.FOLDER


def read(key: str, make: Any) -> dict[str, Any]:
    return cached_arrays(key, make)


DTYPES = st.sampled_from([np.uint8, np.int64, np.float32, np.float64, np.bool_]).map(np.dtype)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(max_size=5), hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)), max_size=4
    ),
    st.text(max_size=20),
)
def test_arrays_that_are_read_are_bit_for_bit_those_that_were_generated(arrays: dict[str, Any], key: str) -> None:
    clear_cache()
    make = Generator(**{f"_{name}": array for name, array in arrays.items()})
    generated_arrays, read_arrays = read(key, make), read(key, make)
    assert make.calls == 1
    for values in (generated_arrays, read_arrays):
        assert list(values) == list(make.arrays)
        for name, value in make.arrays.items():
            assert (values[name].dtype, values[name].shape) == (value.dtype, value.shape)
            assert values[name].tobytes() == value.tobytes()
            assert not values[name].flags.writeable


def test_another_key_is_another_entry(folder: Path) -> None:
    one, two = Generator(x=np.arange(3)), Generator(x=np.arange(4))
    assert len(read("a", one)["x"]) == 3
    assert len(read("b", two)["x"]) == 4
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("changed", ["helper", "numpy", "processor"])
def test_an_edited_source_another_numpy_or_another_processor_generates_again(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "pkg_for_cache"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("N = 2\n")
    lines = ("import numpy as np", "from pkg_for_cache.helper import N", "make = lambda: {'x': np.arange(N)}")
    (package / "made.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    make = loading.load_object("pkg_for_cache.made:make")
    assert read("k", make)["x"].tolist() == [0, 1]
    monkeypatch.setattr(generated, "_module_hash", generated._module_hash.__wrapped__)  # a new process
    if changed == "helper":
        (package / "helper.py").write_text("N = 3\n")
    elif changed == "numpy":
        monkeypatch.setattr(np, "__version__", "0")
    else:
        monkeypatch.setattr("harness.hardware.detect.cpu_name", lambda: "another")
    read("k", make)
    assert cache_use().entries == 2


def test_a_single_file_with_a_workload_is_identified_by_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "task.py"
    source.write_text("import numpy as np\n\ndef make():\n    return {'x': np.arange(2)}\n")
    read("k", loading.load_object(f"{source}:make"))
    other = tmp_path / "other" / "task.py"
    other.parent.mkdir()
    other.write_text("import numpy as np\n\ndef make():\n    return {'x': np.arange(5)}\n")
    assert len(read("k", loading.load_object(f"{other}:make"))["x"]) == 5


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "text", "longer"])
def test_a_damaged_entry_is_generated_again(damage: str, folder: Path) -> None:
    make = Generator(x=np.arange(1000))
    read("k", make)
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {
        "flip": bytes(content),
        "truncate": path.read_bytes()[:-100],
        "empty": b"",
        "text": b"no entry",
        "longer": path.read_bytes() + b"x",
    }[damage]
    path.write_bytes(damaged)
    assert read("k", make)["x"].tolist() == list(range(1000))
    assert make.calls == 2
    read("k", make)
    assert make.calls == 2, "it was repaired"


def test_arrays_stay_valid_when_their_entry_is_replaced_or_removed(folder: Path) -> None:
    make = Generator(x=np.arange(1000))
    read("k", make)
    first = read("k", make)["x"]
    clear_cache()
    assert not list(folder.iterdir())
    read("k", make)
    assert first.tolist() == list(range(1000))


def test_a_folder_that_cannot_be_written_is_no_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.parent.parent.mkdir(exist_ok=True)
    folder.parent.write_text("a file where a folder should be")
    make = Generator(x=np.arange(3))
    assert read("k", make)["x"].tolist() == [0, 1, 2]
    assert read("k", make)["x"].tolist() == [0, 1, 2]
    assert make.calls == 2
    assert capsys.readouterr() == ("", "")
    assert cache_use().entries == 0


def test_the_entries_that_were_not_read_for_longest_are_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Generator(x=np.zeros(1000, np.uint8))
    read("a", make)
    (a,) = folder.iterdir()
    read("b", make)
    (b,) = set(folder.iterdir()) - {a}
    os.utime(a, (1e9, 1e9))
    os.utime(b, (2e9, 2e9))
    read("a", make)  # sets its time of reading to now
    os.utime(b, (1e9, 1e9))
    limit = 5 * a.stat().st_size
    monkeypatch.setattr(generated, "MAX_BYTES", limit)
    for key in "cdef":
        read(key, make)
    assert a.exists()
    assert not b.exists()
    assert cache_use().size <= limit


def test_an_entry_that_would_fill_the_cache_is_not_stored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generated, "MAX_BYTES", 1000)
    read("k", Generator(x=np.zeros(1000)))
    assert not folder.exists()


def test_a_killed_writers_litter_is_removed_later_and_a_running_writers_file_is_not(folder: Path) -> None:
    folder.mkdir(parents=True)
    old, new = folder / ".a.arrays.1.tmp", folder / ".b.arrays.2.tmp"
    old.touch()
    new.touch()
    os.utime(old, (1e9, 1e9))
    read("k", Generator(x=np.arange(3)))
    assert not old.exists()
    assert new.exists()


def _read_in_child(_: int) -> int:
    return int(read("k", Generator(x=np.arange(100_000)))["x"].sum())


def test_several_processes_write_the_same_entry_at_once(folder: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert set(pool.map(_read_in_child, range(16))) == {sum(range(100_000))}
    assert [path.suffix for path in folder.iterdir()] == [".arrays"]


def test_arrays_of_secret_seeds_are_not_stored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A submission can read the cache, and would find the held-out data of its own run there."""
    monkeypatch.setattr(generated, "_excluded_texts", set())
    generated.exclude_from_cache(["5" * 64])
    make = Generator(a=np.arange(3))
    for key in (f"documents held-out/score/{'5' * 64}", f"documents held-out/score/{'5' * 64}", "documents"):
        assert (read(key, make)["a"] == np.arange(3)).all()
    assert make.calls == 3
    assert len(list(folder.iterdir())) == 1
