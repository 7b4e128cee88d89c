"""The costs of runs relative to the reference, for time multipliers.

The costs come from the seconds of the runs themselves. If the runs were made on another hardware class, they come from
short runs of `bench cost` on the hardware class of the table. The result is then called a projection.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from harness.contract.record import Record, is_complete
from harness.errors import UsageError
from harness.scoring.cost_ratio import Block, block_of, cost_rates
from harness.scoring.multiplier_estimate import ErrorSource, error_of_mean

#: `name@version` of a submission and its batch size, on which the cost per example depends.
_Arm: TypeAlias = tuple[str, int]


class RelativeCosts(Protocol):
    """The costs of the runs on one workload, relative to the reference."""

    @property
    def problem(self) -> str:
        """Why no cost is known; empty if the costs of some runs are known."""

    @property
    def errors(self) -> tuple[ErrorSource | None, ...]:
        """The errors that all costs on the workload share, because they have the same runs of the reference."""

    def log_costs(self, runs: Sequence[Record]) -> dict[str, float]:
        """Return run ID -> log of the cost relative to the reference. Runs with an unknown cost are left out.

        Args:
            runs: all scored runs of one submission on the workload.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCosts:
    """Costs from the seconds of the runs.

    Args:
        seconds: run ID -> seconds of the run (see `budget_costs.run_seconds`).
        reference: the reference's scored runs on the workload.
        reference_name: `name@version` of the reference.
    """

    seconds: Mapping[str, float]
    reference: Sequence[Record]
    reference_name: str

    @property
    def problem(self) -> str:
        """See `RelativeCosts`."""
        return "" if self._reference_logs() else f"no run of {self.reference_name}, so the cost is unknown"

    @property
    def errors(self) -> tuple[ErrorSource | None, ...]:
        """See `RelativeCosts`."""
        return (error_of_mean(self._reference_logs()),)

    def log_costs(self, runs: Sequence[Record]) -> dict[str, float]:
        """See `RelativeCosts`."""
        if self.problem:
            return {}
        reference = statistics.fmean(self._reference_logs())
        known = [run.run_id for run in runs if run.run_id in self.seconds]
        return {run_id: math.log(self.seconds[run_id]) - reference for run_id in known}

    def _reference_logs(self) -> list[float]:
        return [math.log(self.seconds[run.run_id]) for run in self.reference if run.run_id in self.seconds]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectedCosts:
    """Costs from pairs of short runs of `bench cost` on one hardware class.

    A whole run is estimated to take the seconds of the construction + the seconds per example × the budget. The pairs
    are distributed over the runs of a submission, so that the costs of the runs are independent of each other, and
    their spread is the error of the cost.

    Args:
        hardware: hardware class of the pairs.
        log_ratios: (submission, batch size) -> one log of (seconds of the submission / seconds of the reference) for
            each pair.
    """

    hardware: str
    log_ratios: Mapping[_Arm, Sequence[float]]

    @property
    def problem(self) -> str:
        """See `RelativeCosts`."""
        return "" if self.log_ratios else f"no costs on {self.hardware} (bench cost)"

    @property
    def errors(self) -> tuple[ErrorSource | None, ...]:
        """See `RelativeCosts`. There are none: the errors of the pairs are in the costs of the runs."""
        return ()

    def log_costs(self, runs: Sequence[Record]) -> dict[str, float]:
        """See `RelativeCosts`. All are unknown if there are fewer pairs than runs."""
        costs: dict[str, float] = {}
        ordered = sorted(runs, key=lambda run: (run.spec.study, run.run_id))
        for index, run in enumerate(ordered):
            pairs = self.log_ratios.get(_arm_of(run), ())
            if len(pairs) >= len(runs):
                costs[run.run_id] = statistics.fmean(pairs[index :: len(runs)])
        return costs


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPairs:
    """The runs of `bench cost`, ordered for projections.

    Args:
        seconds: (hardware class, `name@version` of a workload) -> (submission, batch size) -> block -> estimated
            seconds of a whole run. A block is a session and a study, in which the submissions alternated.
    """

    seconds: Mapping[tuple[str, str], Mapping[_Arm, Mapping[Block, float]]] = field(default_factory=dict)

    @property
    def hardware(self) -> frozenset[str]:
        """The hardware classes on which costs were measured."""
        return frozenset(hardware for hardware, _ in self.seconds)

    def submissions(self, hardware: str) -> set[str]:
        """Return the submissions (`name@version`) whose costs were measured on a hardware class."""
        return {name for (own, _), arms in self.seconds.items() if own == hardware for name, _ in arms}

    def relative_to(self, hardware: str, workload: str, reference: str) -> ProjectedCosts:
        """Return the costs on a hardware class and a workload.

        Args:
            hardware: hardware class.
            workload: `name@version`.
            reference: `name@version` of the reference. Each other submission is compared with the reference's runs in
                the same blocks, at the batch size with the most runs.
        """
        arms = self.seconds.get((hardware, workload), {})
        baseline = max((blocks for (name, _), blocks in arms.items() if name == reference), key=len, default={})
        ratios = {
            arm: tuple(math.log(blocks[block] / baseline[block]) for block in sorted(blocks) if block in baseline)
            for arm, blocks in arms.items()
        }
        return ProjectedCosts(hardware=hardware, log_ratios={arm: logs for arm, logs in ratios.items() if logs})


def pair_costs(records: Iterable[Record]) -> CostPairs:
    """Collect the runs of `bench cost`. Failed runs, and runs with fewer than two evaluations, are left out.

    Args:
        records: records of any purpose. Only those with the purpose `cost` and without changed hyperparameters count.
    """
    seconds: dict[tuple[str, str], dict[_Arm, dict[Block, float]]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        spec = record.spec
        if spec.purpose != "cost" or spec.overridden or not is_complete(record.status):
            continue
        try:
            per_example, construction = cost_rates(record)
        except UsageError:
            continue
        facts = spec.workload.facts
        whole = construction + per_example * facts.budget.horizon
        seconds[spec.hardware, facts.id][_arm_of(record)][block_of(record)] = whole
    return CostPairs(
        seconds={key: {arm: dict(blocks) for arm, blocks in arms.items()} for key, arms in seconds.items()}
    )


def _arm_of(record: Record) -> _Arm:
    return record.spec.submission.id, int(record.spec.hparams.get("batch_size", 0))
