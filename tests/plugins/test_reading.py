"""The time limit of a process that reads a plugin."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from harness.plugins import reading


@pytest.mark.parametrize(
    ("elapsed", "waited", "ended"), [(19.0, 0.0, False), (21.0, 0.0, True), (21.0, 2.0, False), (90.0, 60.0, True)]
)
def test_waiting_for_a_processor_does_not_count(
    elapsed: float, waited: float, ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine, an import takes many times longer. A plugin that hangs waits for nothing."""
    child: Any = object.__new__(reading._Child)
    child._process = SimpleNamespace(pid=1, poll=lambda: None)
    child._deadline = time.monotonic() + 20.0 - elapsed
    child._timed_out = False
    killed: list[bool] = []
    child.kill = lambda: killed.append(True)
    monkeypatch.setattr(reading, "read_processor_wait", lambda pid: waited)
    assert child.has_ended() is ended
    assert child._timed_out is ended
    assert bool(killed) is ended
