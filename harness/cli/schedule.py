"""From a submission or a bare schedule and what was asked about it to the points of its curve."""

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
from harness.report import curve as picture
from harness.report import text

#: What is planned for where neither `--horizon` nor a workload says: updates, examples in one, tokens in an example.
HORIZON, BATCH_SIZE, TOKENS = 1000, 256, 4096
#: Points of a curve that nobody named any of.
_ROWS = 20


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked: the values of `bench show`'s options."""

    settings: Mapping[str, Scalar | str] = field(default_factory=dict)
    horizon: int | None = None
    at: tuple[int, ...] | None = None
    facts: WorkloadFacts | None = None
    tasks: int | None = None

    @property
    def asked(self) -> bool:
        """Whether anything was asked that only a curve can answer."""
        return bool(self.settings) or any(v is not None for v in (self.horizon, self.at, self.facts, self.tasks))


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A schedule with its hyperparameters and its plan."""

    schedule: schedule_curve.Schedule
    hparams: HParams
    plan: schedule_curve.Plan
    at: tuple[int, ...] | None

    def json(self) -> dict[str, Any]:
        """`schedule` has a row per update: `step`, `factor`, and `momentum` and `weight_decay` where it drives them."""
        steps = self.at
        if steps is None:
            steps = tuple(dict.fromkeys(round(i * self.plan.horizon / _ROWS) for i in range(_ROWS + 1)))
        return {
            "horizon": self.plan.horizon,
            "planned": self.plan.planned,
            "hyperparameters": self.hparams,
            "schedule": self._rows(steps),
        }

    def panels(self, points: int = 1000) -> list[picture.Panel]:
        """The curve of each factor, over the whole budget."""
        last = self.plan.horizon
        steps = [round(i * last / points) for i in range(points + 1)] if last > points else list(range(last + 1))
        found = self._factors(steps)
        values: dict[str, list[float | None]] = {
            "learning rate / peak": [one.lr for one in found],
            "momentum": [one.momentum for one in found],
            "weight decay / initial": [one.weight_decay for one in found],
        }
        return [
            picture.Panel(label=label, x=steps, y=[y for y in ys if y is not None])
            for label, ys in values.items()
            if None not in ys
        ]

    def text(self) -> str:
        """The curves in characters, and the rows that were asked for."""
        chosen = select_keywords(self.schedule, self.hparams)
        values = ", ".join(f"{k}={f'{v:.6g}' if isinstance(v, float) else v}" for k, v in sorted(chosen.items()))
        planned = "" if self.plan.planned == self.plan.horizon else f", planned for {self.plan.planned:,}"
        lines = [f"schedule over {self.plan.horizon:,} updates{planned}{f' ({values})' if values else ''}"]
        for panel in self.panels():
            lines += [f"  {panel.label}", *(f"  {line}" for line in picture.characters(panel))]
        if self.at:
            rows = self._rows(self.at)
            table = [["  " + name for name in rows[0]], *([f"{v:.6g}" for v in row.values()] for row in rows)]
            lines.append(text.columns(table, right=frozenset(range(len(rows[0])))))
        return "\n".join(lines)

    def _rows(self, steps: Iterable[int]) -> list[dict[str, float]]:
        steps = tuple(steps)
        rows = []
        for step, one in zip(steps, self._factors(steps), strict=True):
            named = {"step": step, "factor": one.lr, "momentum": one.momentum, "weight_decay": one.weight_decay}
            rows.append({name: value for name, value in named.items() if value is not None})
        return rows

    def _factors(self, steps: Iterable[int]) -> list[Factors]:
        return schedule_curve.curve(self.schedule, self.hparams, self.plan, steps)


def drawing(what: PartEntry | Composition, request: Request) -> Drawing | None:
    """The schedule of a submission, or a bare one; None where a submission has none but its own step.

    Raises:
        UsageError: a hyperparameter that does not exist, is out of range, or does not go with another.
        PluginError: the schedule cannot be loaded.
    """
    schedule = loading.load_object(what.load) if isinstance(what, PartEntry) else _schedule(what)
    if schedule is None:
        return None
    space = dict(what.space)
    values = schedule_curve.default_hparams(what, schedule) if isinstance(what, PartEntry) else {}
    space["batch_size"] = _batch_size(space, request.facts)
    # A part's own defaults go first, and are held to its domains like anything set by hand.
    values = hyperparameters.resolve(space, {**_allowed(values, space), **request.settings}, (), {})
    plan = replace(_plan(values, request), holds="horizon" in what.needs)
    for check in what.checks:
        hyperparameters.require(check, values, {"horizon": plan.planned, "task": plan.shortest_task})
    if isinstance(what, PartEntry) and "batch_size" not in what.space:
        values.pop("batch_size")
    return Drawing(schedule=schedule, hparams=values, plan=plan, at=request.at)


def _allowed(values: HParams, space: Space) -> HParams:
    """Those defaults of a function that its part's domains allow."""
    allowed: HParams = {}
    for name, value in values.items():
        try:
            allowed[name] = hyperparameters.validate(name, value, space[name])
        except UsageError:
            continue
    return allowed


def _batch_size(space: Space, facts: WorkloadFacts | None) -> Choice | Fixed:
    """Every submission has a batch size: the workload's choice, or any."""
    if facts is not None:
        return Choice(tuple(facts.batch_sizes), default=batch_size(space, facts))
    asked = hyperparameters.default(space["batch_size"]) if "batch_size" in space else BATCH_SIZE
    return Fixed(int(asked), limits=(1, None))


def _schedule(composition: Composition) -> schedule_curve.Schedule | None:
    """The schedule among the parts, or in the recipe; a submission of parts without one has a constant rate."""
    for part in composition.parts:
        if part.kind == "schedule":
            found: schedule_curve.Schedule = loading.load_object(part.load)
            return found
    if composition.entry.load is None:
        return lambda progress: 1.0
    inside = getattr(loading.load_object(composition.entry.load), "schedule", None)
    return inside if callable(inside) else None


def _plan(values: HParams, request: Request) -> schedule_curve.Plan:
    """The plan for a workload's budget, or for as many updates as were named."""
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
        raise UsageError(f"{horizon} updates are too few for {len(tasks)} tasks")
    return schedule_curve.Plan(
        horizon=horizon,
        fraction=float(values.get("horizon_fraction", 1.0)),
        batch_size=size,
        tokens_per_example=tokens,
        tasks=tuple(end - begin for begin, end in zip([0, *ends], ends, strict=False)),
    )
