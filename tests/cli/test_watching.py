"""What is printed while trials run."""

from __future__ import annotations

from typing import Any

import pytest

from harness.cli import watching
from harness.plugins.registry import Registry
from tests.helpers import Remember


def test_what_a_library_prints_while_trials_run_is_no_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    observers: Any = Remember()
    monkeypatch.setattr(watching, "command_observers", lambda registry: observers)
    with watching.watch_trials(Registry([]), 1):
        print("(raylet) a node has died")
    print("the result")
    captured = capsys.readouterr()
    assert captured.out == "the result\n"
    assert "(raylet) a node has died" in captured.err
