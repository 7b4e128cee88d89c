"""Read the figures (results) of runs from a stored file or from records, and choose each arm's best learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec

from harness.contract.base import Data
from harness.contract.domains import Scalar
from harness.contract.power import PowerCost
from harness.contract.record import Record, Status
from harness.contract.run import Purpose, RunSpec
from harness.contract.workload import Goal
from harness.errors import UsageError
from harness.scoring.gate import judge_run
from harness.scoring.power_costs import run_cost
from harness.scoring.time_to_target import hit_index
from harness.storage.records import iter_records
from studies.power.design import FOLDER, PowerDesign

#: The figures of the runs so far.
MEASURED = FOLDER / "measured.json"

#: Arm, workload, budget, purpose, study, learning rate of a run.
RunKey: TypeAlias = tuple[str, str, int, str, int, Scalar]


class PowerFigures(Data, frozen=True, kw_only=True):
    """The figures of one run.

    Args:
        arm: name of the submission.
        workload: `name@version` of the workload.
        budget: budget in examples.
        purpose: purpose of the trial.
        study, trial: index of the study and of the trial.
        lr: the learning rate.
        status: how the run ended.
        reason: why the run broke, that is, ended before its budget; empty if it did not.
        metric: the primary metric at the end of the budget; None if the run broke.
        goal: direction of the metric.
        hit: number of examples drawn at the first evaluation that met the target; None for a miss.
        cost: the time that the run used.
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
    lr: float
    status: Status
    reason: str = ""
    metric: float | None
    goal: Goal
    hit: int | None
    cost: PowerCost
    hardware: str
    torch: str
    run: str

    @property
    def key(self) -> RunKey:
        """The fields that identify the run within the study."""
        return self.arm, self.workload, self.budget, self.purpose, self.study, self.lr

    @property
    def badness(self) -> float:
        """The metric with a sign such that lower is better; inf if the run broke."""
        if self.metric is None:
            return math.inf
        return self.metric if self.goal == "min" else -self.metric


def key_of_spec(spec: RunSpec) -> RunKey:
    """Return the key under which the figures of a planned run are stored.

    The key contains no source hash. Stored runs are therefore not repeated if the submission's source changes.
    """
    facts = spec.workload.facts
    return spec.submission.name, facts.id, facts.budget.horizon, spec.purpose, spec.study, float(spec.hparams["lr"])


def figures_of_record(record: Record) -> PowerFigures:
    """Return the figures of a record.

    Raises:
        BenchError: the run was interrupted.
        UsageError: see `judge_run`.
    """
    spec, facts = record.spec, record.spec.workload.facts
    run, index = judge_run(record, "A"), hit_index(record)
    return PowerFigures(
        arm=spec.submission.name,
        workload=facts.id,
        budget=facts.budget.horizon,
        purpose=spec.purpose,
        study=spec.study,
        trial=spec.trial,
        lr=float(spec.hparams["lr"]),
        status=record.status,
        reason=run.reason if run.broke else "",
        metric=run.metric,
        goal=facts.targets[0].goal,
        hit=None if index is None else record.points[index].examples,
        cost=run_cost(record),
        hardware=spec.hardware,
        torch=record.environment.torch if record.environment else "",
        run=record.run_id,
    )


def read_finished(
    stored: Path | None, runs: Path, design: PowerDesign, problems: list[str]
) -> dict[RunKey, PowerFigures]:
    """Read the stored figures, and the figures of the records in a folder. Stored figures take precedence.

    Args:
        stored: path of a file of figures; None to read no stored figures.
        runs: folder with one subfolder per trial; it need not exist.
        design: the design, whose ruleset and root seed identify the study's records.
        problems: list to which a one-line message is appended for each file that cannot be read as a record, and for
            each record without figures. The runs of such records are missing, so that `--retry-failed` repeats them.
    """
    records = [record for record in iter_records([runs], problems) if _is_of_study(record, design)]
    records.sort(key=lambda record: record.started)
    figures: dict[RunKey, PowerFigures] = {}
    for record in records:
        try:
            run = figures_of_record(record)
        except UsageError as error:
            problems.append(f"{error.what}; the run counts as missing")
        else:
            figures[run.key] = run
    return figures | {run.key: run for run in (read_stored(stored) if stored and stored.exists() else ())}


def _is_of_study(record: Record, design: PowerDesign) -> bool:
    spec = record.spec
    is_same_study = spec.ruleset.name == design.ruleset.name and spec.root_seed == design.root_seed
    return is_same_study and not spec.smoke and record.status != "interrupted"


def read_stored(path: Path) -> list[PowerFigures]:
    """Return the figures in a JSON file, which is a list with one object per run."""
    return msgspec.json.decode(path.read_bytes(), type=list[PowerFigures])


def encode_figures(figures: Iterable[PowerFigures]) -> bytes:
    """Return the content of a file of figures: one line per run, sorted by the key of the run."""
    lines = [msgspec.json.encode(run).decode() for run in sorted(figures, key=lambda run: run.key)]
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode()


def best_trials(figures: Mapping[RunKey, PowerFigures], workload: str) -> dict[str, int | None]:
    """Return arm -> index of its best tuning trial on a workload (`name@version`).

    The best trial has the best final metric. Between equal metrics, the trial with the lower index is chosen. If an arm
    broke with every learning rate, its index is None. Such an arm does not run on fresh seeds.
    """
    tuning = [run for run in figures.values() if run.workload == workload and run.purpose == "tuning"]
    best: dict[str, int | None] = {}
    for arm in sorted({run.arm for run in tuning}):
        run = min((run for run in tuning if run.arm == arm), key=lambda run: (run.badness, run.trial))
        best[arm] = None if run.metric is None else run.trial
    return best
