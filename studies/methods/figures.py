"""What docs/comparison.md needs of each run: a few figures, kept in one small file, and the settings they choose."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
from methods_design import Measure

from harness.contract.base import Data
from harness.contract.domains import HParams, Scalar
from harness.contract.record import Record, Status
from harness.contract.run import Purpose, RunSpec
from harness.contract.workload import Target
from harness.system import files

#: The hyperparameters that are tuned, in the order of the search space.
TUNED = ("horizon_fraction", "lr")


#: Arm, workload, budget, purpose, study, trial, what was tuned.
Key: TypeAlias = tuple[str, str, int, str, int, int, tuple[tuple[str, Scalar], ...]]


class Figure(Data, frozen=True, kw_only=True):
    """One run.

    Args:
        arm, workload: `name@version` of the workload.
        budget: in examples.
        purpose, study, trial: which run of the arm it is.
        hparams: what was tuned (with `adam_lr`, where there is a second rate).
        status: how it ended.
        loss: the score metric at the end of the budget; None where the run broke on the way.
        hit: examples drawn at the first evaluation that met the target; None for a miss.
        seconds: scored seconds at that evaluation.
        spent: wall seconds of the whole run, with evaluations and checkpoints; starting its process is not counted.
        hardware, torch: where it ran.
        run: its run_id.
    """

    arm: str
    workload: str
    budget: int
    purpose: Purpose
    study: int
    trial: int
    hparams: HParams
    status: Status
    loss: float | None
    hit: int | None
    seconds: float | None
    spent: float
    hardware: str
    torch: str
    run: str

    @property
    def key(self) -> Key:
        """What is not run twice."""
        tuned = tuple(sorted(self.hparams.items()))
        return self.arm, self.workload, self.budget, self.purpose, self.study, self.trial, tuned

    @property
    def at(self) -> tuple[str, int]:
        """The workload with its version, and the budget."""
        return self.workload, self.budget

    def value(self, measure: Measure) -> float:
        """What is compared, small is good; inf for a run that broke, and for a miss."""
        found = self.loss if measure == "loss" else self.hit
        return math.inf if found is None else float(found)


def of(record: Record) -> Figure:
    """The figures of a run."""
    spec = record.spec
    facts, usage = spec.workload.facts, record.usage
    target = facts.targets[0]
    hit = next((p for p in record.points[1:] if _met(target, p.metrics)), None)
    ended = record.status in ("reached", "exhausted") and bool(record.points)
    loss = record.points[-1].metrics.get(target.metric) if ended else None
    return Figure(
        arm=spec.submission.name,
        workload=facts.id,
        budget=facts.budget.horizon,
        purpose=spec.purpose,
        study=spec.study,
        trial=spec.trial,
        hparams=tuned(spec),
        status=record.status,
        loss=loss,
        hit=hit.examples if hit else None,
        seconds=hit.scored(spec.clock) if hit else None,
        spent=record.counters.seconds + usage.evaluation_seconds + usage.checkpoint_seconds + usage.import_seconds,
        hardware=spec.hardware,
        torch=record.environment.torch if record.environment else "",
        run=record.run_id,
    )


def tuned(spec: RunSpec) -> HParams:
    """The hyperparameters of a run that a figure keeps."""
    return {name: spec.hparams[name] for name in (*TUNED, "adam_lr") if name in spec.hparams}


def key(spec: RunSpec) -> Key:
    """The key of the figure that a run will leave.

    Of its submission it has the name alone, so that a change of source that changes no result runs nothing again.
    """
    facts, values = spec.workload.facts, tuple(sorted(tuned(spec).items()))
    return spec.submission.name, facts.id, facts.budget.horizon, spec.purpose, spec.study, spec.trial, values


def _met(target: Target, metrics: dict[str, float]) -> bool:
    return target.met(metrics)


def chosen(tuned: Sequence[Figure]) -> dict[Measure, Figure]:
    """The best setting by each measure.

    Fewest examples to the target, and among equals (all of them misses, for instance) the lower loss; for the loss the
    other way round. Then the earlier trial.
    """
    if not tuned:
        return {}
    loss, target = (lambda f: f.value("loss")), (lambda f: f.value("target"))
    return {
        "loss": min(tuned, key=lambda f: (loss(f), target(f), f.trial)),
        "target": min(tuned, key=lambda f: (target(f), loss(f), f.trial)),
    }


def read(path: Path) -> list[Figure]:
    """The figures in a file; none where it does not exist yet."""
    if not path.exists():
        return []
    return msgspec.json.decode(path.read_bytes(), type=list[Figure])


def write(path: Path, found: Iterable[Figure]) -> None:
    """One line per run, in an order of its own, so that a version control shows what came new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = sorted(found, key=lambda f: (f.workload, f.budget, f.arm, f.purpose, f.trial, f.study, f.run))
    lines = [msgspec.json.encode(figure, order="deterministic").decode() for figure in ordered]
    files.write_atomically(path, ("[\n" + ",\n".join(lines) + "\n]\n").encode())
