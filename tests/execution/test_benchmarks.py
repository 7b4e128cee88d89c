"""Benchmarks still run, and refuse options with which nothing is measured; what they measure is for people to read."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.execution.helpers import ROOT


@pytest.mark.slow
def test_the_benchmark_of_sweeps_runs() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "sweep.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for line in (r"cost per trial: -?\d+ ms", r"plan: .* 200 trials", r"resume: .* 200 finished", r"two workers: \d"):
        assert re.search(line, done.stdout), done.stdout


def load_benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the module that defines them
    spec.loader.exec_module(module)
    return module


def test_the_benchmark_of_optimizers_says_that_nothing_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = load_benchmark("optimizers")

    def build(*_: Any) -> Any:
        raise ModuleNotFoundError(name="pytorch_optimizer")

    monkeypatch.setattr(benchmark, "LIBRARY", {"sgdw": build})
    monkeypatch.setattr(benchmark, "_skip_timm_models", lambda: None)
    for arguments, code in ((["--only", "nosuch"], 2), (["--steps", "3"], 2), ([], "nothing was measured")):
        monkeypatch.setattr(sys, "argv", ["optimizers.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            benchmark.main()
        assert str(ended.value.code).startswith(str(code))
    shown = capsys.readouterr()
    assert "invalid choice: 'nosuch'" in shown.err
    assert "pytorch_optimizer is not installed" in shown.out


def test_a_confirmation_without_a_finite_ratio_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = load_benchmark("planted_edits")
    edit = benchmark.EDITS[0]
    outcome = benchmark.Outcome(edit=edit, gate={"series": {"candidate": "c1"}}, seconds=1.0)
    confirmed = {"candidate": "c1", "verdict": "worse", "estimate": None, "interval": [None, 0.5]}
    monkeypatch.setattr(benchmark, "run_gate", lambda *_: {"confirmed": [confirmed]})
    assert benchmark.confirm(tmp_path, [outcome], ()) == set()
    assert f"confirmation of {edit.title!r}: worse, – (no interval)" in capsys.readouterr().out
