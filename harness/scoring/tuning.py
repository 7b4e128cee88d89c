"""Computes the gain from tuning: the median of the best time of k trials as a function of k.

The method follows equation 7 of Show Your Work: Improved Reporting of Experimental Results (arXiv 1909.03004), with two
differences. First, the median is computed instead of the mean, because the mean is undefined if a trial misses. Second,
the k trials are drawn without replacement.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.scoring.selection import ResultRun, select_usable


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningCurve:
    """The tuning curve of one submission on one workload, from the trials of all its studies.

    Args:
        hardware: hardware class.
        ruleset: `name@version`.
        workload: `name@version`.
        submission: `name@version`.
        trials: number of trials.
        best_times: median of the best time of k trials, for k = 1, 2, …; inf if the probability that all k trials miss
            exceeds ½.
        hit_rates: probability that at least one of k trials hits, for k = 1, 2, ….
    """

    hardware: str
    ruleset: str
    workload: str
    submission: str
    trials: int
    best_times: tuple[float, ...]
    hit_rates: tuple[float, ...]


def best_of_k(times: Sequence[float], k: int) -> tuple[float, float]:
    """Return the median of the best of k times, and the probability that the best time is finite.

    The k times are drawn from `times` without replacement.

    >>> best_of_k([1.0, 2.0, 3.0, math.inf], 2)
    (1.0, 1.0)
    """
    ordered, n = sorted(times), len(times)
    median = math.inf
    for i, value in enumerate(ordered):
        # Probability that at least one of k values is among the i + 1 smallest.
        if 1 - math.comb(n - i - 1, k) / math.comb(n, k) >= 0.5:
            median = value
            break
    missed = sum(math.isinf(value) for value in ordered)
    return median, 1 - math.comb(missed, k) / math.comb(n, k)


def curves(runs: Iterable[ResultRun]) -> list[TuningCurve]:
    """Return one curve for each submission and workload, for rulesets with several trials per study.

    The largest k is the number of trials per study, or the number of usable trials if this number is smaller.
    """
    times: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    trials_per_study: dict[tuple[str, str, str, str], int] = {}
    tuned = [run for run in runs if run.spec.ruleset.trials > 1]
    for run in select_usable(tuned)[0]:
        spec = run.spec
        ruleset = f"{spec.ruleset.name}@{spec.ruleset.version}"
        key = (spec.hardware, ruleset, spec.workload.facts.id, spec.submission.id)
        times[key].append(run.result.value)
        trials_per_study[key] = spec.ruleset.trials
    tuning_curves = []
    for key, values in sorted(times.items()):
        points = [best_of_k(values, k) for k in range(1, min(trials_per_study[key], len(values)) + 1)]
        hardware, ruleset, workload, submission = key
        tuning_curves.append(
            TuningCurve(
                hardware=hardware,
                ruleset=ruleset,
                workload=workload,
                submission=submission,
                trials=len(values),
                best_times=tuple(time for time, _ in points),
                hit_rates=tuple(rate for _, rate in points),
            )
        )
    return tuning_curves
