"""Records on disk, and the command line in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from harness import cli
from tests.report import synthetic


class Result(NamedTuple):
    code: int
    out: str
    err: str


Bench = Callable[..., Result]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Run `bench` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str) -> Result:
        code = cli.invoke(list(arguments))
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A runs folder with the synthetic field, where `bench` looks for it."""
    return synthetic.write(tmp_path / "runs", synthetic.field())
