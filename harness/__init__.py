"""AlgoRace: a benchmark of training algorithms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.report.dataframes import import_csv, import_wandb, load_results, to_parquet

__all__ = ["__version__", "import_csv", "import_wandb", "load_results", "to_parquet"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Results as data frames; pandas is imported when one of these is asked for."""
    if name in __all__:
        import importlib

        return getattr(importlib.import_module("harness.report.dataframes"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
