"""Compares the weights of a hit on the split `audit`, which no submission sees and on which no run ends.

A run that is evaluated often crosses its target earlier on the split `score` than its weights deserve, and a submission
that adapts to this split crosses it earlier still. A hit therefore counts only if its weights also meet the target on
`audit` within one standard error. If no evaluator measured these weights on `audit`, the hit counts, and the record has
the trust level *self-reported*. The hit also counts if the workload reports no standard error (`se`).
"""

from __future__ import annotations

from typing import NamedTuple

from harness.contract.record import Record
from harness.contract.workload import Target
from harness.scoring.run_overview import primary_target


class HitAudit(NamedTuple):
    """The primary metric of the weights of a hit on the splits `score` and `audit`.

    Args:
        target: the primary target, on a stream that of the last stage.
        score: the metric on `score`.
        audit: the metric on `audit`.
        se: standard error of `audit`; None if the workload reports none.
    """

    target: Target
    score: float
    audit: float
    se: float | None

    @property
    def gap(self) -> float:
        """How much worse the metric is on `audit` than on `score`; negative if it is better."""
        difference = self.audit - self.score
        return difference if self.target.goal == "min" else -difference

    @property
    def is_confirmed(self) -> bool:
        """Whether the weights meet the target on `audit` within one standard error. True if this error is unknown."""
        if self.se is None:
            return True
        nearest = self.audit - self.se if self.target.goal == "min" else self.audit + self.se
        return self.target.met({self.target.metric: nearest})


def unconfirmed_reason(audit: HitAudit) -> str:
    """Return why a hit does not count."""
    bound = "≤" if audit.target.goal == "min" else "≥"
    return (
        f"not confirmed: on the split audit, {audit.target.metric} is {audit.audit:.4g} and misses the target "
        f"{bound} {audit.target.value:.4g} by more than one standard error ({audit.se or 0.0:.2g})"
    )


def audit_hit(record: Record) -> HitAudit | None:
    """Return the metrics of the weights of a record's hit; None without a hit or without metrics on `audit`."""
    if record.hit is None or not 0 <= record.hit < len(record.points):
        return None
    target = primary_target(record.spec.workload.facts, record.points[record.hit].stage)
    for judgement in reversed(record.judgements):
        if judgement.point == record.hit and target is not None and target.metric in judgement.audit:
            score = judgement.score.get(target.metric, record.points[record.hit].metrics.get(target.metric))
            if score is None:
                return None
            return HitAudit(target, score, judgement.audit[target.metric], judgement.audit.get("se"))
    return None
