"""The benchmarks of sweeps still run; what they measure is for people to read."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.execution.helpers import ROOT


@pytest.mark.slow
def test_the_benchmark_of_sweeps_runs() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "sweep.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for line in (r"cost per trial: -?\d+ ms", r"plan: .* 200 trials", r"resume: .* 200 finished", r"two workers: \d"):
        assert re.search(line, done.stdout), done.stdout
