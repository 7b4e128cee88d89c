"""AlgoRace: a benchmark of training algorithms.

The main functions of the Python interface:

- `harness.plan(…)` returns specifications of trials.
- `harness.run_trials(…)` runs specifications and yields the records of the trials.
- `harness.load_results(…)` reads records into a data frame.
- `harness.compare(…)` compares two submissions.

Authors of plugins import `harness.api`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.execution.run_trials import run_trials
    from harness.planning.plan import plan
    from harness.report.dataframes import load_results, to_parquet
    from harness.report.imported_logs import import_csv, import_wandb
    from harness.scoring.compare import compare

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "compare",
    "import_csv",
    "import_wandb",
    "load_results",
    "plan",
    "run_trials",
    "to_parquet",
]

#: Name -> the module that defines it. The module is imported when the name is first used, so `import harness` is fast.
_LAZY = {
    "compare": "harness.scoring.compare",
    "import_csv": "harness.report.imported_logs",
    "import_wandb": "harness.report.imported_logs",
    "load_results": "harness.report.dataframes",
    "plan": "harness.planning.plan",
    "run_trials": "harness.execution.run_trials",
    "to_parquet": "harness.report.dataframes",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
