"""Read the figures (results) of runs from a stored file or from records, and choose the best settings of arms."""

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

#: Arm, workload, budget, purpose, study, trial, tuned hyperparameters of a run.
RunKey: TypeAlias = tuple[str, str, int, str, int, int, tuple[tuple[str, Scalar], ...]]


class RunFigures(Data, frozen=True, kw_only=True):
    """The figures of one run.

    Args:
        arm: name of the submission.
        workload: `name@version` of the workload.
        budget: budget in examples.
        purpose: purpose of the trial.
        study, trial: index of the study and of the trial.
        hparams: the tuned hyperparameters, including `adam_lr` if the arm has a second learning rate.
        status: how the run ended.
        loss: the metric on the split `score` at the end of the budget; None if the run broke, that is, ended earlier.
        hit: number of examples drawn at the first evaluation that met the target; None for a miss.
        seconds: scored seconds until the hit; None for a miss.
        spent: wall seconds of training, evaluations and checkpoints, plus the processor seconds of the submission's
            import. The start of the process is not included.
        hardware: the hardware class.
        torch: the version of torch.
        run: the run_id.
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
        """The fields that identify the run within the study, which has one version of each workload."""
        tuned, (workload, _, _) = tuple(sorted(self.hparams.items())), self.workload.partition("@")
        return self.arm, workload, self.budget, self.purpose, self.study, self.trial, tuned

    @property
    def is_complete(self) -> bool:
        """Whether the run reached the end of its budget."""
        return is_complete(self.status)

    def value(self, measure: Measure) -> float:
        """Return the value of a measure. Lower is better. A miss and a broken run have the value inf."""
        value = self.loss if measure == "loss" else self.hit
        return math.inf if value is None else float(value)


# --- runs that have ended -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FinishedRuns:
    """The runs of the study that have ended.

    Args:
        stored: runs with stored figures, by key. They stay valid if the source of a submission changes.
        recorded: runs with a record, by run_id.
    """

    stored: Mapping[RunKey, RunFigures] = field(default_factory=dict)
    recorded: Mapping[str, RunFigures] = field(default_factory=dict)

    def find(self, spec: RunSpec) -> RunFigures | None:
        """Return the figures of a planned run, or None if it has not ended."""
        return self.stored.get(key_of_spec(spec)) or self.recorded.get(run_id(spec))

    def figures(self) -> Iterable[RunFigures]:
        """Return the figures of every run; stored figures take precedence over records."""
        return {run.key: run for run in (*self.recorded.values(), *self.stored.values())}.values()


def read_finished(stored: Path | None, runs: Path, design: Design, problems: list[str]) -> FinishedRuns:
    """Read the stored figures, and the figures of the records in a folder.

    Args:
        stored: path of a file of figures; None to read no stored figures.
        runs: folder with one subfolder per trial; it need not exist.
        design: the design. Only records with its ruleset and root seed are read, and no smoke runs.
        problems: list to which a one-line message is appended for each file that cannot be read as a record.
    """
    records = [record for record in iter_records([runs], problems) if _is_of_study(record, design)]
    records.sort(key=lambda record: record.started)
    return FinishedRuns(
        stored={run.key: run for run in read_stored(stored)},
        recorded={record.run_id: figures_of_record(record) for record in records},
    )


def _is_of_study(record: Record, design: Design) -> bool:
    spec = record.spec
    is_same_study = spec.ruleset.name == design.ruleset.name and spec.root_seed == design.root_seed
    return is_same_study and not spec.smoke and record.status != "interrupted"


def read_stored(path: Path | None) -> list[RunFigures]:
    """Return the figures in a JSON file, a list with one object per run; empty if `path` is None."""
    return [] if path is None else msgspec.json.decode(path.read_bytes(), type=list[RunFigures])


def figures_of_record(record: Record) -> RunFigures:
    """Return the figures of a record."""
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
    """Return the hyperparameters that are stored in the figures of a run."""
    return {name: spec.hparams[name] for name in (*TUNED, "adam_lr") if name in spec.hparams}


def key_of_spec(spec: RunSpec) -> RunKey:
    """Return the key under which the figures of a planned run are stored.

    The key contains no source hash and no version of the workload. Stored runs are therefore not repeated if the source
    changes, or if another version of the workload is installed.
    """
    facts, values = spec.workload.facts, tuple(sorted(tuned_hparams(spec).items()))
    return spec.submission.name, facts.name, facts.budget.horizon, spec.purpose, spec.study, spec.trial, values


# --- tuning -------------------------------------------------------------------------------------------


def choose_settings(tuning: Sequence[RunFigures]) -> Mapping[Measure, RunFigures]:
    """Return measure -> the tuning run with the best setting; empty if there are no runs.

    - `target`: the setting with the fewest examples to the target. Between equal numbers (for example, if all missed),
      the loss decides.
    - `loss`: the setting with the lowest loss. Between equal losses, the examples to the target decide.

    Between settings that are equal in both, the trial with the lower index is chosen.
    """
    if not tuning:
        return {}

    def best_run(first: Measure, second: Measure) -> RunFigures:
        return min(tuning, key=lambda run: (run.value(first), run.value(second), run.trial))

    return {"loss": best_run("loss", "target"), "target": best_run("target", "loss")}


def select_arm(runs: Iterable[RunFigures], arm: str) -> list[RunFigures]:
    """Return the runs of one arm."""
    return [run for run in runs if run.arm == arm]
