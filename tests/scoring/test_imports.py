"""Scoring is plain Python until it is asked for statistics."""

from __future__ import annotations

import subprocess
import sys


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; import harness.scoring.algoperf.rules, harness.scoring.compare, harness.scoring.simulate;"
        "import harness.scoring.sequential.forecast, harness.scoring.sequential.resample;"
        "import harness.scoring.sequential.series, harness.scoring.sequential.workloads;"
        "print([m for m in ('torch', 'numpy', 'scipy', 'pandas', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
