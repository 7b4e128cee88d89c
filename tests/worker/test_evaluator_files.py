"""The evaluator's files belong to the checkpoints that the training loop has written, and to no others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.storage.layout import EVALUATOR, run_id
from harness.worker import checkpoint
from harness.worker.evaluator_files import EvaluatorFiles, digest
from tests.helpers import spec_of, submission

SPEC = spec_of(submission("tests.submissions_for_tests:Base"))


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    """The worker's folder, in the folder of the run."""
    folder = tmp_path / "worker"
    folder.mkdir()
    return folder


def save(files: EvaluatorFiles, worker: Path, points: int) -> None:
    """Write a checkpoint and the evaluator's file, as worker and evaluator do."""
    checkpoint.stage(worker, {"points": points}, run_id(SPEC))
    files.save(points, {"results": points})
    checkpoint.commit(worker)


def test_the_last_two_checkpoints_are_accepted(tmp_path: Path, worker: Path) -> None:
    files = EvaluatorFiles(tmp_path, SPEC, worker)
    for points in (1, 2, 3):
        save(files, worker, points)
    assert files.load(3) == {"results": 3}
    assert files.load(2) == {"results": 2}
    assert files.load(1) is None, "its checkpoint is gone"


def test_a_worker_that_was_killed_before_the_commit_goes_on_from_the_checkpoint_before(
    tmp_path: Path, worker: Path
) -> None:
    files = EvaluatorFiles(tmp_path, SPEC, worker)
    save(files, worker, 1)
    checkpoint.stage(worker, {"points": 2}, run_id(SPEC))
    files.save(2, {"results": 2})
    assert files.load(1) == {"results": 1}
    assert files.load(2) is None


def test_a_checkpoint_that_the_loop_did_not_write_is_not_accepted(tmp_path: Path, worker: Path) -> None:
    files = EvaluatorFiles(tmp_path, SPEC, worker)
    save(files, worker, 1)
    honest = (worker / checkpoint.CURRENT).read_bytes()
    checkpoint.write(worker / checkpoint.CURRENT, {"points": 1, "weights": "better"}, run_id(SPEC))
    assert files.load(1) is None
    (worker / checkpoint.CURRENT).write_bytes(honest)
    assert files.load(1) == {"results": 1}


def test_links_and_pipes_are_no_checkpoints(tmp_path: Path, worker: Path) -> None:
    files = EvaluatorFiles(tmp_path, SPEC, worker)
    save(files, worker, 1)
    current = worker / checkpoint.CURRENT
    current.rename(worker / "moved")
    current.symlink_to(worker / "moved")
    assert files.load(1) is None
    current.unlink()
    os.mkfifo(current)
    assert files.load(1) is None
    assert digest(worker / "missing") == ""


def test_a_file_that_names_no_checkpoint_is_not_accepted(tmp_path: Path, worker: Path) -> None:
    (tmp_path / EVALUATOR).mkdir()
    checkpoint.write(worker / checkpoint.CURRENT, {"points": 1}, run_id(SPEC))
    checkpoint.write(tmp_path / EVALUATOR / "1.pt", {"results": 1}, run_id(SPEC))
    assert EvaluatorFiles(tmp_path, SPEC, worker).load(1) is None
