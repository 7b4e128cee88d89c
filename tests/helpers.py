"""What many tests need: specs, runs in this process, and watchers that remember."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from harness.contract.entries import PartEntry, SubmissionEntry, WorkloadEntry
from harness.contract.record import Record, TrialSummary
from harness.contract.run import ExecutionOptions, Point, RunSpec
from harness.execution.trial import run_trial
from harness.planning import rulesets
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.registry import Registry, load_registry
from harness.storage import layout
from harness.storage.run_folder import RunFolder
from tests import micro


class Remember:
    """A watcher that keeps what it was told."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.warnings: list[str] = []
        self.records: list[Record] = []
        self.kept_outcomes: list[TrialSummary] = []
        self.resumed: list[int] = []

    def started(self, spec: RunSpec, resumed: tuple[Point, ...]) -> None:
        self.resumed.append(len(resumed))

    def evaluated(self, spec: RunSpec, point: Point) -> None:
        self.points.append(point)

    def warned(self, spec: RunSpec, message: str) -> None:
        self.warnings.append(message)

    def finished(self, record: Record) -> None:
        self.records.append(record)

    def kept(self, summary: TrialSummary) -> None:
        self.kept_outcomes.append(summary)


def submission(load: str, **fields: Any) -> SubmissionEntry:
    """An entry for a submission defined in a test."""
    name = fields.pop("name", load.rpartition(":")[2].lower())
    return SubmissionEntry(name=name, summary="a test's", load=load, distribution="tests", **fields)


class NoParts:
    """A registry without parts."""

    def part(self, kind: str | None, name: str, *, prefer: str = "") -> PartEntry:
        raise AssertionError(f"no part {kind}:{name} here")


def spec_of(
    entry: SubmissionEntry | str,
    workload: WorkloadEntry = micro.ENTRY,
    registry: Any = None,
    facts: dict[str, Any] | None = None,
    **settings: Any,
) -> RunSpec:
    """One planned trial; `facts` replaces fields of the workload's facts."""
    registry = registry or (load_registry() if isinstance(entry, str) or entry.parts else NoParts())
    if isinstance(entry, str):
        assert isinstance(registry, Registry)
        entry = registry.submission(entry)
    settings.setdefault("ruleset", rulesets.ruleset("quick"))
    spec = plan_trials(workload, entry, registry, PlanSettings(**settings))[0]
    if facts:
        changed = msgspec.structs.replace(spec.workload.facts, **facts)
        spec = msgspec.structs.replace(spec, workload=msgspec.structs.replace(spec.workload, facts=changed))
    return spec


def run_here(spec: RunSpec, runs: Path, watcher: Remember | None = None, **options: Any) -> Record:
    """Run a trial in this process."""
    from harness.worker.job import run_job

    return run_trial(spec, runs, watcher or Remember(), ExecutionOptions(**options), run_job)[0]


def run_worker(spec: RunSpec, runs: Path, watcher: Remember | None = None, **options: Any) -> Record:
    """Run a trial in a worker process."""
    return run_trial(spec, runs, watcher or Remember(), ExecutionOptions(**options))[0]


def folder_of(spec: RunSpec, runs: Path) -> RunFolder:
    return RunFolder(runs, layout.run_id(spec))


def outcome(record: Record) -> tuple[Any, ...]:
    """What must be equal between two runs of one trial: everything but times and machine."""
    curve = [
        (p.examples, p.gradient_examples, p.steps, p.lr, p.stage, p.metrics, p.train_loss, p.evaluated_examples, p.se)
        for p in record.points
    ]
    return record.status, record.hit, record.stage_hits, curve, record.final_weights, record.crossing_weights
