"""The state of a run: what a checkpoint holds, and that a resumed run ends as an uninterrupted one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.contract.entries import WorkloadEntry
from harness.contract.run import RunSpec
from harness.execution.state import Interrupted
from harness.execution.trial import run_trial
from harness.worker import checkpoint
from tests import micro
from tests.helpers import Remember, folder_of, outcome, run_here, spec_of, submission
from tests.worker import ranked
from tests.worker.interrupt import StopAt, disturb_randomness, interrupted_run


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["Base", "Noisy", "Averaged", "Decaying", "Plain", "Freezes", "HalfMomentum", "Shrinks", "TensorRate"]
)
@pytest.mark.parametrize("workload", [micro.ENTRY, micro.STREAM_ENTRY], ids=["pool", "stream"])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(name: str, workload: WorkloadEntry, tmp_path: Path) -> None:
    spec = spec_of(submission(f"tests.submissions_for_tests:{name}"), workload)
    whole = run_here(spec, tmp_path / "whole")
    disturb_randomness()
    broken = interrupted_run(spec, tmp_path / "broken", [2, 1])
    assert outcome(broken) == outcome(whole)
    assert len(whole.points) > 2


def checkpoint_of(spec: RunSpec, runs: Path) -> dict[str, Any]:
    """The checkpoint of a trial that is interrupted after its second evaluation."""
    with pytest.raises(Interrupted):
        run_trial(spec, runs, Remember(), transport=StopAt(2))
    state, warnings = checkpoint.load(folder_of(spec, runs).worker_path, folder_of(spec, runs).identity)
    assert state is not None
    assert not warnings
    return state


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workload", "ranks"),
    [(micro.ENTRY, 1), (micro.STREAM_ENTRY, 1), (ranked.entry(ranked.Parted), 1), (micro.ENTRY, 2)],
    ids=["pool", "stream", "micro-batches", "two ranks"],
)
def test_a_checkpoint_has_these_keys(workload: WorkloadEntry, ranks: int, tmp_path: Path) -> None:
    """Checkpoints outlive versions: with other keys, the number in the header of a checkpoint rises."""
    spec = msgspec.structs.replace(spec_of(submission("tests.submissions_for_tests:Base"), workload), ranks=ranks)
    state = checkpoint_of(spec, tmp_path)
    assert set(state) == {
        *("model", "flags", "submission", "work", "rng", "own", "points", "stage", "feedback", "clock", "usage"),
        *("phases", "ranks"),
    }
    assert set(state["work"]) == {
        *("position", "replay", "examples", "gradient_examples", "forward_examples", "steps"),
        "seeds_passes",
    }
    is_stream = workload is micro.STREAM_ENTRY
    order = {"permutation", "position", "generator"}
    assert set(state["work"]["position"]) == ({"stage", "order", "drawn"} if is_stream else order | {"drawn"})
    if is_stream:
        assert set(state["work"]["position"]["order"]) == order
        assert set(state["work"]["replay"]) == {"store", "size", "seen", "generator"}
    assert set(state["rng"]) == {"torch", "numpy", "python", "cuda"}
    assert [set(rank) for rank in state["ranks"]] == [{"work", "process_seconds"}] * len(state["ranks"])
    assert [set(rank["work"]) for rank in state["ranks"]] == [{"micro_batch"}] * len(state["ranks"])
    in_parts = ranks > 1 or workload not in (micro.ENTRY, micro.STREAM_ENTRY)
    assert len(state["ranks"]) == (ranks if in_parts else 0)


def test_a_checkpoint_of_an_earlier_version_is_not_resumed(tmp_path: Path) -> None:
    """The run starts from the beginning and says so."""
    spec = spec_of(submission("tests.submissions_for_tests:Base"), smoke=True)
    checkpoint_of(spec, tmp_path)
    for path in folder_of(spec, tmp_path).worker_path.glob("checkpoint*.pt"):
        path.write_bytes(path.read_bytes().replace(b"bench-checkpoint-3 ", b"bench-checkpoint-2 ", 1))
    watcher = Remember()
    record = run_here(spec, tmp_path, watcher)
    assert record.status == "exhausted", record.reason
    assert watcher.resumed == [0]
    assert "header of a checkpoint of this version; it was renamed" in watcher.warnings[0]
    assert "the run starts from the beginning" in watcher.warnings[-1]
