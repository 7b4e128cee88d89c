"""Candidates of a dataset that are not regular files, or are far too large, are refused at once by one line."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.datasets import manage
from harness.errors import DataError
from tests.datasets.test_manage import CONTENT, dataset


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "toy"


def make_sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(1 << 40)


ODD_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe": (os.mkfifo, "is not a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
    "sparse": (make_sparse, r"has 1,099,511,627,776 bytes, expected 1,024,000"),
    "loop": (lambda path: path.symlink_to(path.name), "cannot read"),
}


@pytest.mark.parametrize("kind", ODD_FILES)
def test_an_odd_candidate_is_refused(tmp_path: Path, kind: str) -> None:
    make, problem = ODD_FILES[kind]
    source = tmp_path / "source"
    source.mkdir()
    make(source / "a.bin")
    with pytest.raises(DataError, match=rf"a\.bin.*{problem}|{problem}.*a\.bin"):
        manage.import_folder(dataset(), source)
    # A good candidate beside it is used.
    (source / "deep").mkdir()
    (source / "deep" / "a.bin").write_bytes(CONTENT)
    assert [state.state for state in manage.import_folder(dataset(), source)] == ["ok"]


@pytest.mark.parametrize("kind", ODD_FILES)
def test_an_odd_installed_file_is_not_good(home: Path, kind: str) -> None:
    home.mkdir(parents=True)
    ODD_FILES[kind][0](home / "a.bin")
    (state,) = manage.verify(dataset())
    assert not state.good


def test_a_file_of_another_size_is_still_compared_by_its_hash(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.bin").write_bytes(CONTENT * 3)
    with pytest.raises(DataError, match="sha256 is"):
        manage.import_folder(dataset(), source)


@pytest.mark.parametrize("error", [ValueError, MemoryError, struct.error])
def test_a_check_that_fails_on_its_input_makes_the_file_damaged(
    home: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def check(path: Path) -> None:
        raise error("cannot reshape array of size 0")

    monkeypatch.setattr("tests.datasets.test_manage.right_format", check)
    home.mkdir(parents=True)
    (home / "a.bin").write_bytes(CONTENT)
    (state,) = manage.verify(dataset(known=False))
    assert state.state == "damaged"
    assert f"({error.__name__}: cannot reshape array of size 0)" in state.detail
