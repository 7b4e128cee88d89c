"""The gain from tuning: the best time of k trials, for every k up to the trials that were run.

Source: Show Your Work: Improved Reporting of Experimental Results, arXiv 1909.03004, equation 7; here for the median
and without replacement, since a mean is undefined where some trials miss, and a miss is never imputed as a time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.scoring.selection import select_usable
from harness.scoring.time_to_target import ScoredRun


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningCurve:
    """The best time of k trials of one submission on one workload, from the trials of all its studies.

    Args:
        hardware, ruleset, workload, submission: as in records.
        trials: number of trials.
        best: for k = 1, 2, …: the median of the best of k trials; inf where k trials more often miss than hit.
        hits: for the same k: the probability that at least one of k trials hits.
    """

    hardware: str
    ruleset: str
    workload: str
    submission: str
    trials: int
    best: tuple[float, ...]
    hits: tuple[float, ...]


def best_of_k(times: Sequence[float], k: int) -> tuple[float, float]:
    """Median of the smallest of k values drawn from `times` without replacement, and the chance that it is finite.

    >>> best_of_k([1.0, 2.0, 3.0, math.inf], 2)
    (1.0, 1.0)
    """
    ordered, n = sorted(times), len(times)
    median = math.inf
    for i, value in enumerate(ordered):
        # At least one of k lies among the i + 1 smallest.
        if 1 - math.comb(n - i - 1, k) / math.comb(n, k) >= 0.5:
            median = value
            break
    missed = sum(math.isinf(value) for value in ordered)
    return median, 1 - math.comb(missed, k) / math.comb(n, k)


def curves(runs: Iterable[ScoredRun]) -> list[TuningCurve]:
    """One curve for each submission and workload under a ruleset with several trials; k up to a study's trials."""
    times: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    most: dict[tuple[str, str, str, str], int] = {}
    tuned = [run for run in runs if run.spec.ruleset.trials > 1]
    for run in select_usable(tuned)[0]:
        spec = run.spec
        ruleset = f"{spec.ruleset.name}@{spec.ruleset.version}"
        key = (spec.hardware, ruleset, spec.workload.facts.id, spec.submission.id)
        times[key].append(run.result.value)
        most[key] = spec.ruleset.trials
    tuning_curves = []
    for key, values in sorted(times.items()):
        points = [best_of_k(values, k) for k in range(1, min(most[key], len(values)) + 1)]
        hardware, ruleset, workload, submission = key
        tuning_curves.append(
            TuningCurve(
                hardware=hardware,
                ruleset=ruleset,
                workload=workload,
                submission=submission,
                trials=len(values),
                best=tuple(best for best, _ in points),
                hits=tuple(hits for _, hits in points),
            )
        )
    return tuning_curves
