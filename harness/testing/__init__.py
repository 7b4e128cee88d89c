"""Tests for authors of submissions and workloads: micro-workloads, checks, contract classes and pytest fixtures.

`bench check` runs the same checks in a process of its own. Importing this package imports neither torch nor pytest. The
fixtures are in `harness.testing.pytest_plugin`, which pytest loads by itself.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.testing.contracts import SubmissionContract, WorkloadContract
    from harness.testing.micro import MICRO_WORKLOADS, MicroImages, MicroStream, MicroText
    from harness.testing.recipes import make_recipe
    from harness.testing.running import run_briefly

#: The module that defines each name. The module is imported when the name is first used.
_LAZY = {
    "MICRO_WORKLOADS": "harness.testing.micro",
    "MicroImages": "harness.testing.micro",
    "MicroStream": "harness.testing.micro",
    "MicroText": "harness.testing.micro",
    "SubmissionContract": "harness.testing.contracts",
    "WorkloadContract": "harness.testing.contracts",
    "make_recipe": "harness.testing.recipes",
    "run_briefly": "harness.testing.running",
}

__all__ = [
    "MICRO_WORKLOADS",
    "MicroImages",
    "MicroStream",
    "MicroText",
    "SubmissionContract",
    "WorkloadContract",
    "make_recipe",
    "run_briefly",
]


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
