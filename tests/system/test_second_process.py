"""A second process returns what it wrote, or nothing."""

from __future__ import annotations

import os
import tempfile
import threading
from typing import IO

import pytest

from harness.system import second_process
from harness.system.second_process import SecondProcess


@pytest.fixture(autouse=True)
def _can_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_process, "_can_fork", lambda: True)


def write(output: IO[bytes]) -> None:
    output.write(b"x" * 1_000_000)


def test_the_results_are_those_of_another_process() -> None:
    with SecondProcess(lambda output: output.write(str(os.getpid()).encode())) as second:
        results = second.results()
        assert results is not None
        assert results.read() != str(os.getpid()).encode()
    with SecondProcess(write) as second:
        results = second.results()
        assert results is not None
        assert len(results.read()) == 1_000_000


def test_an_error_gives_no_results(capfd: pytest.CaptureFixture[str]) -> None:
    def fail(output: IO[bytes]) -> None:
        write(output)
        raise KeyboardInterrupt

    with SecondProcess(fail) as second:
        assert second.results() is None
    assert capfd.readouterr() == ("", "")


def test_there_is_no_second_process_without_room_or_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("a process was forked"))
    with SecondProcess(write, wanted=False) as second:
        assert second.results() is None

    def full(*_: object) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with SecondProcess(write) as second:
        assert second.results() is None


def test_a_process_with_threads_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    assert not second_process._can_fork()
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    assert second_process._can_fork()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert not second_process._can_fork()
