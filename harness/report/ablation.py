"""Formats the effects of a submission's additions (`bench ablate`) as text and as JSON.

An addition is a part or a setting that a simpler submission would not have, such as an averager or a warmup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.report import text
from harness.report.gate import GateReport, describe_multiplier, gate_json

#: Version of the JSON schema.
SCHEMA = 1
#: Effect -> its name in the table. Effects that are absent here are shown by their own name.
_EFFECT_NAMES = {"none": "does nothing"}


@dataclass(frozen=True, kw_only=True)
class AblationRow:
    """The outcome for one addition.

    Args:
        addition: the addition that was removed.
        removal: how it was removed.
        effect: `helps`, `none`, `harms`, `undecided` or `not run`.
        gate: the gate of the whole submission (A) against the submission without the addition (B); None if it was not
            run.
        reason: why the gate was not run; empty if it was run.
    """

    addition: str
    removal: str
    effect: str
    gate: GateReport | None = None
    reason: str = ""


def ablation_text(submission: str, alpha: float, rows: Sequence[AblationRow]) -> str:
    """Return the outcomes as a table, with remarks, and a list of the additions without an effect."""
    unit = next((row.gate.unit for row in rows if row.gate), "compute multiplier")
    table = [["addition", "removed as", "effect", unit, "pairs", ""]]
    for row in rows:
        ratio = describe_multiplier(row.gate.verdict) if row.gate else ""
        pairs = str(row.gate.verdict.pairs) if row.gate else ""
        remark = row.reason or (row.gate.stopped if row.gate else "")
        table.append([row.addition, row.removal, _EFFECT_NAMES.get(row.effect, row.effect), ratio, pairs, remark])
    without_effect = [row.addition for row in rows if row.effect == "none"]
    lines = [text.columns(table), ""]
    lines.append(f"{submission} with the addition against {submission} without it; above 1, the addition helps")
    lines.append(f"the probability of any false `helps` or `harms` is at most {alpha:g}")
    if without_effect:
        lines.append(f"additions without a relevant effect: {', '.join(without_effect)}")
    return "\n".join(lines)


def ablation_json(submission: str, alpha: float, rows: Sequence[AblationRow]) -> dict[str, Any]:
    """Return the outcomes as plain data. `gate` is the JSON of `bench gate`, or null if the gate was not run."""
    return {
        "schema": SCHEMA,
        "submission": submission,
        "alpha": alpha,
        "additions": [
            {
                "addition": row.addition,
                "removal": row.removal,
                "effect": row.effect,
                "reason": row.reason,
                "gate": gate_json(row.gate) if row.gate else None,
            }
            for row in rows
        ],
    }
