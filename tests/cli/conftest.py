"""`bench` in this process, for the tests of commands that need little more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from harness import cli
from tests.storage import published


class Output(NamedTuple):
    code: int
    out: str
    err: str


Bench = Callable[..., Output]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Run `bench` in this process, in a folder with the records of two submissions under `results`."""
    monkeypatch.chdir(tmp_path)
    published.write(tmp_path / "results", "alpha", 0, 1, 2)
    published.write(tmp_path / "results", "beta", 0, 1, 2)

    def call(*arguments: str) -> Output:
        code = cli.invoke(list(arguments))
        return Output(code, *capsys.readouterr())

    return call
