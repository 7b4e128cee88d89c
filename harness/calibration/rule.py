"""Targets from runs of tuned references: the rule, and what it makes of records.

A value is made of what at least 90 % of fresh seeds of a tuned reference reach by 80 % of the budget, rounded to three
digits, to the easier side. The target is the value of the reference that anchors the scores, at its best setting, so
that scores have a time to be measured in; the value of the best of all references is the `hard` level (ADR 0006).

On a stream the rule is applied to every stage: in the runs that its values are made of, all stages last equally long,
met or not. But runs at such targets move on as soon as they may, with less training behind them, and have five chances
to miss. So all stages are made easier together, by the least `slack` at which enough fresh seeds reach the end.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence

import msgspec

from harness.contract.base import Data
from harness.contract.domains import HParams
from harness.contract.record import Record
from harness.contract.workload import Stage, Target, WorkloadFacts

#: Share of the fresh seeds that reach a target, and of the budget by which they do.
SEEDS_SHARE, BUDGET_SHARE = 0.9, 0.8
#: The easier target is what they reach by this share of the budget. The harder one is the best reference's, and
#: where that is no other or no better what this share of the anchor's seeds reach.
EASY_BUDGET_SHARE, HARD_SEEDS_SHARE = 0.6, 0.5
#: Resolution beyond which, and evaluations before the hit below which, a workload is coarse.
FINE, EVALUATIONS = 0.02, 50
#: By how much the errors at a stream's stages may be multiplied, in the order of trying; see `loosen_targets`.
TOLERANCE_FACTORS = (1.0, 1.02, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.5, 1.75, 2.0, 2.5, 3.0)


class TunedSetting(Data, frozen=True, kw_only=True):
    """A setting that was tried on the tuning seed.

    Args:
        submission: `name@version`.
        hparams: its hyperparameters.
        value: the best value of the primary metric within the share of the budget (on a stream: the mean over the
            stages of the best value in each); None where the run broke.
        examples: drawn in all.
        run: its run_id.
    """

    submission: str
    hparams: HParams
    value: float | None
    examples: int
    run: str


class Level(Data, frozen=True, kw_only=True):
    """A target's value, and the way of the anchor's fresh seeds to it: examples and scored seconds, None for a miss."""

    value: float
    examples: tuple[int | None, ...]
    seconds: tuple[float | None, ...]


class StageLevel(Data, frozen=True, kw_only=True):
    """A stage's value by the rule, and the final value of each task's metric that as many seeds are above."""

    name: str
    value: float
    floors: dict[str, float] = msgspec.field(default_factory=dict)


class Calibration(Data, frozen=True, kw_only=True):
    """What a workload's targets come from.

    Args:
        workload: `name@version` that the runs were of.
        hardware: their hardware class.
        torch: the version of torch.
        settings: all that was tried on the tuning seed, best first.
        best, anchor: `name@version` of the best reference and of the one that anchors the scores.
        metric, goal: what the target is about (pools).
        horizon: the budget in examples.
        levels: `easy`, `main`, `hard` (pools).
        stages: what the rule makes of each stage (streams).
        slack: by what the errors there are multiplied to make targets; None until it was looked for, or where not even
            the largest will do.
        checks: run_ids of the fresh seeds that went through the stream at those targets.
        resolution: one standard error of the score metric as a share of the examples to the target.
        evaluations: evaluations before the hit, the median over seeds; on a stream those at which a stage could have
            ended.
        runs: run_ids of the fresh seeds of both.
    """

    schema: int = 1
    workload: str
    hardware: str
    torch: str
    settings: tuple[TunedSetting, ...]
    best: str
    anchor: str
    metric: str = ""
    goal: str = ""
    horizon: int
    levels: dict[str, Level] = msgspec.field(default_factory=dict)
    stages: tuple[StageLevel, ...] = ()
    slack: float | None = None
    checks: tuple[str, ...] = ()
    resolution: float | None = None
    evaluations: float | None = None
    runs: tuple[str, ...] = ()

    @property
    def coarse(self) -> bool:
        """Whether the resolution is unknown or beyond 2 %, or there are fewer than 50 evaluations to tell times by."""
        few = self.evaluations is None or self.evaluations < EVALUATIONS
        return few or self.resolution is None or self.resolution > FINE


def settings(records: Iterable[Record]) -> tuple[TunedSetting, ...]:
    """The settings tried on tuning seeds, best first."""
    tried = [_setting(record) for record in records]
    goals = {record.spec.workload.facts.targets[0].goal for record in records if record.spec.workload.facts.targets}
    sign = -1.0 if goals == {"max"} else 1.0

    def rank(setting: TunedSetting) -> tuple[bool, float]:
        return setting.value is None, 0.0 if setting.value is None else sign * setting.value

    return tuple(sorted(tried, key=rank))


def _setting(record: Record) -> TunedSetting:
    facts = record.spec.workload.facts
    values: list[float | None] = []
    if record.status in ("reached", "exhausted"):
        stages = range(len(facts.stages)) if facts.stages else [None]
        values = [_best(record, facts.targets[0], facts.budget.horizon, stage) for stage in stages]
    complete = [value for value in values if value is not None]
    return TunedSetting(
        submission=record.spec.submission.id,
        hparams=record.spec.hparams,
        value=statistics.fmean(complete) if complete and len(complete) == len(values) else None,
        examples=record.counters.examples,
        run=record.run_id,
    )


def calibrate(tuning: Sequence[TunedSetting], best: Sequence[Record], anchor: Sequence[Record] = ()) -> Calibration:
    """The calibration that fresh seeds make.

    Args:
        tuning: all settings tried, best first.
        best: records of the best setting on one workload, on seeds of their own; not empty.
        anchor: the same of the best setting of the submission that anchors the scores; empty where that is the best
            one, or where it cannot meet any target (streams, whose floors need replay).
    """
    spec, facts = best[0].spec, best[0].spec.workload.facts
    common = Calibration(
        workload=facts.id,
        hardware=spec.hardware,
        torch=best[0].environment.torch if best[0].environment else "",
        settings=tuple(tuning),
        best=spec.submission.id,
        anchor=(anchor or best)[0].spec.submission.id,
        horizon=facts.budget.horizon,
        runs=tuple(record.run_id for record in (*anchor, *best)),
    )
    return _of_stream(common, facts, best) if facts.stages else _of_pool(common, facts, best, anchor or best)


# --- pools --------------------------------------------------------------------------------------


def _of_pool(
    common: Calibration, facts: WorkloadFacts, best: Sequence[Record], anchor: Sequence[Record]
) -> Calibration:
    target, horizon = facts.targets[0], facts.budget.horizon
    values = {
        "easy": reached_by(anchor, target, SEEDS_SHARE, EASY_BUDGET_SHARE * horizon),
        "main": reached_by(anchor, target, SEEDS_SHARE, BUDGET_SHARE * horizon),
        "hard": reached_by(best, target, SEEDS_SHARE, BUDGET_SHARE * horizon),
    }
    main, hard = values["main"], values["hard"]
    if main is not None and (hard is None or not target.better(hard, main)):
        values["hard"] = reached_by(anchor, target, HARD_SEEDS_SHARE, BUDGET_SHARE * horizon)
    levels = {
        name: _level(easier(value, target), anchor, target, BUDGET_SHARE * horizon)
        for name, value in values.items()
        if value is not None
    }
    hits = [n / facts.eval_every for n in levels["main"].examples if n is not None] if "main" in levels else []
    return msgspec.structs.replace(
        common,
        metric=target.metric,
        goal=target.goal,
        levels=levels,
        resolution=resolution(anchor, target, levels["main"].value) if "main" in levels else None,
        evaluations=statistics.median(hits) if hits else None,
    )


def reached_by(
    fresh: Sequence[Record], target: Target, seeds_share: float, examples: float, stage: int | None = None
) -> float | None:
    """The best value that at least this share of the runs reach within so many examples; None if too few ran."""
    best = [_best(record, target, examples, stage) for record in fresh]
    return _kept_by([value for value in best if value is not None], target, seeds_share, len(fresh))


def _kept_by(values: Sequence[float], target: Target, share: float, n: int) -> float | None:
    """The best value that at least a share of `n` values are as good as."""
    needed = math.ceil(share * n - 1e-9)
    ordered = sorted(values, reverse=target.goal == "max")
    return ordered[needed - 1] if len(ordered) >= needed else None


def _best(record: Record, target: Target, examples: float, stage: int | None = None) -> float | None:
    points = _running(record, target, examples, stage)
    return points[-1][1] if points else None


def easier(value: float, target: Target, digits: int = 3) -> float:
    """A value rounded to so many significant digits, never to the harder side.

    >>> easier(1.1063, Target(metric="loss", goal="min", value=2.0))
    1.11
    """
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) + 1 - digits)
    scaled = value / unit
    rounded = math.ceil(scaled - 1e-9) if target.goal == "min" else math.floor(scaled + 1e-9)
    return float(f"{rounded * unit:.{digits}g}")


def _level(value: float, fresh: Sequence[Record], target: Target, limit: float) -> Level:
    hits = [_hit(record, target, value, limit) for record in fresh]
    return Level(
        value=value,
        examples=tuple(None if hit is None else hit[0] for hit in hits),
        seconds=tuple(None if hit is None else round(hit[1], 3) for hit in hits),
    )


def _hit(record: Record, target: Target, value: float, limit: float) -> tuple[int, float] | None:
    for point in record.points[1:]:
        if point.examples > limit:
            return None
        found = point.metrics.get(target.metric)
        if found is not None and not target.better(value, found):
            return point.examples, point.scored(record.spec.clock)
    return None


def _running(record: Record, target: Target, limit: float, stage: int | None = None) -> list[tuple[int, float]]:
    """(examples, best value so far) at every evaluation of a stage within a limit, the untrained model left out."""
    found: list[tuple[int, float]] = []
    for point in record.points[1:]:
        value = point.metrics.get(target.metric)
        if point.examples > limit or value is None or stage not in (None, point.stage):
            continue
        best = value if not found or target.better(value, found[-1][1]) else found[-1][1]
        found.append((point.examples, best))
    return found


def resolution(fresh: Sequence[Record], target: Target, value: float) -> float | None:
    """One standard error of the score metric, as a share of the examples to the target; the median over runs.

    The error is turned into examples by each run's own curve: those between the value and the value one standard
    error easier. Needs the workload to report `se` beside the metric.

    Args:
        fresh: the runs.
        target: the metric and its direction.
        value: that is to be met.
    """
    shares = []
    for record in fresh:
        met = _met(record, msgspec.structs.replace(target, value=value))
        if met is not None and met[1] > 0 and _errors(record, target):
            shares.append((met[1] - met[0]) / met[1])
    return float(f"{statistics.median(shares):.2g}") if shares else None


def _met(record: Record, target: Target, stage: int | None = None) -> tuple[float, float] | None:
    """Examples at which a run meets a value one standard error easier (exact where none is known), and the value."""
    errors = _errors(record, target, stage)
    error = statistics.median(errors[-5:]) if errors else 0.0
    curve = _running(record, target, math.inf, stage)
    hit = _crossing(curve, target, target.value)
    earlier = _crossing(curve, target, target.value + error if target.goal == "min" else target.value - error)
    return None if earlier is None or hit is None else (earlier, hit)


def _errors(record: Record, target: Target, stage: int | None = None) -> list[float]:
    """The standard errors of a metric at the evaluations: `se`, or `se/<k>` of a metric `<name>/<k>`."""
    _, slash, task = target.metric.partition("/")
    name = f"se{slash}{task}"
    return [p.metrics[name] for p in record.points[1:] if name in p.metrics and stage in (None, p.stage)]


def _crossing(curve: Sequence[tuple[int, float]], target: Target, value: float) -> float | None:
    """Examples at which a monotone curve meets a value, linear between evaluations."""
    if curve and not target.better(value, curve[0][1]):
        return float(curve[0][0])
    for (n_0, v_0), (n_1, v_1) in itertools.pairwise(curve):
        if not target.better(value, v_1):
            return n_0 + (n_1 - n_0) * (v_0 - value) / (v_0 - v_1) if v_0 != v_1 else float(n_1)
    return None


# --- streams ------------------------------------------------------------------------------------


def _of_stream(common: Calibration, facts: WorkloadFacts, fresh: Sequence[Record]) -> Calibration:
    levels = []
    for index, stage in enumerate(facts.stages):
        target = stage.targets[0]
        value = reached_by(fresh, target, SEEDS_SHARE, math.inf, index)
        if value is None:
            break
        floors = {floor.metric: _final(fresh, floor) for floor in stage.floors}
        levels.append(StageLevel(name=stage.name, value=easier(value, target), floors=floors))
    return msgspec.structs.replace(
        common, metric=facts.targets[0].metric, goal=facts.targets[0].goal, stages=tuple(levels)
    )


def loosen_targets(made: Calibration, stages: Sequence[Stage], slack: float) -> tuple[Stage, ...]:
    """Stages with the targets that a slack makes of a calibration's values; caps and floors stay.

    The error of a metric that is to be high is its distance from 1 (all of them are shares), of any other the metric
    itself.
    """
    return tuple(
        msgspec.structs.replace(
            stage,
            targets=(msgspec.structs.replace(stage.targets[0], value=_loosen(level.value, stage.targets[0], slack)),),
        )
        for stage, level in zip(stages, made.stages, strict=True)
    )


def with_tolerance(made: Calibration, slack: float | None, checks: Sequence[Record]) -> Calibration:
    """A calibration with the slack that was found and what the runs at its targets say of its resolution.

    Args:
        made: without.
        slack: None where none holds.
        checks: fresh seeds that went through the stream at the targets that the slack makes.
    """
    if slack is None:
        return made
    ends = [_evaluations(record) for record in checks if record.status == "reached"]
    return msgspec.structs.replace(
        made,
        slack=slack,
        checks=tuple(record.run_id for record in checks),
        evaluations=statistics.median(ends) if ends else None,
        resolution=stream_resolution(checks),
    )


def _evaluations(record: Record) -> float:
    """Evaluations of a run through a stream, less those before the fewest examples that its stages last."""
    facts = record.spec.workload.facts
    least = sum(stage.min_examples for stage in facts.stages)
    return (record.points[-1].examples - least) / facts.eval_every


def stream_resolution(checks: Iterable[Record]) -> float | None:
    """One standard error at every stage, as a share of the examples to the end of the last; the median over runs.

    What a stage lasts longer than if its target and its floors were each a standard error easier is added up over the
    stages: they are judged by the same held-out examples, so that errors need not cancel. Needs `se` beside the target
    metric, and `se/<k>` beside a floor on `<metric>/<k>`, which counts as exact otherwise.

    Args:
        checks: runs through the stream; those that do not reach its end say nothing.
    """
    shares = []
    for record in checks:
        delays = [_delay(record, index) for index in range(len(record.spec.workload.facts.stages))]
        known = [delay for delay in delays if delay is not None]
        if record.status == "reached" and len(known) == len(delays):
            shares.append(sum(known) / record.points[-1].examples)
    return float(f"{statistics.median(shares):.2g}") if shares else None


def _delay(record: Record, index: int) -> float | None:
    """By how many examples a stage lasts longer than at values one standard error easier."""
    stage = record.spec.workload.facts.stages[index]
    begin = max((p.examples for p in record.points if p.stage < index), default=0)
    least = float(begin + stage.min_examples)
    spans = [_met(record, condition, index) for condition in (*stage.targets, *stage.floors)]
    if spans[0] is None or not _errors(record, stage.targets[0], index):
        return None
    known = [span for span in spans if span is not None]
    return max(least, *(late for _, late in known)) - max(least, *(early for early, _ in known))


def _loosen(value: float, target: Target, slack: float) -> float:
    return easier(1 - slack * (1 - value) if target.goal == "max" else slack * value, target)


def least_tolerance(holds: Callable[[float], bool]) -> float | None:
    """The least of `TOLERANCE_FACTORS` that holds, if one does.

    Tried one after the other: an easier stage ends earlier, and leaves less training behind for the floors of the last
    one, so that what holds may hold no longer at a larger slack.
    """
    return next((slack for slack in TOLERANCE_FACTORS if holds(slack)), None)


def _final(fresh: Sequence[Record], floor: Target) -> float:
    """The value of a floor's metric that enough runs end above."""
    ends = [record.points[-1].metrics.get(floor.metric, math.nan) for record in fresh]
    value = _kept_by([end for end in ends if not math.isnan(end)], floor, SEEDS_SHARE, len(fresh))
    return math.nan if value is None else easier(value, floor)
