"""The cost of a submission's tuning under `fixed-budget`, and the effect of a wrong learning rate."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.contract.domains import HParams
from harness.contract.record import Record, is_finished
from harness.scoring.compute_multiplier import Bound, Multiplier, MultiplierCurve
from harness.scoring.final_metric import final_metric
from harness.scoring.multiplier_estimate import invert_bound, join_bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningCost:
    """The tuning of a submission on a workload.

    Args:
        trials: number of finished tuning trials.
        broken: number of these trials that broke down, so they have no final metric.
        studies: number of tuning studies, in each of which every setting was tried once.
        seconds: sum of the measured scored seconds of these trials.
        rate: the chosen learning rate; None if the submission has none, or if no trial has the chosen one.
        edge: whether the chosen learning rate is the smallest or the largest one that was tried. A better one may then
            lie beyond it.
        factor: ratio of neighbouring learning rates; None if the effect of a wrong learning rate is unknown.
        rate_ratio: (compute multiplier at a learning rate that is wrong by `factor`) / (compute multiplier at the
            chosen learning rate). It is the geometric mean over the larger and the smaller learning rate. None if
            unknown.
        bound: the kind of bound; empty if `rate_ratio` is a value (see `Bound`).
        breaks: whether a run with the chosen or a neighbouring learning rate broke down.
    """

    trials: int
    broken: int
    studies: int
    seconds: float
    rate: float | None = None
    edge: Literal["", "smallest", "largest"] = ""
    factor: float | None = None
    rate_ratio: float | None = None
    bound: Bound = ""
    breaks: bool = False


def tuning_cost(tuning: Sequence[Record], chosen: HParams, curve: MultiplierCurve | None) -> TuningCost | None:
    """Return the cost of tuning trials and the effect of a wrong learning rate; None if no trial is finished.

    Args:
        tuning: records of the tuning trials of a submission on a workload.
        chosen: the setting that was chosen.
        curve: the inverse of the envelope; None if there is none.
    """
    finished = [record for record in tuning if is_finished(record.status)]
    if not finished:
        return None
    cost = TuningCost(
        trials=len(finished),
        broken=sum(final_metric(record).value is None for record in finished),
        studies=tuning_studies(finished),
        seconds=math.fsum(map(_scored_seconds, finished)),
    )
    by_rate: dict[float, list[Record]] = defaultdict(list)
    for record in finished:
        if isinstance(rate := record.spec.hparams.get("lr"), float):
            by_rate[rate].append(record)
    rates, best = sorted(by_rate), chosen.get("lr")
    if not isinstance(best, float) or best not in by_rate or len(rates) < 2:
        return cost
    cost = replace(cost, rate=best, edge="smallest" if best == rates[0] else "largest" if best == rates[-1] else "")
    if curve is None:
        return cost
    # If the runs at one learning rate are missing, the next one is no neighbour.
    factor = min(larger / smaller for smaller, larger in itertools.pairwise(rates))
    neighbours = [rate for rate in rates if math.isclose(max(rate, best) / min(rate, best), factor, rel_tol=0.01)]
    if not neighbours:
        return cost
    at_neighbours = [_multipliers(by_rate[rate], curve) for rate in neighbours]
    at_best = _multipliers(by_rate[best], curve)
    breaks = not (at_best and all(at_neighbours))
    log_ratio = math.nan if breaks else statistics.fmean(map(_mean_log, at_neighbours)) - _mean_log(at_best)
    # If the true multiplier at the chosen learning rate is larger than its bound, the true ratio is smaller.
    bounds = [multiplier.bound for multipliers in at_neighbours for multiplier in multipliers]
    bounds += [invert_bound(multiplier.bound) for multiplier in at_best]
    return replace(
        cost,
        factor=factor,
        rate_ratio=None if breaks else math.exp(log_ratio),
        bound=join_bounds(bounds),
        breaks=breaks,
    )


def tuning_studies(tuning: Sequence[Record]) -> int:
    """Return the number of studies with a finished tuning trial."""
    return len({(record.spec.root, record.spec.study) for record in tuning if is_finished(record.status)})


def _multipliers(records: Sequence[Record], curve: MultiplierCurve) -> list[Multiplier]:
    """Return the compute multipliers of runs; empty if one of them broke down."""
    values = [final_metric(record).value for record in records]
    known = [value for value in values if value is not None]
    return curve.multipliers(known) if known and len(known) == len(values) else []


def _mean_log(multipliers: Sequence[Multiplier]) -> float:
    return statistics.fmean(multiplier.log for multiplier in multipliers)


def _scored_seconds(record: Record) -> float:
    return record.points[-1].scored(record.spec.clock) if record.points else 0.0
