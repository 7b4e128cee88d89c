"""The keep-or-discard loop in `examples/`, at toy size, with real runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_loop_keeps_what_helps_and_discards_what_does_not(tmp_path: Path) -> None:
    # So large an alpha decides within a few pairs; it is the loop that is tested, not the edits.
    options = ["-w", "resnet-digits", "--budget", "1024", "--alpha", "0.9", "--min-effect", "0.1", "--no-envelope"]
    command = [sys.executable, str(ROOT / "examples" / "keep_or_discard.py"), str(tmp_path), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "discard: say more in the docstring (identical)",
        "keep: a hundred times the learning rate (better)",
    ]
    assert lines[2].startswith("confirmed: candidate 2: better, ")
    assert "1e-3" in (tmp_path / "best.py").read_text()
    # Given again it has its answers already: every line is the same, and no run is added.
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir())
    again = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
    assert again.stdout == done.stdout
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == runs
