"""Records of gates made by hand, and a runner that trains nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from harness.contract.record import Record
from harness.contract.run import Point, RunSpec
from harness.scoring.gate import GatePair, judge_run
from harness.scoring.gate_envelope import GateEnvelope
from harness.storage.layout import run_id
from tests.scoring import builders

#: The loss falls as budget^-1/10: 1 % of the loss is about 10 % of compute.
ENVELOPE = GateEnvelope(
    workload="w@1",
    metric="loss",
    goal="min",
    budget=100,
    reference="reference@1",
    hardware="cpu-x",
    torch="",
    horizons=(25, 50, 100, 200),
    values=tuple(2.0 * (h / 100) ** -0.1 for h in (25, 50, 100, 200)),
    spreads=(0.0,) * 4,
    runs=(),
)


def finish(spec: RunSpec, value: float | None, **changes: Any) -> Record:
    """The record of a run that ends at this value of its primary metric; None for one that diverged."""
    facts = spec.workload.facts
    target = facts.targets[0]
    ends = [3.0 if value is None else 3.0 * value, float("nan") if value is None else value]
    points = tuple(
        Point(
            examples=n,
            gradient_examples=n,
            steps=n,
            seconds=1.0,
            process_seconds=1.0,
            metrics={target.metric: metric},
            stage=max(0, len(facts.stages) - 1),
        )
        for n, metric in zip((0, facts.budget.horizon), ends, strict=True)
    )
    status = "diverged" if value is None else "exhausted"
    fields: dict[str, Any] = {
        "status": status,
        "reason": "the loss is NaN" if value is None else "",
        "points": points,
        "final_weights": f"weights of {spec.submission.name} {value}",
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:00:30+00:00",
    }
    return Record(run_id=run_id(spec), spec=spec, **{**fields, **changes})


def pair(a: float | None, b: float | None, study: int = 0, workload: str = "w", **changes: Any) -> GatePair:
    """One seed on one workload: the losses of A and B at the end."""
    facts = builders.facts(workload)
    sides = {side: builders.spec(side, facts, study, stop=100) for side in ("A", "B")}
    return {
        workload: (
            judge_run(finish(sides["A"], a, **changes), "A"),
            judge_run(finish(sides["B"], b, **changes), "B"),
        )
    }


class FakeRunner:
    """Makes a record for every spec and remembers which were asked for.

    Args:
        value: from a spec to the metric at its end; None for a run that breaks.
    """

    def __init__(self, value: Callable[[RunSpec], float | None]) -> None:
        self._value = value
        self.ran: list[RunSpec] = []
        self.finished: dict[str, Record] = {}

    def __call__(self, specs: Sequence[RunSpec]) -> list[Record]:
        for spec in specs:
            if run_id(spec) not in self.finished:
                self.ran.append(spec)
                self.finished[run_id(spec)] = finish(spec, self._value(spec))
        return [self.finished[run_id(spec)] for spec in specs]


def with_seconds(record: Record, seconds: float) -> Record:
    return msgspec.structs.replace(record, finished=f"2026-01-01T00:00:{seconds:02.0f}+00:00")
