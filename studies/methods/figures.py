"""The figures of each run that the page needs: read from stored files or from records, and the settings they choose."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import msgspec

from harness.contract.base import Data
from harness.contract.domains import HParams, Scalar
from harness.contract.record import Record, Status, is_complete
from harness.contract.run import Purpose, RunSpec
from harness.scoring.time_to_target import hit_index
from harness.storage.layout import run_id
from harness.storage.records import iter_records
from studies.methods.design import FOLDER, Design, Measure

#: The figures of the published runs.
MEASURED = FOLDER / "measured.json"
#: The hyperparameters that are tuned, in the order of the search space.
TUNED = ("horizon_fraction", "lr")

#: Arm, workload, budget, purpose, study, trial, what was tuned.
RunKey: TypeAlias = tuple[str, str, int, str, int, int, tuple[tuple[str, Scalar], ...]]


class RunFigures(Data, frozen=True, kw_only=True):
    """One run.

    Args:
        arm, workload: `name@version` of the workload.
        budget: in examples.
        purpose, study, trial: which run of the arm it is.
        hparams: what was tuned (with `adam_lr`, where there is a second rate).
        status: how it ended.
        loss: the score metric at the end of the budget; None where the run broke before.
        hit: examples drawn at the first evaluation that met the target; None for a miss.
        seconds: scored seconds at that evaluation.
        spent: wall seconds of the whole run, with evaluations and checkpoints, without the start of its process.
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
    def key(self) -> RunKey:
        """What identifies the run within the study."""
        tuned = tuple(sorted(self.hparams.items()))
        return self.arm, self.workload, self.budget, self.purpose, self.study, self.trial, tuned

    @property
    def is_complete(self) -> bool:
        """Whether the run came to the end of its budget."""
        return is_complete(self.status)

    def value(self, measure: Measure) -> float:
        """What is compared, small is good; inf for a miss and for a run that broke."""
        value = self.loss if measure == "loss" else self.hit
        return math.inf if value is None else float(value)


# --- runs that have ended -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FinishedRuns:
    """The runs of the study that have ended.

    Args:
        stored: those with stored figures. A change of source does not void them.
        recorded: run_id to those with a record.
    """

    stored: Mapping[RunKey, RunFigures] = field(default_factory=dict)
    recorded: Mapping[str, RunFigures] = field(default_factory=dict)

    def find(self, spec: RunSpec) -> RunFigures | None:
        """The figures of a planned run; None while it has not ended."""
        return self.stored.get(key_of_spec(spec)) or self.recorded.get(run_id(spec))

    def figures(self) -> Iterable[RunFigures]:
        """The figures of every run: stored ones first, then the latest record."""
        return {run.key: run for run in (*self.recorded.values(), *self.stored.values())}.values()


def read_finished(stored: Path | None, runs: Path, design: Design, problems: list[str]) -> FinishedRuns:
    """The stored figures, and those of the records in a folder.

    Args:
        stored: a file of figures; None for no stored ones.
        runs: the folder with one folder per trial; it may be missing.
        design: its ruleset and root seed tell the study's records from others; smoke runs are left out.
        problems: gets one line for each file that is not a record.
    """
    records = [record for record in iter_records([runs], problems) if _is_of_study(record, design)]
    records.sort(key=lambda record: record.started)
    return FinishedRuns(
        stored={run.key: run for run in read_stored(stored)},
        recorded={record.run_id: figures_of_record(record) for record in records},
    )


def _is_of_study(record: Record, design: Design) -> bool:
    spec = record.spec
    same = spec.ruleset.name == design.ruleset.name and spec.root_seed == design.root_seed
    return same and not spec.smoke and record.status != "interrupted"


def read_stored(path: Path | None) -> list[RunFigures]:
    """The figures in a file, one JSON object per run; nothing when there is no path."""
    return [] if path is None else msgspec.json.decode(path.read_bytes(), type=list[RunFigures])


def figures_of_record(record: Record) -> RunFigures:
    """The figures of a record."""
    spec, usage = record.spec, record.usage
    facts = spec.workload.facts
    index = hit_index(record)
    hit = None if index is None else record.points[index]
    ended = is_complete(record.status) and record.points
    return RunFigures(
        arm=spec.submission.name,
        workload=facts.id,
        budget=facts.budget.horizon,
        purpose=spec.purpose,
        study=spec.study,
        trial=spec.trial,
        hparams=tuned_hparams(spec),
        status=record.status,
        loss=record.points[-1].metrics.get(facts.targets[0].metric) if ended else None,
        hit=None if hit is None else hit.examples,
        seconds=None if hit is None else hit.scored(spec.clock),
        spent=record.counters.seconds + usage.evaluation_seconds + usage.checkpoint_seconds + usage.import_seconds,
        hardware=spec.hardware,
        torch=record.environment.torch if record.environment else "",
        run=record.run_id,
    )


# --- runs that are planned ----------------------------------------------------------------------------


def tuned_hparams(spec: RunSpec) -> HParams:
    """The hyperparameters of a run that its figures keep."""
    return {name: spec.hparams[name] for name in (*TUNED, "adam_lr") if name in spec.hparams}


def key_of_spec(spec: RunSpec) -> RunKey:
    """The key of the figures that a run will have.

    It has the submission's name and not its source, so that a change of source repeats no stored run.
    """
    facts, values = spec.workload.facts, tuple(sorted(tuned_hparams(spec).items()))
    return spec.submission.name, facts.id, facts.budget.horizon, spec.purpose, spec.study, spec.trial, values


# --- tuning -------------------------------------------------------------------------------------------


def choose_settings(tuning: Sequence[RunFigures]) -> Mapping[Measure, RunFigures]:
    """The tuning run of the best setting by each measure; empty for no runs.

    By `target`: fewest examples to the target, and among equals (all of them misses, for instance) the lower loss. By
    `loss` the other way round. Then the earlier trial.
    """
    if not tuning:
        return {}

    def rank(first: Measure, second: Measure) -> RunFigures:
        return min(tuning, key=lambda run: (run.value(first), run.value(second), run.trial))

    return {"loss": rank("loss", "target"), "target": rank("target", "loss")}


def select_arm(runs: Iterable[RunFigures], arm: str) -> list[RunFigures]:
    """The runs of one arm."""
    return [run for run in runs if run.arm == arm]
