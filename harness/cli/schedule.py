"""The curve of a schedule, of a submission or by itself, with the hyperparameters that were requested."""

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

#: The plan without `--horizon` and without a workload: updates, examples per update, tokens per example.
HORIZON, BATCH_SIZE, TOKENS = 1000, 256, 4096
#: Intervals between the points of a curve that are printed without `--at`.
_ROWS = 20


@dataclass(frozen=True, kw_only=True)
class CurveRequest:
    """The request for a curve: the values of the options of `bench show`."""

    overrides: Mapping[str, Scalar | str] = field(default_factory=dict)
    horizon: int | None = None
    at: tuple[int, ...] | None = None
    facts: WorkloadFacts | None = None
    tasks: int | None = None

    @property
    def needs_curve(self) -> bool:
        """Whether an option was given that only a curve can answer."""
        return bool(self.overrides) or any(v is not None for v in (self.horizon, self.at, self.facts, self.tasks))


@dataclass(frozen=True, kw_only=True)
class ScheduleCurve:
    """A schedule with its hyperparameters and its plan; `at` are the updates to print, None for a regular grid."""

    schedule: schedule_curve.Schedule
    hparams: HParams
    plan: schedule_curve.Plan
    at: tuple[int, ...] | None

    def json(self) -> dict[str, Any]:
        """The curve as data. `schedule` has rows of `step`, `factor`, and `momentum` and `weight_decay` where set."""
        steps = self.at
        if steps is None:
            steps = tuple(dict.fromkeys(round(i * self.plan.horizon / _ROWS) for i in range(_ROWS + 1)))
        return {
            "horizon": self.plan.horizon,
            "planned": self.plan.planned,
            "hyperparameters": self.hparams,
            "schedule": self._rows(steps),
        }

    def panels(self, points: int = 1000) -> list[plotting.Panel]:
        """A panel for each factor that the schedule sets, over the whole budget."""
        last = self.plan.horizon
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
        """The curves drawn with characters, and the rows of `at`."""
        hparams = select_keywords(self.schedule, self.hparams)
        values = ", ".join(f"{k}={f'{v:.6g}' if isinstance(v, float) else v}" for k, v in sorted(hparams.items()))
        planned = "" if self.plan.planned == self.plan.horizon else f", planned for {self.plan.planned:,}"
        lines = [f"schedule over {self.plan.horizon:,} updates{planned}{f' ({values})' if values else ''}"]
        for panel in self.panels():
            lines += [f"  {panel.label}", *(f"  {line}" for line in plotting.characters(panel))]
        if self.at:
            rows = self._rows(self.at)
            table = [["  " + name for name in rows[0]], *([f"{v:.6g}" for v in row.values()] for row in rows)]
            lines.append(text.columns(table, right=frozenset(range(len(rows[0])))))
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
        return schedule_curve.curve(self.schedule, self.hparams, self.plan, steps)


def resolve_curve(source: PartEntry | Composition, request: CurveRequest) -> ScheduleCurve | None:
    """The curve of a schedule by itself, or of a submission's; None where a submission has no schedule.

    Raises:
        UsageError: a hyperparameter that does not exist, is out of range, or does not go with another.
        PluginError: the schedule cannot be loaded.
    """
    schedule = loading.load_object(source.load) if isinstance(source, PartEntry) else _load_schedule(source)
    if schedule is None:
        return None
    space = dict(source.space)
    values = schedule_curve.default_hparams(source, schedule) if isinstance(source, PartEntry) else {}
    space["batch_size"] = _batch_size_domain(space, request.facts)
    # The defaults of the function come before those of its domains, and are validated like overrides.
    values = hyperparameters.resolve(space, {**_select_valid(values, space), **request.overrides}, (), {})
    plan = replace(_plan(values, request), holds="horizon" in source.needs)
    for check in source.checks:
        hyperparameters.require(check, values, {"horizon": plan.planned, "task": plan.shortest_task})
    if isinstance(source, PartEntry) and "batch_size" not in source.space:
        values.pop("batch_size")
    return ScheduleCurve(schedule=schedule, hparams=values, plan=plan, at=request.at)


def _select_valid(values: HParams, space: Space) -> HParams:
    """The values that their domains allow."""
    valid: HParams = {}
    for name, value in values.items():
        try:
            valid[name] = hyperparameters.validate(name, value, space[name])
        except UsageError:
            continue
    return valid


def _batch_size_domain(space: Space, facts: WorkloadFacts | None) -> Choice | Fixed:
    """The batch sizes of a workload; without a workload any, and the default is the space's."""
    if facts is not None:
        return Choice(tuple(facts.batch_sizes), default=batch_size(space, facts))
    default = hyperparameters.default(space["batch_size"]) if "batch_size" in space else BATCH_SIZE
    return Fixed(int(default), limits=(1, None))


def _load_schedule(composition: Composition) -> schedule_curve.Schedule | None:
    """The schedule among the parts or in the recipe; a constant one for parts without one, None for a class."""
    for part in composition.parts:
        if part.kind == "schedule":
            schedule: schedule_curve.Schedule = loading.load_object(part.load)
            return schedule
    if composition.entry.load is None:
        return lambda progress: 1.0
    recipe_schedule = getattr(loading.load_object(composition.entry.load), "schedule", None)
    return recipe_schedule if callable(recipe_schedule) else None


def _plan(values: HParams, request: CurveRequest) -> schedule_curve.Plan:
    """The plan for the horizon of the request, or for the budget of its workload."""
    facts, size = request.facts, int(values["batch_size"])
    horizon, tokens, tasks = HORIZON, TOKENS, (1,) * (request.tasks or 0)
    if facts is not None:
        horizon, tokens = max(1, facts.budget.horizon // size), facts.tokens_per_example
        if facts.stages and facts.boundaries and request.tasks is None:
            tasks = tuple(stage.max_examples for stage in facts.stages)
    horizon = request.horizon or horizon
    total = sum(tasks)
    ends = [round(horizon * sum(tasks[: i + 1]) / total) for i in range(len(tasks))]
    if tasks and horizon < len(tasks):
        raise UsageError(f"{horizon} updates are too few for {len(tasks)} tasks", fix=f"--horizon {len(tasks)} or more")
    return schedule_curve.Plan(
        horizon=horizon,
        fraction=float(values.get("horizon_fraction", 1.0)),
        batch_size=size,
        tokens_per_example=tokens,
        tasks=tuple(end - begin for begin, end in zip([0, *ends], ends, strict=False)),
    )
