"""How far an anchored score is known: the spread over a submission's studies, from the spreads of its medians."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.scoring.medians import median_interval, median_variance
from harness.scoring.scores import anchored_term, workload_time
from harness.scoring.selection import StudyKey
from harness.scoring.stats import Spread


def anchored_spread(
    studies: Mapping[str, Mapping[StudyKey, float]], reference: Mapping[str, float], counted: Sequence[str]
) -> Spread | None:
    """Spread of an anchored score over the submission's studies; the reference's times are taken as known.

    With six studies on every workload it is an interval. On one workload it is the interval of the median. On several,
    the variances of the medians add, since seeds of different workloads are independent, and Student's t has the
    degrees of freedom of Welch and Satterthwaite; adding the workloads' intervals instead would assume the worst of all
    at once. With fewer studies it is the range from every workload's worst study to every workload's best. A workload
    without a study adds no spread.

    Args:
        studies: workload -> study -> time, inf for a miss.
        reference: workload -> time of the reference.
        counted: workloads of the score.

    Source: A Method of Estimating the Variance of the Sample Median, Maritz and Jarrett 1978, equation 1
    Source: An Approximate Distribution of Estimates of Variance Components, Satterthwaite 1946, equation 17
    """
    present = [w for w in counted if studies.get(w)]
    if not present:
        return None
    terms, below, above, intervals = [], [], [], True
    for w in present:
        values = list(studies[w].values())
        ends = median_interval(values)
        intervals &= ends.kind == "interval"
        term = anchored_term(workload_time(values), reference[w])
        terms.append(term)
        # The slow end of the times is the low end of the score.
        below.append(term - anchored_term(ends.high, reference[w]))
        above.append(anchored_term(ends.low, reference[w]) - term)
    score, n = math.fsum(terms), len(counted)
    if not intervals:
        return Spread(low=(score - math.fsum(below)) / n, high=(score + math.fsum(above)) / n, kind="range")
    if len(present) > 1:
        half = _half_width([[anchored_term(t, reference[w]) for t in studies[w].values()] for w in present])
        return Spread(low=max(0.0, score - half) / n, high=min(n, score + half) / n, kind="interval")
    return Spread(low=(score - below[0]) / n, high=(score + above[0]) / n, kind="interval")


def _half_width(terms: Sequence[Sequence[float]]) -> float:
    """Half the width of a 95 % interval for a sum of medians, one per list of terms."""
    from scipy.stats import t

    variances = [(median_variance(values), len(values) - 1) for values in terms]
    total = math.fsum(v for v, _ in variances)
    if not total:
        return 0.0
    freedom = total**2 / math.fsum(v * v / n for v, n in variances)
    return float(t.ppf(0.975, freedom)) * math.sqrt(total)
