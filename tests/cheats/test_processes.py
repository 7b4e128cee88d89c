"""Work in child processes and threads."""

from __future__ import annotations

from pathlib import Path

from tests.cheats.pipeline import is_rejected, linux, run
from tests.cheats.threats import threat
from tests.cheats.ways.honest import BURNED_S
from tests.cheats.ways.processes import SHORT_S


@linux
@threat(
    way="starts a daemon that computes",
    verdict="made useless",
    by="its time is scored; the run is rejected if it uses over 1 s plus 25 % of the scored time off the clock",
)
def test_daemon(tmp_path: Path) -> None:
    record = run("processes:Daemon", tmp_path)
    assert record.status == "reached" or "while the clock was stopped" in record.reason
    assert record.counters.process_seconds > BURNED_S


@linux
@threat(way="starts many children that live for some milliseconds", verdict="made useless", by="their time is scored")
def test_short_lived(tmp_path: Path) -> None:
    record = run("processes:ShortLived", tmp_path)
    assert record.status == "reached", record.reason
    # The kernel gives the time of ended children in ticks of 10 ms.
    assert record.counters.process_seconds > SHORT_S * record.counters.steps - 0.02


@linux
@threat(
    way="ignores SIGCHLD, so that the kernel drops the times of children",
    verdict="caught",
    by="the supervisor reads the signal mask of the worker",
)
def test_forgotten_children(tmp_path: Path) -> None:
    is_rejected(run("processes:Forgets", tmp_path), "SIGCHLD")


@linux
@threat(
    way="runs a thread that never waits",
    verdict="made useless",
    by="its time is scored; the run is rejected if it uses over 1 s plus 25 % of the scored time off the clock",
)
def test_thread(tmp_path: Path) -> None:
    record = run("processes:Thread", tmp_path)
    assert record.status == "reached" or "while the clock was stopped" in record.reason
    assert record.counters.process_seconds > BURNED_S
