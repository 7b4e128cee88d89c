"""Makes the envelope of a workload: the final metric of its reference at horizons around the budget.

The learning rate is chosen for each horizon on a tuning seed. The chosen settings then run on new seeds. At the
workload's budget, further seeds check the envelope: the compute multiplier of the reference itself must be near 1.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.contract import hyperparameters
from harness.contract.domains import HParams
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.envelope import EnvelopeHorizon, ReferenceEnvelope
from harness.contract.record import Record
from harness.contract.ruleset import Ruleset
from harness.contract.run import Purpose, RunSpec
from harness.contract.workload import WorkloadFacts
from harness.errors import UsageError
from harness.planning.compose import Composition
from harness.planning.internal_rulesets import ENVELOPE_RULESET
from harness.planning.sampling import RATE_FACTOR, learning_rates, round_to_six_digits
from harness.scoring.compute_multiplier import MultiplierCurve
from harness.scoring.final_metric import final_metric, final_metric_name
from harness.scoring.multiplier_estimate import MultiplierEstimate
from harness.scoring.multipliers import estimate_compute

#: Smallest horizon as a multiple of the budget, and ratio between neighbouring horizons.
SMALLEST_SHARE, SHARE_RATIO = 1 / 8, math.sqrt(2)
#: If the best learning rate is the largest or the smallest that was tried, one beyond it is tried, at most this often.
MAX_EXTENSIONS = 3
#: Bounds within which the compute multiplier of the reference itself must be on further seeds.
OWN_MULTIPLIER = (0.95, 1.05)

#: Function that plans runs of the reference: purpose, number of studies, hyperparameters, first study and horizon.
PlanRuns = Callable[[Purpose, int, HParams, int, int], Sequence[RunSpec]]
#: Function that runs specifications and returns the records in the same order.
RunSpecs = Callable[[Sequence[RunSpec]], Sequence[Record]]


def envelope_horizons(facts: WorkloadFacts, largest_share: float) -> tuple[int, ...]:
    """Return the horizons of an envelope in examples, in increasing order. The budget is one of them.

    Each of the other horizons is a multiple of the evaluation interval. On a stream, the number of examples in each
    stage is also a multiple of this interval.

    Args:
        facts: facts of the workload.
        largest_share: the largest horizon as a multiple of the budget, at least 1.
    """
    unit, budget = facts.eval_every * max(1, len(facts.stages)), facts.budget.horizon
    steps_up = round(math.log(largest_share, SHARE_RATIO))
    steps_down = round(-math.log(SMALLEST_SHARE, SHARE_RATIO))
    horizons = {
        max(1, round(budget * SHARE_RATIO**step / unit)) * unit for step in range(-steps_down, steps_up + 1) if step
    }
    return tuple(sorted(horizons | {budget}))


@dataclass(slots=True)
class _Tuning:
    """The learning rates that were tried for one horizon, with their results.

    Args:
        horizon: the horizon in examples.
        results: learning rate -> mean final metric; None if a run broke down.
        settings: learning rate -> hyperparameters of its runs.
        runs: run IDs.
    """

    horizon: int
    results: dict[float, float | None] = field(default_factory=dict)
    settings: dict[float, HParams] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)


class EnvelopeMaker:
    """Plans and runs the trials of an envelope.

    Args:
        workload: entry of the workload.
        reference: entry of the reference.
        composition: the reference with its parts.
        plan: function that plans runs of the reference.
        run: function that runs specifications.
        ruleset: ruleset with the numbers of learning rates and seeds. With more seeds, the runs of fewer seeds are
            reused if `plan` makes the same specifications for them.
        largest_share: the largest horizon as a multiple of the budget.
        budget_studies: number of new seeds at the budget, and of further seeds that check the envelope; None for as
            many as at the other horizons.
        note: function that prints a line about the learning rates.
    """

    def __init__(
        self,
        workload: WorkloadEntry,
        reference: SubmissionEntry,
        composition: Composition,
        plan: PlanRuns,
        run: RunSpecs,
        *,
        ruleset: Ruleset = ENVELOPE_RULESET,
        largest_share: float = 2.0,
        budget_studies: int | None = None,
        note: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._workload = workload
        self._reference = reference
        self._space = composition.space
        self._plan = plan
        self._run = run
        self._note = note
        self._ruleset = ruleset
        self._budget_studies = max(budget_studies or 0, ruleset.studies)
        self._horizons = envelope_horizons(workload.facts, largest_share)

    def plan_tuning(self) -> list[RunSpec]:
        """Return the first tuning trials: all horizons with the learning rates around the default."""
        return [
            spec
            for horizon in self._horizons
            for rate in self._first_rates()
            for spec in self._plan_rate(horizon, rate)
        ]

    def make(self) -> ReferenceEnvelope:
        """Run all trials, and return the envelope.

        Raises:
            UsageError: a run of the reference broke down, or a larger budget does not improve the metric.
        """
        tunings = self._choose_rates()
        budget, at_budget = self._workload.facts.budget.horizon, self._budget_studies
        settings = {tuning.horizon: tuning.settings[self._best_rate(tuning)] for tuning in tunings}
        counts = {horizon: at_budget if horizon == budget else self._ruleset.studies for horizon in settings}
        planned = [self._plan("envelope", counts[h], setting, 0, h) for h, setting in sorted(settings.items())]
        checks = self._plan("envelope", at_budget, settings[budget], at_budget, budget)
        specs = [spec for horizon in planned for spec in horizon]
        records = list(self._run([*specs, *checks]))
        rest = iter(records)
        by_horizon = {horizon: [next(rest) for _ in range(counts[horizon])] for horizon in sorted(settings)}
        check_records = list(rest)
        spec, facts = records[0].spec, self._workload.facts
        envelope = ReferenceEnvelope(
            workload=facts.id,
            metric=final_metric_name(facts),
            goal=facts.targets[0].goal,
            budget=budget,
            reference=spec.submission.id,
            hardware=spec.hardware,
            torch=next((record.environment.torch for record in records if record.environment is not None), ""),
            horizons=tuple(
                EnvelopeHorizon(
                    examples=horizon,
                    hparams=group[0].spec.hparams,
                    metrics=self._final_metrics(group),
                    runs=tuple(record.run_id for record in group),
                )
                for horizon, group in by_horizon.items()
            ),
            checks=self._final_metrics(check_records),
            check_runs=tuple(record.run_id for record in check_records),
            tuning=tuple(run for tuning in tunings for run in tuning.runs),
        )
        MultiplierCurve(envelope)  # Raises an error if a larger budget does not improve the metric.
        return envelope

    def _first_rates(self) -> tuple[float, ...]:
        """Return the learning rates that are tried first; a single 0 if the reference has no learning rate."""
        if "lr" not in self._space:
            return (0.0,)
        return learning_rates(float(hyperparameters.default(self._space["lr"])), self._ruleset.trials)

    def _plan_rate(self, horizon: int, rate: float) -> Sequence[RunSpec]:
        """Return the tuning trials with one learning rate. All learning rates have the same seeds."""
        return self._plan("tuning", self._ruleset.tuning_studies, {"lr": rate} if rate else {}, 0, horizon)

    def _choose_rates(self) -> list[_Tuning]:
        """Run the tuning trials of all horizons.

        If the best learning rate is at the edge, one beyond it is added, at most `MAX_EXTENSIONS` times. If it is still
        at the edge, a note names the horizon.
        """
        tunings = [_Tuning(horizon) for horizon in self._horizons]
        pending: Mapping[int, Sequence[float]] = dict.fromkeys(self._horizons, self._first_rates())
        for _ in range(MAX_EXTENSIONS + 1):
            groups = [
                (t, rate, self._plan_rate(t.horizon, rate)) for t in tunings for rate in pending.get(t.horizon, ())
            ]
            records = iter(self._run([spec for _, _, specs in groups for spec in specs]) if groups else ())
            for tuning, rate, specs in groups:
                group = [next(records) for _ in specs]
                known = [value for record in group if (value := final_metric(record).value) is not None]
                tuning.results[rate] = statistics.fmean(known) if len(known) == len(group) else None
                tuning.settings[rate] = group[0].spec.hparams
                tuning.runs += [record.run_id for record in group]
            pending = {t.horizon: [beyond] for t in tunings if (beyond := self._next_rate(t)) is not None}
        if pending:
            at_edge = ", ".join(f"{horizon:,}" for horizon in pending)
            self._note(
                f"{self._workload.name}: at horizons of {at_edge} examples, the best learning rate is the largest or "
                "the smallest that was tried, so a better one may lie beyond it; give more --rates"
            )
        return tunings

    def _best_rate(self, tuning: _Tuning) -> float:
        """Return the learning rate with the best metric.

        Raises:
            UsageError: no learning rate has a metric, because its runs broke down.
        """
        goal = self._workload.facts.targets[0].goal
        known = {rate: value for rate, value in tuning.results.items() if value is not None}
        if not known:
            raise UsageError(
                f"every tuning run of {self._reference.name} on {self._workload.name} broke down at a horizon of "
                f"{tuning.horizon:,} examples",
                fix="read the logs of the runs",
            )
        return (min if goal == "min" else max)(known, key=known.__getitem__)

    def _next_rate(self, tuning: _Tuning) -> float | None:
        """Return the learning rate beyond the best one; None if the best is not at the edge or only one was tried."""
        rates, best = sorted(tuning.results), self._best_rate(tuning)
        if len(rates) == 1:
            return None
        if best == rates[-1]:
            return round_to_six_digits(best * RATE_FACTOR)
        return round_to_six_digits(best / RATE_FACTOR) if best == rates[0] else None

    def _final_metrics(self, records: Iterable[Record]) -> tuple[float, ...]:
        """Return the final metrics of runs.

        Raises:
            UsageError: a run broke down, or its metric is not positive.
        """
        metrics = []
        for record in records:
            value, reason = final_metric(record)
            if value is None or value <= 0:
                problem = f"{record.status}: {reason}" if value is None else f"its metric is {value:g}"
                raise UsageError(
                    f"the envelope of {self._workload.name} cannot be made, because {record.run_id} of "
                    f"{self._reference.name} has no positive final metric ({problem})",
                    fix="read the log of the run, then repeat the command with --retry-failed",
                )
            metrics.append(value)
        return tuple(metrics)


def own_multiplier(envelope: ReferenceEnvelope) -> MultiplierEstimate:
    """Return the compute multiplier of the reference itself, from the runs on further seeds."""
    curve = MultiplierCurve(envelope)
    return estimate_compute(curve.multipliers(envelope.checks))


def spread_of_log_multiplier(envelope: ReferenceEnvelope) -> float:
    """Return the standard deviation of the reference's log multiplier over its single runs at the budget."""
    (at_budget,) = (horizon for horizon in envelope.horizons if horizon.examples == envelope.budget)
    return statistics.stdev(run.log for run in MultiplierCurve(envelope).multipliers(at_budget.metrics))


def holds(envelope: ReferenceEnvelope) -> bool:
    """Return whether the compute multiplier of the reference itself is near 1 (see `OWN_MULTIPLIER`)."""
    estimate = own_multiplier(envelope)
    return not estimate.bound and OWN_MULTIPLIER[0] <= estimate.value <= OWN_MULTIPLIER[1]


def count_needed_seeds(envelope: ReferenceEnvelope) -> int | None:
    """Return the number of seeds at the budget with which a correct envelope violates `OWN_MULTIPLIER` in about 4 %.

    With this number of seeds, the distance from 1 to the upper bound is two standard errors of the reference's own
    multiplier. If a metric is outside the envelope, the standard error is unknown, and the result is None.
    """
    errors = own_multiplier(envelope).errors
    if errors is None:
        return None
    variance = math.fsum(source.variance for source in errors)
    return math.ceil(envelope.budget_seeds * variance / (math.log(OWN_MULTIPLIER[1]) / 2) ** 2)
