"""A folder that may not be listed is named once, wherever records are read; everything beside it is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import cli
from harness.contract.entries import DatasetEntry, DatasetFile
from harness.datasets import manage
from harness.errors import DataError
from harness.scoring.algoperf import logs, target_files
from harness.storage import packing, records, verification
from harness.storage.shards import FolderReport
from tests.report import synthetic

LINE = "cannot read {path}: Permission denied (check that it exists and that you may read it)"


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder beside a readable record. Its listing is refused, even for a user who may read everything."""
    synthetic.write(tmp_path / "results" / "open", [synthetic.record("alpha")])
    synthetic.write(tmp_path / "results" / "closed" / "below", [synthetic.record("beta")])
    refuse(monkeypatch, "closed", PermissionError(13, "Permission denied"))
    return tmp_path / "results" / "closed"


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, error: OSError) -> None:
    scandir = os.scandir

    def scan(path: Any = ".") -> Any:
        if not isinstance(path, int) and Path(path).name == name:
            error.filename = os.fspath(path)
            raise error
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)


def test_records_beside_it_are_read(closed: Path) -> None:
    problems: list[str] = []
    found_records = list(records.iter_records([closed.parent], problems))
    assert [record.spec.submission.name for record in found_records] == ["alpha"]
    assert problems == [LINE.format(path=closed)]
    assert harness.load_results(closed.parent).attrs["left_out"] == problems


@pytest.mark.parametrize("command", ["leaderboard", "runs", "report"])
def test_commands_name_it_once(closed: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = [str(closed.parent / "page.html")] if command == "report" else []
    arguments = [command, *page, "--runs", str(closed.parent / "none"), "--results", str(closed.parent)]
    assert cli.invoke(arguments) == 0
    assert capsys.readouterr().err.count(LINE.format(path=closed)) == 1


@pytest.mark.parametrize("action", [verification.verify, packing.pack, packing.unpack])
def test_reports_of_folders_name_it(closed: Path, action: Callable[[Path], Iterable[FolderReport]]) -> None:
    problems = [problem for report in action(closed.parent) for problem in report.problems]
    assert problems.count(LINE.format(path=closed)) == 1


def test_the_folder_itself(closed: Path) -> None:
    problems: list[str] = []
    assert list(records.iter_records([closed], problems)) == []
    assert problems == [LINE.format(path=closed)]


def test_a_folder_that_was_moved_meanwhile_is_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.write(tmp_path / "moved", [synthetic.record("alpha")])
    refuse(monkeypatch, "moved", FileNotFoundError(2, "No such file or directory"))
    problems: list[str] = []
    assert list(records.iter_records([tmp_path], problems)) == []
    assert problems == []


@pytest.mark.parametrize("level", ["b", "study_1", "fastmri_pytorch"])
def test_algoperf_logs(tmp_path: Path, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("a/study_0/fastmri_jax", "a/study_1/fastmri_pytorch", "b/study_1/fastmri_pytorch"):
        trial = tmp_path / place / "trial_1"
        trial.mkdir(parents=True)
        (trial / logs.MEASUREMENTS).write_text("score,validation/ssim\n10,0.9\n")
    refuse(monkeypatch, level, PermissionError(13, "Permission denied"))
    read = logs.read_logs(tmp_path, {"fastmri": target_files.make_target("fastmri", "ssim", 0.7)})
    assert read.times()["a"]["fastmri"] == 10.0
    refused = [s.item for s in read.skipped if s.reason == "cannot list the folder: Permission denied"]
    expected = {"b": ["b"], "study_1": ["a/study_1", "b/study_1"]}
    assert refused == expected.get(level, ["a/study_1/fastmri_pytorch", "b/study_1/fastmri_pytorch"])


def test_a_folder_in_which_a_dataset_is_searched(closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    file = DatasetFile(name="a.bin", urls=("https://example.org/a.bin",))
    entry = DatasetEntry(name="toy", title="a toy", licence="CC0-1.0", files=(file,))
    with pytest.raises(DataError, match=rf"there is no a\.bin below .*; the folder {closed} cannot be listed"):
        manage.import_folder(entry, closed.parent)


@pytest.mark.parametrize("name", ["run-1/record.json", "run-0123456789abcdef.json", "records-0001.jsonl.xz"])
@pytest.mark.parametrize("is_link", [False, True])
def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path, name: str, is_link: bool) -> None:
    path = tmp_path / "results" / name
    (tmp_path / "folder").mkdir()
    path.parent.mkdir(parents=True)
    if is_link:
        path.symlink_to(tmp_path / "folder")
    else:
        path.mkdir()
    _, problems = records.read_all([tmp_path / "results"])
    verified = [problem for report in verification.verify(tmp_path / "results") for problem in report.problems]
    for messages in (problems, verified):
        assert len(messages) == 1
        assert str(path) in messages[0]
