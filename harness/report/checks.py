"""Render the results of `bench check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.contract.checking import CheckResult


def results_text(name: str, results: Sequence[CheckResult]) -> str:
    """Return one line for each check, the failures with their fixes, and the totals.

    >>> print(results_text("mine", [CheckResult(name="loss", status="failed", problem="it is NaN", fix="scale it")]))
    FAILED   loss: it is NaN
             fix: scale it
    mine: 1 failed
    """
    lines = []
    for result in results:
        label = "ok" if result.status == "passed" else result.status
        lines.append(
            f"{label.upper() if result.status == 'failed' else label:<9}{result.title}{_problem_clause(result)}"
        )
        if result.fix:
            lines.append(f"{'':<9}fix: {result.fix}")
    counts = Counter(result.status for result in results)
    totals = ", ".join(f"{counts[status]} {status}" for status in ("passed", "failed", "skipped") if counts[status])
    return "\n".join([*lines, f"{name}: {totals}"])


def _problem_clause(result: CheckResult) -> str:
    return f": {result.problem}" if result.problem else ""
