"""Evaluates models on the score split, or on a part of it if the part suffices for all decisions.

A part is measured in windows: ranges of consecutive examples (`Shard`) in a fixed order of the split.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
from torch import Tensor, nn

from harness.contract.record import Screening
from harness.contract.run import RunSpec
from harness.contract.workload import WHOLE, Shard
from harness.worker.agreement import agrees
from harness.worker.baseline import Baseline
from harness.worker.decisions import may_screen
from harness.worker.distributed.collectives import SINGLE_PROCESS, ProcessGroup
from harness.worker.evaluation import Evaluation, evaluate_split, evaluation_mode, require_target_metrics
from harness.worker.measured_part import MeasuredPart
from harness.worker.protocols import Bounded, Screenable, Sharded, Workload
from harness.worker.repeated_evaluation import RepeatedEvaluation, evaluation_key
from harness.worker.screenability import are_close, count_examples, describe_bias, find_obstacle, list_goals
from harness.worker.screening import (
    FIRST_PART,
    Decisions,
    Estimate,
    TaskSample,
    estimate_metrics,
    expect_differences,
    expect_renewal,
    find_bias,
    is_decided,
    next_part,
    smallest_part,
)
from harness.worker.worst_first import WorstFirst, WorstFirstEvaluation


class Evaluator:
    """Evaluates the models of a run on the score split, and counts the measured examples.

    Args:
        spec: the specification of the trial.
        workload: the workload.
        group: the ranks among which the examples are divided. All ranks take the decisions of rank 0.
        shadow: whether every screened evaluation is repeated on the whole split (shadow evaluation).

    Attributes:
        warnings: messages for the user. The caller removes them after printing.
    """

    def __init__(
        self, spec: RunSpec, workload: Workload, group: ProcessGroup = SINGLE_PROCESS, shadow: bool = False
    ) -> None:
        self.warnings: list[str] = []
        self._facts = spec.workload.facts
        self._goals = list_goals(self._facts)
        self._workload = workload
        self._group = group
        self._screening = Screening(shadow=shadow, disabled=find_obstacle(workload))
        self._may_screen = may_screen(spec)
        self._on_cpu = spec.device == "cpu"
        #: The stages in which the workload has been checked. Every stage of a stream has further tasks.
        self._checked_stages: set[int | None] = set()
        #: By stage and metric, the number of examples of every task.
        self._totals: dict[int | None, dict[str, list[int]]] = {}
        #: The latest estimates. The size of the next part follows from them.
        self._estimates: dict[str, Estimate] = {}
        self._estimates_stage: int | None = None
        self._baseline = Baseline()
        self._repeated = RepeatedEvaluation()
        bounds = workload.value_bounds if isinstance(workload, Bounded) else {}
        # With several ranks, no examples are chosen by their values.
        self._worst_first = WorstFirst(bounds, is_supported=None if group.count == 1 else False)

    @property
    def outcome(self) -> Screening | None:
        """The number and the cost of the evaluations so far; None if the run may not have screened evaluations."""
        return self._screening if self._may_screen else None

    @property
    def _is_screening(self) -> bool:
        return self._may_screen and not self._screening.disabled

    def evaluate(self, model: nn.Module, *, stage: int | None = None, decisions: Decisions | None = None) -> Evaluation:
        """Evaluate the model on the score split; the result is equal on all ranks.

        Args:
            model: the model with the weights to evaluate. Its modules may be in training mode.
            stage: on a stream, index of the current stage; None on a pool.
            decisions: what the evaluation has to decide; None if it has to use the whole split.

        Raises:
            PluginError: the metric of a target is missing.
        """
        if not self._is_screening:
            examples = self._whole_examples(stage)
            self._count(evaluations=1, examples=examples, whole_examples=examples)
            return Evaluation(metrics=evaluate_split(self._workload, model, "score", stage, self._group))
        began = time.perf_counter()
        key = evaluation_key(model, stage, decisions) if self._on_cpu and self._group.count == 1 else ""
        if (repeated := self._repeated.find(key)) is not None:
            is_screened = repeated.examples is not None or repeated.screened is not None
            self._count(evaluations=1, screened=int(is_screened), whole_examples=self._whole_examples(stage))
            return repeated
        with evaluation_mode(model):
            measured = MeasuredPart()
            part, estimates = self._measure_parts(model, stage, decisions, measured)
            whole, whole_seconds = None, 0.0
            if part is None or self._screening.shadow:
                whole_began = time.perf_counter()
                whole = self._measure_whole(model, stage, estimates, measured, counted=part is None)
                whole_seconds = time.perf_counter() - whole_began
        seconds = time.perf_counter() - began
        self._count(
            evaluations=1,
            screened=0 if part is None else 1,
            screened_seconds=seconds if part is None else seconds - whole_seconds,
            whole_seconds=whole_seconds if self._screening.shadow else 0.0,
            whole_examples=self._whole_examples(stage),
        )
        evaluation = part if whole is None else replace(whole, screened=part)
        assert evaluation is not None
        self._repeated.keep(key, evaluation)
        return evaluation

    def add_disagreement(self, text: str) -> None:
        """Record that a screened evaluation and its repetition on the whole split decided differently."""
        self._screening = msgspec.structs.replace(self._screening, disagreements=(*self._screening.disagreements, text))
        self.warnings.append(f"screened and whole evaluation disagree: {text}")

    # --- parts -----------------------------------------------------------------------------------

    def _measure_parts(
        self, model: nn.Module, stage: int | None, decisions: Decisions | None, part: MeasuredPart
    ) -> tuple[Evaluation | None, dict[str, Estimate]]:
        """Measure parts of increasing size until one of them suffices for all decisions.

        The measured windows are added to `part`, which is empty at first.

        Returns:
            The evaluation, or None if no part suffices; and the estimates from the last part, which may be empty.
        """
        if decisions is None or stage not in self._totals or stage not in self._checked_stages:
            return None, {}
        if self._broadcast_number(1 if self._is_renewal_due(stage) else None):
            return None, {}
        totals, completes = self._totals[stage], self._can_complete(stage)
        estimates: dict[str, Estimate] = {}
        expected = self._estimates if self._estimates_stage == stage else {}
        limit = next_part(expected, decisions, totals) or self._whole_examples(stage)
        if (attempt := self._worst_first.begin(decisions, stage, limit)) is not None:
            proved = attempt.measure(partial(self._measure_values, model, stage))
            self._count(examples=attempt.examples)
            return (self._finish_worst_first(attempt, stage) if proved else None), {}
        while size := self._broadcast_number(next_part(expected, decisions, totals, part.size, completes=completes)):
            part.add(self._measure(model, stage, Shard(start=part.size, stop=size)), size)
            values = self._values(part.tensors(), stage, Shard(stop=size))
            before = count_examples(estimates)
            expected = estimates = estimate_metrics(
                {name: values[name] for name in totals}, totals, self._baseline.of_stage(stage)
            )
            self._count(examples=count_examples(estimates) - before)
            if self._broadcast_number(1 if is_decided(estimates, decisions) else None):
                self._estimates, self._estimates_stage = estimates, stage
                self._baseline.excess += self._count_excess(estimates, decisions, stage)
                return self._evaluation(estimates, stage), estimates
        return None, estimates

    def _finish_worst_first(self, attempt: WorstFirstEvaluation, stage: int | None) -> Evaluation:
        """Return the evaluation on the worst examples, and keep the estimates that decide the size of the next part."""
        self._estimates, means, errors = attempt.estimate()
        self._estimates_stage = stage
        targets = self._facts.targets if stage is None else self._facts.stages[stage].targets
        se = errors.get(targets[0].metric) if targets else None
        return Evaluation(metrics=means, examples=attempt.examples, se=se)

    def _can_complete(self, stage: int | None) -> bool:
        """Return whether a part can be completed to the whole split. There are three conditions:

        * Every metric must be of a single task.
        * The order of the examples in parts must be known.
        * The device must be the CPU. On a GPU, an example's values depend more on the other examples of its batch.
        """
        is_ordered = self._baseline.order in ("stored", "random")
        return is_ordered and self._on_cpu and all(len(sizes) == 1 for sizes in self._totals[stage].values())

    def _is_renewal_due(self, stage: int | None) -> bool:
        used = self._estimates_stage == stage and any(e.uses_differences for e in self._estimates.values())
        return self._baseline.is_renewal_due(stage, self._whole_examples(stage), used)

    def _evaluation(self, estimates: Mapping[str, Estimate], stage: int | None) -> Evaluation:
        targets = self._facts.targets if stage is None else self._facts.stages[stage].targets
        primary = estimates.get(targets[0].metric) if targets else None
        return Evaluation(
            metrics={name: estimate.mean for name, estimate in estimates.items()},
            examples=count_examples(estimates),
            se=None if primary is None else primary.se,
        )

    def _measure(self, model: nn.Module, stage: int | None, part: Shard = WHOLE) -> Any:
        """Return the measured values of a part of the split, from all ranks."""
        shard = msgspec.structs.replace(part, index=self._group.shard.index, count=self._group.shard.count)
        assert isinstance(self._workload, Sharded)
        return self._group.all_gather_rows(self._workload.measure(model, "score", shard, stage))

    def _measure_values(self, model: nn.Module, stage: int | None, part: Shard) -> dict[str, Sequence[Tensor]]:
        """Return the values of the examples of a part of the split, by metric and task."""
        values = self._values(self._measure(model, stage, part), stage, part)
        return {name: values[name] for name in self._totals[stage]}

    def _broadcast_number(self, number: int | None) -> int | None:
        """Return rank 0's positive number or None on all ranks. A decision is sent as 1 or None."""
        if self._group.count == 1:
            return number
        return int(self._group.broadcast(str(number or 0).encode())) or None

    def _values(
        self, measured: Mapping[str, Tensor], stage: int | None, shard: Shard
    ) -> Mapping[str, Sequence[Tensor]]:
        """Return the values of examples, by metric and task."""
        if isinstance(self._workload, Screenable):
            return self._workload.example_values(measured, "score", shard, stage)
        return {name: (tensor,) for name, tensor in measured.items() if tensor.ndim == 1}

    # --- the whole split -------------------------------------------------------------------------

    def _measure_whole(
        self,
        model: nn.Module,
        stage: int | None,
        part_estimates: Mapping[str, Estimate],
        measured_part: MeasuredPart,
        counted: bool,
    ) -> Evaluation:
        """Evaluate the whole split, and compare the estimates from a part with the result.

        Args:
            model, stage: see `evaluate`.
            part_estimates: the estimates from a part of the split; empty if no part was measured.
            measured_part: the windows of this part.
            counted: whether the examples are counted and the result is kept; False in a shadow evaluation.
        """
        assert isinstance(self._workload, Sharded)
        measured = self._complete(model, stage, measured_part) if counted and part_estimates else None
        saved = 0 if measured is None else measured_part.size
        measured = self._measure(model, stage) if measured is None else measured
        metrics = {name: float(v) for name, v in self._workload.metrics(measured, "score", stage).items()}
        require_target_metrics(self._facts, "score", metrics)
        values = self._values(measured, stage, Shard())
        values = {name: tasks for name, tasks in values.items() if name in metrics}
        estimates = estimate_metrics(values)
        self._totals[stage] = {name: [len(task) for task in tasks] for name, tasks in values.items()}
        self._count(examples=self._whole_examples(stage) - saved if counted else 0)
        if all(math.isfinite(value) for value in metrics.values()):
            if self._is_screening and stage not in self._checked_stages:
                metrics = self._check_workload(model, stage, metrics, values)
            if self._is_screening and (name := find_bias(part_estimates, metrics)):
                self._disable(describe_bias(name, part_estimates[name]))
        if counted:
            # A shadow evaluation must not change the size of the next part, which follows from what is kept.
            self._keep(model, stage, values, estimates)
        return Evaluation(metrics=metrics)

    def _complete(self, model: nn.Module, stage: int | None, part: MeasuredPart) -> dict[str, Tensor] | None:
        """Measure the examples outside a part, and return the whole split's values; None if this is not possible."""
        if not self._can_complete(stage):
            return None
        rest = self._measure(model, stage, Shard(start=part.size))
        return part.complete(rest, self._whole_examples(stage), self._baseline.order)

    def _keep(
        self,
        model: nn.Module,
        stage: int | None,
        values: Mapping[str, Sequence[Tensor]],
        estimates: Mapping[str, Estimate],
    ) -> None:
        """Keep the whole split's values as the baseline, and the estimates that decide the size of the next part."""
        if self._is_screening and self._baseline.is_order_needed(values):
            # In the first evaluation, that of the untrained model, all values may be equal and not show the order.
            self._baseline.find_order(self._measure_first_window(model, stage), values)
        self._baseline.renew(values, stage, self._goals)
        self._estimates = expect_differences(estimates, self._baseline.of_stage(stage))
        self._estimates_stage = stage
        if self._is_screening:
            probed_examples = self._worst_first.renew(values, stage, partial(self._measure_values, model, stage))
            self._count(examples=probed_examples)

    def _measure_first_window(self, model: nn.Module, stage: int | None) -> dict[str, Sequence[Tensor]]:
        """Return the values of the smallest part, which is one window, by metric and task."""
        window = self._measure_values(model, stage, Shard(stop=FIRST_PART))
        self._count(examples=count_examples(estimate_metrics(window, self._totals[stage])))
        return window

    def _check_workload(
        self,
        model: nn.Module,
        stage: int | None,
        metrics: dict[str, float],
        values: Mapping[str, Sequence[Tensor]],
    ) -> dict[str, float]:
        """Check that parts of the split can be used in this stage. If not, use the whole split from now on.

        Args:
            model, stage: see `evaluate`.
            metrics: the metrics of the whole split.
            values: the values of the whole split, by metric and task.

        Returns:
            The metrics of the whole split. If the workload's `metrics` and `evaluate` disagree, those of `evaluate`.
        """
        is_first = not self._checked_stages
        self._checked_stages.add(stage)
        if is_first and self._group.count == 1 and not agrees(self._workload, model, stage, metrics):
            self._disable("evaluate() and metrics() return different values")
            return evaluate_split(self._workload, model, "score", stage)
        if not values:
            self._disable("measure() returns no values per example of a metric", warn=False)
            return metrics
        means = {name: estimate.mean for name, estimate in estimate_metrics(values).items()}
        if not are_close(means, {name: metrics[name] for name in means}):
            name = next(n for n, mean in means.items() if not are_close({n: mean}, {n: metrics[n]}))
            self._disable(f"the mean of the values of {name} is {means[name]!r}, the metric is {metrics[name]!r}")
            return metrics
        if self._whole_examples(stage) <= FIRST_PART:
            return metrics
        window = self._measure_first_window(model, stage)
        estimates = estimate_metrics(window, self._totals[stage])
        if count_examples(estimates) >= self._whole_examples(stage):
            self._disable(f"measure() returns the whole split for a window of {FIRST_PART} examples", warn=False)
        elif name := find_bias(estimates, metrics):
            self._disable(describe_bias(name, estimates[name]))
        elif self._baseline.order == "unknown":
            self._baseline.find_order(window, values)
        return metrics

    def _disable(self, reason: str, warn: bool = True) -> None:
        """Use the whole split in all further evaluations."""
        self._screening = msgspec.structs.replace(self._screening, disabled=reason)
        if warn:
            self.warnings.append(f"all evaluations of {self._facts.id} use the whole score split: {reason}")

    def _whole_examples(self, stage: int | None) -> int:
        """Return the number of examples of the whole split; 0 before its first evaluation."""
        return max((sum(sizes) for sizes in self._totals.get(stage, {}).values()), default=0)

    def _count_excess(self, estimates: Mapping[str, Estimate], decisions: Decisions, stage: int | None) -> int:
        """Return the number of measured examples that a new baseline would have saved, in the best case."""
        expected = expect_renewal(estimates, self._baseline.of_stage(stage))
        return count_examples(estimates) - count_examples(smallest_part(expected, decisions))

    def _count(self, **increments: float) -> None:
        totals = {name: getattr(self._screening, name) + increment for name, increment in increments.items()}
        self._screening = msgspec.structs.replace(self._screening, **totals)

    # --- checkpoints -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the counts, and the values that decide the size of the next part."""
        return {
            "counts": msgspec.json.encode(self._screening).decode(),
            "checked": list(self._checked_stages),
            "totals": [[stage, totals] for stage, totals in self._totals.items()],
            "latest": {
                name: [[t.n, t.total, t.mean, t.variance, t.binary, t.reach] for t in estimate.tasks]
                for name, estimate in self._estimates.items()
            },
            "latest_stage": self._estimates_stage,
            "baseline": self._baseline.state_dict(),
            "worst_first": self._worst_first.state_dict(),
            "repeated": self._repeated.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, except the setting `shadow`."""
        counts = msgspec.json.decode(state["counts"], type=Screening)
        self._screening = msgspec.structs.replace(counts, shadow=self._screening.shadow)
        self._totals = {stage: dict(totals) for stage, totals in state["totals"]}
        # Checkpoints of earlier versions have a bool. The next evaluation of the whole split then repeats the check.
        self._checked_stages = set(state["checked"]) if isinstance(state["checked"], list) else set()
        self._estimates = {
            name: Estimate(tuple(TaskSample(*task) for task in tasks)) for name, tasks in state["latest"].items()
        }
        self._estimates_stage = state["latest_stage"]
        # Checkpoints of earlier versions lack the following keys.
        if "baseline" in state:
            self._baseline.load_state_dict(state["baseline"])
        if "worst_first" in state:
            self._worst_first.load_state_dict(state["worst_first"])
        if "repeated" in state:
            self._repeated.load_state_dict(state["repeated"])
