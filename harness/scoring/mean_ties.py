"""Finds ties in a ranking by the mean over workloads: every pair of submissions is tested, with Holm's correction.

A ranking by multiplier orders submissions by the mean of their log multipliers over the workloads. The test is about
the same mean. A difference between two submissions may depend on the workload: an expensive optimizer may lead on a
large model and lag on a small one. This dependence is no noise, because the workloads are fixed. Only the spread over
seeds within a workload counts as noise.

The difference of A and B on a workload is the mean over paired studies of log (time of A / time of B). The tested value
is the mean of these differences over the workloads, and Student's t distribution gives its p-value. The variance on a
workload is the larger one of two estimates: that of the paired studies of A and B, and that of the residuals of all
submissions in the model log time = submission + seed + residual. The first one alone is too uncertain: with five
studies, copies of one submission are separated too often. The second one alone is too small for a submission that is
noisier than the others (ADR 30).

Source: An Approximate Distribution of Estimates of Variance Components, Satterthwaite 1946
Source: A Simple Sequentially Rejective Multiple Test Procedure, Holm 1979
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from harness.scoring.multiplier_estimate import ErrorSource, satterthwaite_degrees
from harness.scoring.stats import MIN_PAIRS, holm
from harness.scoring.ties import ALPHA, PairVerdict, Ties, rank_ranges

K = TypeVar("K", bound=Hashable)
#: Submission -> workload -> study -> time; inf for a run that broke down.
Studies: TypeAlias = Mapping[str, Mapping[str, Mapping[K, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanTest:
    """The test of the mean difference of two submissions.

    Args:
        log_ratios: log of (time of A / time of B) for each pair of studies, over all workloads.
        mean: mean over workloads of the mean log ratio; nan if a workload has fewer than two pairs.
        error: standard error of `mean`; nan if `mean` is nan.
        p: two-sided p-value; 1 with fewer than six pairs, or if `mean` is nan.
    """

    log_ratios: tuple[float, ...]
    mean: float
    error: float
    p: float


def residual_variances(studies: Studies[K], workloads: Iterable[str]) -> dict[str, ErrorSource]:
    """Return the variance of the residuals of log times on each workload, over all submissions with the same studies.

    A workload is left out if fewer than two submissions have the same two or more studies. A study with a run that
    broke down does not count.
    """
    variances = {}
    for workload in workloads:
        rows = [_finite(row.get(workload, {})) for row in studies.values()]
        kinds = Counter(tuple(sorted(row, key=repr)) for row in rows if len(row) >= 2)
        if not kinds:
            continue
        keys = max(kinds, key=lambda kind: (kinds[kind], len(kind), repr(kind)))
        table = [[row[key] for key in keys] for row in rows if all(key in row for key in keys)]
        if len(table) < 2:
            continue
        of_rows = [statistics.fmean(row) for row in table]
        of_columns = [statistics.fmean(column) for column in zip(*table, strict=True)]
        mean = statistics.fmean(of_rows)
        squares = math.fsum(
            (value - of_row - of_column + mean) ** 2
            for row, of_row in zip(table, of_rows, strict=True)
            for value, of_column in zip(row, of_columns, strict=True)
        )
        degrees = (len(table) - 1) * (len(keys) - 1)
        variances[workload] = ErrorSource(squares / degrees, degrees)
    return variances


def compare_means(
    a: Mapping[str, Mapping[K, float]],
    b: Mapping[str, Mapping[K, float]],
    workloads: Sequence[str],
    variances: Mapping[str, ErrorSource],
) -> MeanTest:
    """Test the mean difference of two submissions.

    Args:
        a, b: workload -> study -> time of A and of B. Studies with a run that broke down are not paired.
        workloads: the workloads; not empty.
        variances: the variances of the residuals (`residual_variances`). Without that of a workload, only the paired
            studies give its variance.
    """
    log_ratios: list[float] = []
    means: list[float] = []
    errors: list[ErrorSource] = []
    for workload in workloads:
        of_a, of_b = _finite(a.get(workload, {})), _finite(b.get(workload, {}))
        differences = [value - of_b[key] for key, value in of_a.items() if key in of_b]
        log_ratios += differences
        if len(differences) >= 2:
            means.append(statistics.fmean(differences))
            errors.append(error_of_differences(differences, variances.get(workload)))
    if len(means) < len(workloads) or not means:
        return MeanTest(log_ratios=tuple(log_ratios), mean=math.nan, error=math.nan, p=1.0)
    mean, error = statistics.fmean(means), math.sqrt(math.fsum(source.variance for source in errors)) / len(means)
    p = _two_sided_p(mean, error, errors) if len(log_ratios) >= MIN_PAIRS else 1.0
    return MeanTest(log_ratios=tuple(log_ratios), mean=mean, error=error, p=p)


def error_of_differences(differences: Sequence[float], pooled: ErrorSource | None) -> ErrorSource:
    """Return the error of the mean of paired differences of log times.

    Args:
        differences: at least two differences.
        pooled: the variance of the residuals on the workload; None if it is unknown.
    """
    own, n = statistics.variance(differences), len(differences)
    if pooled is None:
        return ErrorSource(own / n, n - 1)
    return ErrorSource(max(own, 2 * pooled.variance) / n, pooled.degrees)


def significant_ratio(verdicts: Sequence[PairVerdict]) -> float | None:
    """Return about how large a ratio of two times must be to be significant; None if no pair was tested.

    The ratio refers to a pair with the median standard error, and to the strictest step of Holm's correction.
    """
    errors = [pair.error for pair in verdicts if pair.error is not None]
    if not errors:
        return None
    quantile = statistics.NormalDist().inv_cdf(1 - ALPHA / 2 / len(verdicts))
    return math.exp(quantile * statistics.median(errors))


def _two_sided_p(mean: float, error: float, errors: Sequence[ErrorSource]) -> float:
    """Return the p-value of Student's t test with Satterthwaite's degrees of freedom."""
    if error == 0:
        return 0.0 if mean else 1.0
    from scipy.stats import t as student

    return float(2 * student.sf(abs(mean) / error, satterthwaite_degrees(errors)))


def _finite(times: Mapping[K, float]) -> dict[K, float]:
    """Return the log of each finite time."""
    return {key: math.log(time) for key, time in times.items() if math.isfinite(time)}


def rank_mean_ties(
    studies: Studies[K],
    *,
    order: Sequence[str],
    workloads: Sequence[str],
    at_least: Collection[str] = (),
    at_most: Collection[str] = (),
) -> Ties:
    """Test every pair of submissions of a ranking. A pair is tied unless its mean difference is significant.

    Args:
        studies: submission -> workload -> study -> time.
        order: submissions, best first.
        workloads: workloads of the ranking.
        at_least: submissions of which some times are lower bounds. None of them is found to be faster than another.
        at_most: submissions of which some times are upper bounds. None of them is found to be slower than another.
    """
    variances = residual_variances({name: studies[name] for name in order}, workloads)
    pairs = list(itertools.combinations(order, 2))
    tests = [compare_means(studies[a], studies[b], workloads, variances) for a, b in pairs]
    verdicts = []
    for (a, b), test, p in zip(pairs, tests, holm([test.p for test in tests]), strict=True):
        is_tested = len(test.log_ratios) >= MIN_PAIRS and not math.isnan(test.mean)
        verdict: Literal["faster", "tied", "undecided"] = "tied" if is_tested else "undecided"
        if p <= ALPHA and test.mean < 0 and a not in at_least and b not in at_most:
            verdict = "faster"
        verdicts.append(
            PairVerdict(
                a=a,
                b=b,
                verdict=verdict,
                log_ratios=test.log_ratios,
                p=p,
                mean=None if math.isnan(test.mean) else test.mean,
                error=None if math.isnan(test.error) else test.error,
            )
        )
    tied = frozenset((pair.a, pair.b) for pair in verdicts if pair.verdict != "faster")
    return Ties(verdicts=tuple(verdicts), ranks=rank_ranges(order, tied), required_pairs=MIN_PAIRS)
