"""The end of a run that raises an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BenchError, DamagedError, RejectedError, StoreError
from harness.worker.failures import describe_failure
from tests.helpers import folder_of, run_here, spec_of, submission


@pytest.mark.parametrize(
    ("name", "status", "word"),
    [
        ("ToNan", "diverged", "nan"),
        ("DecomposesNan", "diverged", "submissions_for_tests.py:"),
        ("DecomposesOverflow", "diverged", "a matrix decomposition failed"),
        ("RaisesOnNanWeight", "diverged", "the weight"),
        ("RaisesOnInfiniteGradient", "diverged", "the gradient of"),
        ("RaisesOnNanLoss", "diverged", "the training loss is nan"),
        ("Raises", "crashed", "the submission's own mistake"),
        ("TooMuchMemory", "out-of-memory", "memory"),
        ("KeepsASet", "crashed", "state['submission']['seen'] is a set"),
        ("KeepsADefaultDict", "crashed", "state['submission']['counts'] is a defaultdict"),
    ],
)
def test_every_end_is_a_record(name: str, status: str, word: str, tmp_path: Path) -> None:
    record = run_here(spec_of(submission(f"tests.submissions_for_tests:{name}")), tmp_path)
    assert record.status == status
    assert word in record.reason
    assert folder_of(record.spec, tmp_path).record() == record


def test_a_crash_says_where(tmp_path: Path) -> None:
    record = run_here(spec_of(submission("tests.submissions_for_tests:Raises")), tmp_path)
    assert "submissions_for_tests.py:" in record.reason


def test_what_an_error_means() -> None:
    spec = spec_of(submission("tests.submissions_for_tests:Base"))
    full = StoreError("cannot write checkpoint.pt")
    full.__cause__ = OSError(28, "No space left on device")
    for error, status in (
        (RejectedError("a rule is broken"), "rejected"),
        (MemoryError(), "out-of-memory"),
        (full, "interrupted"),
        (DamagedError("cut off"), "crashed"),
        (BenchError("something is wrong", fix="do this"), "crashed"),
    ):
        assert describe_failure(error, spec).status == status
    assert (
        describe_failure(BenchError("something is wrong", fix="do this"), spec).reason == "something is wrong (do this)"
    )
    assert describe_failure(MemoryError(), spec).reason


@pytest.mark.parametrize("confined", [True, False])
def test_what_the_sandbox_stops_is_named(confined: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.system.sandbox.is_confined", lambda: confined)
    spec = spec_of(submission("tests.submissions_for_tests:Base"))
    reason = describe_failure(PermissionError(13, "Permission denied", "/tmp/x"), spec).reason
    assert ("BENCH_SANDBOX=none turns it off" in reason) is confined
    assert "sandbox" not in describe_failure(FileNotFoundError(2, "No such file", "/tmp/x"), spec).reason
