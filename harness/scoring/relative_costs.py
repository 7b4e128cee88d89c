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
from typing import NamedTuple, Protocol

from harness.contract.record import Record, is_complete
from harness.errors import UsageError
from harness.scoring.cost_ratio import Block, block_of, cost_rates
from harness.scoring.multiplier_estimate import ErrorSource, error_of_mean


class _Arm(NamedTuple):
    """What the cost of a run depends on, besides the workload and the hardware class.

    Args:
        submission: `name@version`.
        code_identity: hash of the submission's code.
        batch_size: the batch size.
    """

    submission: str
    code_identity: str
    batch_size: str


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
        reference: `name@version` of the reference.
        reference_logs: logs of the seconds of the reference's scored runs on the workload.
    """

    seconds: Mapping[str, float]
    reference: str
    reference_logs: Sequence[float]

    @property
    def problem(self) -> str:
        """See `RelativeCosts`."""
        return "" if self.reference_logs else f"no run of {self.reference}, so the cost is unknown"

    @property
    def errors(self) -> tuple[ErrorSource | None, ...]:
        """See `RelativeCosts`."""
        return (error_of_mean(self.reference_logs),)

    def log_costs(self, runs: Sequence[Record]) -> dict[str, float]:
        """See `RelativeCosts`."""
        if self.problem:
            return {}
        log_reference = statistics.fmean(self.reference_logs)
        known = [run.run_id for run in runs if run.run_id in self.seconds]
        return {run_id: math.log(self.seconds[run_id]) - log_reference for run_id in known}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectedCosts:
    """Costs from pairs of short runs of `bench cost` on one hardware class.

    A whole run is estimated to take the seconds of the construction + the seconds per example × the budget. The pairs
    are distributed over the studies of the ruleset, in the same way for all submissions. The costs of the runs are then
    independent, and their spread contains the error of the cost.

    Args:
        hardware: hardware class of the pairs.
        reference: `name@version` of the reference, whose cost is 1.
        blocks: the blocks of the reference's runs (see `CostPairs`), sorted.
        log_ratios: arm -> index of a block in `blocks` -> log of (seconds of the arm / seconds of the reference).
    """

    hardware: str
    reference: str
    blocks: tuple[Block, ...] = ()
    log_ratios: Mapping[_Arm, Mapping[int, float]] = field(default_factory=dict)

    @property
    def problem(self) -> str:
        """See `RelativeCosts`."""
        return "" if self.log_ratios else f"no costs on {self.hardware} (bench cost)"

    @property
    def errors(self) -> tuple[ErrorSource | None, ...]:
        """See `RelativeCosts`. There are none: the errors of the pairs are in the costs of the runs."""
        return ()

    @property
    def submissions(self) -> frozenset[str]:
        """The submissions (`name@version`) with a cost, except the reference."""
        return frozenset(arm.submission for arm in self.log_ratios) - {self.reference}

    @property
    def sessions(self) -> int:
        """Number of calls of `bench cost` in which the pairs were measured."""
        return len({session for session, _ in self.blocks})

    def log_costs(self, runs: Sequence[Record]) -> dict[str, float]:
        """See `RelativeCosts`. All are unknown if a run has no pair, because there are fewer pairs than studies."""
        costs: dict[str, float] = {}
        for run in runs:
            if run.spec.submission.id == self.reference:
                costs[run.run_id] = 0.0
                continue
            studies = max(run.spec.ruleset.studies, 1)
            pairs = self.log_ratios.get(arm_of_costs(run), {})
            logs = [log for index, log in pairs.items() if index % studies == run.spec.study % studies]
            if not logs:
                return {}
            costs[run.run_id] = statistics.fmean(logs)
        return costs


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPairs:
    """The runs of `bench cost`, ordered for projections.

    Args:
        seconds: (hardware class, `name@version` of a workload) -> arm -> block -> estimated seconds of a whole run. A
            block is a session and a study, in which the submissions alternated.
        torch: hardware class -> the versions of torch of its runs.
    """

    seconds: Mapping[tuple[str, str], Mapping[_Arm, Mapping[Block, float]]] = field(default_factory=dict)
    torch: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def hardware(self) -> frozenset[str]:
        """The hardware classes on which costs were measured."""
        return frozenset(hardware for hardware, _ in self.seconds)

    def relative_to(self, hardware: str, workload: str, reference: Sequence[Record]) -> ProjectedCosts:
        """Return the costs on a hardware class and a workload.

        Args:
            hardware: hardware class.
            workload: `name@version`.
            reference: scored runs of the reference on the workload; not empty. Each arm is compared with the cost runs
                of the same code and batch size in the same blocks.
        """
        name = reference[0].spec.submission.id
        arms = self.seconds.get((hardware, workload), {})
        known = [arm for arm in dict.fromkeys(map(arm_of_costs, reference)) if arm in arms]
        if not known:
            return ProjectedCosts(hardware=hardware, reference=name)
        baseline = arms[max(known, key=lambda arm: len(arms[arm]))]
        blocks = tuple(sorted(baseline))
        ratios = {
            arm: {i: math.log(by_block[block] / baseline[block]) for i, block in enumerate(blocks) if block in by_block}
            for arm, by_block in arms.items()
        }
        with_pairs = {arm: logs for arm, logs in ratios.items() if logs}
        return ProjectedCosts(hardware=hardware, reference=name, blocks=blocks, log_ratios=with_pairs)


def pair_costs(records: Iterable[Record]) -> CostPairs:
    """Collect the runs of `bench cost`. Runs from which no cost can be computed are left out.

    Args:
        records: records of any purpose. Only those with the purpose `cost` and with default hyperparameters count.
    """
    seconds: dict[tuple[str, str], dict[_Arm, dict[Block, float]]] = defaultdict(lambda: defaultdict(dict))
    torch: dict[str, set[str]] = defaultdict(set)
    for record in records:
        spec = record.spec
        is_changed = bool(spec.overridden) or spec.smoke or spec.profile or spec.prune
        if spec.purpose != "cost" or is_changed or not record.sessions or not is_complete(record.status):
            continue
        try:
            per_example, construction = cost_rates(record)
        except UsageError:
            continue
        facts = spec.workload.facts
        whole_seconds = construction + per_example * facts.budget.horizon
        if 0 < whole_seconds < math.inf:
            seconds[spec.hardware, facts.id][arm_of_costs(record)][block_of(record)] = whole_seconds
            torch[spec.hardware] |= {record.environment.torch} if record.environment else set()
    return CostPairs(
        seconds={key: {arm: dict(blocks) for arm, blocks in arms.items()} for key, arms in seconds.items()},
        torch={hardware: frozenset(versions) for hardware, versions in torch.items()},
    )


def arm_of_costs(record: Record) -> _Arm:
    """Return what the cost of a run depends on, besides the workload and the hardware class."""
    ref = record.spec.submission
    return _Arm(ref.id, ref.code_identity, str(record.spec.hparams.get("batch_size", "")))
