"""More stored examples than allowed, on a stream."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cheats.pipeline import is_rejected, run
from tests.cheats.threats import threat
from tests.micro import STREAM_ENTRY


@threat(
    way="raises the capacity of the replay buffer, or replaces its store",
    verdict="caught",
    by="rule `unchanged_counters`",
)
@pytest.mark.parametrize("name", ["GrowsBuffer", "ReplacesStore"])
def test_larger_buffer(name: str, tmp_path: Path) -> None:
    is_rejected(run(f"states:{name}", tmp_path, STREAM_ENTRY), "the replay buffer has room for")


@threat(way="replaces the replay buffer by a larger one", verdict="caught", by="rule `harness_code`")
def test_other_buffer(tmp_path: Path) -> None:
    is_rejected(run("states:ReplacesBuffer", tmp_path, STREAM_ENTRY), "CountedWork.replay of an object was replaced")


@threat(way="draws examples of a stream by index", verdict="caught", by="rule `draw_by_index`")
def test_draws_by_index(tmp_path: Path) -> None:
    is_rejected(run("states:DrawsByIndex", tmp_path, STREAM_ENTRY), "whose order the workload determines")


@threat(
    way="keeps examples of earlier stages in memory of its own",
    verdict="out of reach",
    by="the memory of a process cannot be limited to a number of examples. Passes over kept examples are counted "
    "and timed. A rerun repeats the gain; reading the source shows it",
)
def test_own_memory(tmp_path: Path) -> None:
    record = run("states:KeepsExamples", tmp_path, STREAM_ENTRY)
    assert record.status == "reached", record.reason
    assert record.counters.gradient_examples > 1.5 * record.counters.examples
