"""Small valid records."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.contract.record import Record
from harness.contract.ruleset import Ruleset
from harness.contract.run import Point, RunSpec, Seeds, SubmissionRef, WorkloadRef
from harness.contract.workload import Budget, Stage, Target, WorkloadFacts

TARGET = Target(metric="loss", goal="min", value=1.0)


def facts(name: str = "w", version: str = "1", **changes: Any) -> WorkloadFacts:
    base = WorkloadFacts(
        name=name,
        version=version,
        tier="cpu",
        targets=(TARGET,),
        budget=Budget(horizon=100, gradient_examples=100, seconds={"default": 100.0}),
        batch_sizes=(10,),
        eval_every=10,
    )
    return msgspec.structs.replace(base, **changes)


def stream() -> WorkloadFacts:
    stage = Stage(name="one", targets=(TARGET,), max_examples=50)
    return facts(access="stream", stages=(stage, stage))


def spec(
    submission: str = "a", workload: WorkloadFacts | None = None, study: int = 0, trial: int = 0, **changes: Any
) -> RunSpec:
    base = RunSpec(
        workload=WorkloadRef(facts=workload or facts(), load="x:Y"),
        submission=SubmissionRef(name=submission, version="1"),
        hparams={},
        ruleset=Ruleset(name="quick", version="1", summary="", trials=1, studies=1),
        study=study,
        trial=trial,
        root_seed=0,
        seeds=Seeds(model=0, data=0, submission=0, replay=0),
        hardware="cpu-x",
    )
    return msgspec.structs.replace(base, **changes)


def points(losses: list[float], seconds: float = 1.0) -> tuple[Point, ...]:
    """One point per loss, each ten examples, one step, `seconds` processor seconds and twice the wall seconds later."""
    return tuple(
        Point(
            examples=10 * i,
            gradient_examples=20 * i,
            steps=i,
            seconds=2 * seconds * i,
            process_seconds=seconds * i,
            metrics={"loss": loss},
        )
        for i, loss in enumerate(losses, start=1)
    )


def record(run_spec: RunSpec | None = None, losses: list[float] | None = None, **changes: Any) -> Record:
    """A record of a run that evaluates to these losses; it stops at the first that is 1 or less."""
    run_spec = run_spec or spec()
    curve = points([2.0, 1.5, 0.9] if losses is None else losses, changes.pop("seconds", 1.0))
    hit = next((i for i, p in enumerate(curve) if TARGET.met(p.metrics)), None)
    identity = (
        f"{run_spec.submission.id}-{run_spec.workload.facts.id}-{run_spec.root_seed}-{run_spec.study}-{run_spec.trial}"
    )
    base = Record(
        run_id=identity,
        spec=run_spec,
        status="exhausted" if hit is None else "reached",
        points=curve,
        hit=hit,
    )
    return msgspec.structs.replace(base, **changes)
