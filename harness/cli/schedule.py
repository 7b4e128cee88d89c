"""Compute the curve of a schedule for `bench show`: its factor of the learning rate at each update."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.contract import hyperparameters
from harness.contract.domains import Choice, Fixed, HParams, Scalar, Space
from harness.contract.entries import PartEntry
from harness.contract.schedule import Factors
from harness.contract.workload import WorkloadFacts
from harness.errors import UsageError
from harness.planning import schedule_curve
from harness.planning.compose import Composition
from harness.planning.trials import batch_size
from harness.plugins import loading
from harness.plugins.loading import select_keywords
from harness.report import curve as plotting
from harness.report import text

#: Defaults for the number of updates, the examples per update and the tokens per example.
HORIZON, BATCH_SIZE, TOKENS = 1000, 256, 4096
#: Without `--at`, the budget is divided into this number of equal intervals. JSON lists the factors at their ends.
_ROWS = 20


@dataclass(frozen=True, kw_only=True)
class CurveRequest:
    """The values of the options of `bench show` that affect the curve of a schedule.

    Args:
        overrides: values of hyperparameters by name (`--set`).
        horizon: number of updates in the budget; None for the workload's budget or the default.
        at: updates whose factors are printed. If None, the text has no table, and JSON lists regular intervals.
        facts: the workload that determines the budget, batch size, tokens and stages; None without `--workload`.
        tasks: number of tasks of equal length; None without `--tasks`.
    """

    overrides: Mapping[str, Scalar | str] = field(default_factory=dict)
    horizon: int | None = None
    at: tuple[int, ...] | None = None
    facts: WorkloadFacts | None = None
    tasks: int | None = None

    @property
    def needs_curve(self) -> bool:
        """Whether the user gave an option that only applies to a curve."""
        return bool(self.overrides) or any(v is not None for v in (self.horizon, self.at, self.facts, self.tasks))


@dataclass(frozen=True, kw_only=True)
class ScheduleCurve:
    """A schedule with its hyperparameters and its plan.

    Args:
        schedule: the schedule.
        hparams: values of the schedule's hyperparameters.
        plan: the run for which the schedule is planned.
        at: updates whose factors are printed. If None, the text has no table, and JSON lists regular intervals.
    """

    schedule: schedule_curve.Schedule
    hparams: HParams
    plan: schedule_curve.Plan
    at: tuple[int, ...] | None

    def json(self) -> dict[str, Any]:
        """Return the curve as data.

        The field `schedule` is a list of rows with `step` and `factor`, the factor of the learning rate. If the
        schedule sets the momentum or the weight decay, each row also has `momentum` or `weight_decay`.
        """
        steps = self.at
        if steps is None:
            steps = tuple(dict.fromkeys(round(i * self.plan.updates / _ROWS) for i in range(_ROWS + 1)))
        return {
            "horizon": self.plan.updates,
            "planned": self.plan.planned,
            "hyperparameters": self.hparams,
            "schedule": self._rows(steps),
        }

    def panels(self, points: int = 1000) -> list[plotting.Panel]:
        """Return a panel for each factor that the schedule sets. Each covers the whole budget."""
        last = self.plan.updates
        steps = [round(i * last / points) for i in range(points + 1)] if last > points else list(range(last + 1))
        factors = self._factors(steps)
        values: dict[str, list[float | None]] = {
            "learning rate / peak": [f.lr for f in factors],
            "momentum": [f.momentum for f in factors],
            "weight decay / initial": [f.weight_decay for f in factors],
        }
        return [
            plotting.Panel(label=label, x=steps, y=[y for y in ys if y is not None])
            for label, ys in values.items()
            if None not in ys
        ]

    def text(self) -> str:
        """Return the curves, drawn with characters, and a table of the factors at the updates in `at`."""
        hparams = select_keywords(self.schedule, self.hparams)
        values = ", ".join(f"{k}={f'{v:.6g}' if isinstance(v, float) else v}" for k, v in sorted(hparams.items()))
        planned = "" if self.plan.planned == self.plan.updates else f", planned for {self.plan.planned:,}"
        lines = [f"schedule over {self.plan.updates:,} updates{planned}{f' ({values})' if values else ''}"]
        for panel in self.panels():
            lines += [f"  {panel.label}", *(f"  {line}" for line in plotting.characters(panel))]
        if self.at:
            rows = self._rows(self.at)
            table = [["  " + name for name in rows[0]], *([f"{v:.6g}" for v in row.values()] for row in rows)]
            lines.append(text.columns(table, right_aligned=frozenset(range(len(rows[0])))))
        return "\n".join(lines)

    def _rows(self, steps: Iterable[int]) -> list[dict[str, float]]:
        steps = tuple(steps)
        rows = []
        for step, factors in zip(steps, self._factors(steps), strict=True):
            row = {"step": step, "factor": factors.lr, "momentum": factors.momentum}
            row["weight_decay"] = factors.weight_decay
            rows.append({name: value for name, value in row.items() if value is not None})
        return rows

    def _factors(self, steps: Iterable[int]) -> list[Factors]:
        with loading.drop_output():
            return schedule_curve.curve(self.schedule, self.hparams, self.plan, steps)


def resolve_curve(source: PartEntry | Composition, request: CurveRequest) -> ScheduleCurve | None:
    """Return the curve of a schedule, or of the schedule of a submission; None if the submission has no schedule.

    Args:
        source: a schedule, or a composed submission.
        request: the options of the command.

    Raises:
        UsageError: a hyperparameter does not exist, is out of range, or conflicts with another hyperparameter. Or the
            budget has fewer updates than tasks.
        PluginError: the schedule cannot be loaded.
    """
    with loading.drop_output():
        schedule = loading.load_object(source.load) if isinstance(source, PartEntry) else _load_schedule(source)
    if schedule is None:
        return None
    space = dict(source.space)
    values = schedule_curve.default_hparams(source, schedule) if isinstance(source, PartEntry) else {}
    space["batch_size"] = _batch_size_domain(space, request.facts)
    # A default in the function's signature replaces the default of the domain, unless it lies outside the domain.
    values = hyperparameters.resolve(space, {**_select_valid(values, space), **request.overrides}, (), {})
    plan = replace(_make_plan(values, request), holds="horizon" in source.needs)
    for check in source.checks:
        hyperparameters.check_relation(check, values, {"horizon": plan.planned, "task": plan.shortest_task})
    if isinstance(source, PartEntry) and "batch_size" not in source.space:
        values.pop("batch_size")
    return ScheduleCurve(schedule=schedule, hparams=values, plan=plan, at=request.at)


def _select_valid(values: HParams, space: Space) -> HParams:
    """Return the values that are allowed in the domains of their hyperparameters."""
    valid: HParams = {}
    for name, value in values.items():
        try:
            valid[name] = hyperparameters.validate(name, value, space[name])
        except UsageError:
            continue
    return valid


def _batch_size_domain(space: Space, facts: WorkloadFacts | None) -> Choice | Fixed:
    """Return the allowed batch sizes: those of the workload; without a workload, any size."""
    if facts is not None:
        return Choice(tuple(facts.batch_sizes), default=batch_size(space, facts))
    default = hyperparameters.default(space["batch_size"]) if "batch_size" in space else BATCH_SIZE
    return Fixed(int(default), limits=(1, None))


def _load_schedule(composition: Composition) -> schedule_curve.Schedule | None:
    """Return the schedule of a submission, or None if the submission is a class whose `step` sets the learning rate.

    The schedule is a part of the submission, or is defined by its recipe. If a submission consists only of parts and
    none of them is a schedule, the learning rate is constant.
    """
    for part in composition.parts:
        if part.kind == "schedule":
            schedule: schedule_curve.Schedule = loading.load_object(part.load)
            return schedule
    if composition.entry.load is None:
        return lambda progress: 1.0
    recipe_schedule = getattr(loading.load_object(composition.entry.load), "schedule", None)
    return recipe_schedule if callable(recipe_schedule) else None


def _make_plan(values: HParams, request: CurveRequest) -> schedule_curve.Plan:
    """Return the plan of a run. Its length is the requested horizon, or else the workload's budget or the default."""
    facts, size = request.facts, int(values["batch_size"])
    horizon, tokens, task_lengths = HORIZON, TOKENS, (1,) * (request.tasks or 0)
    if facts is not None:
        horizon, tokens = max(1, facts.budget.horizon // size), facts.tokens_per_example
        if facts.stages and facts.boundaries and request.tasks is None:
            task_lengths = tuple(stage.max_examples for stage in facts.stages)
    horizon = request.horizon or horizon
    total = sum(task_lengths)
    ends = [round(horizon * sum(task_lengths[: i + 1]) / total) for i in range(len(task_lengths))]
    if task_lengths and horizon < len(task_lengths):
        problem = f"{horizon} updates are too few for {len(task_lengths)} tasks"
        raise UsageError(problem, fix=f"give --horizon {len(task_lengths)} or more")
    return schedule_curve.Plan(
        updates=horizon,
        fraction=float(values.get("horizon_fraction", 1.0)),
        batch_size=size,
        tokens_per_example=tokens,
        tasks=tuple(end - begin for begin, end in zip([0, *ends], ends, strict=False)),
    )
