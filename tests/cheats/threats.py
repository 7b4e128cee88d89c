"""What a test of a cheat says about it. `python -m tools.make_threats` writes docs/threat-model.md from this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
Verdict = Literal["caught", "made useless", "out of reach"]


def threat(*, way: str, verdict: Verdict, by: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Describe the cheat that a test tries.

    Args:
        way: what the submission or its author does.
        verdict: `caught` if the run is rejected, not ranked, or fails a check; `made useless` if the cheat gains
            nothing, or fresh seeds or other workloads undo the gain; `out of reach` if it gains something.
        by: what catches it or makes it useless; for a cheat out of reach, what it gains and what a rerun does about it.
    """
    return lambda test: test
