"""The uncertainty of an anchored score: a 95 % interval over studies, or a range for fewer than six studies."""

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
    """Return the uncertainty of an anchored score over the submission's studies.

    - With fewer than six studies on a workload, the result is a range. Its lower end is computed from the worst study
      of every such workload, and its upper end from the best study. Workloads with at least six studies contribute the
      ends of the 95 % interval of their median time.
    - With one workload and at least six studies, the 95 % interval of the median time is converted to scores.
    - With several workloads and at least six studies on each, the result is a 95 % interval from Student's t
      distribution. The variances of the workloads' medians are added, because the seeds of different workloads are
      independent. The degrees of freedom follow from the Welch–Satterthwaite equation.

    The reference's times are assumed to have no error. A workload without a study contributes no uncertainty.

    Args:
        studies: workload -> study -> time, inf for a miss.
        reference: workload -> time of the reference, in the same unit.
        counted: workloads that count in the score.

    Returns:
        The ends of the interval or range; None if no counted workload has a study.

    Source: A Method of Estimating the Variance of the Sample Median, Maritz and Jarrett 1978, equation 1
    Source: An Approximate Distribution of Estimates of Variance Components, Satterthwaite 1946, equation 17
    """
    with_studies = [w for w in counted if studies.get(w)]
    if not with_studies:
        return None
    terms, deviations_below, deviations_above, all_intervals = [], [], [], True
    for w in with_studies:
        values = list(studies[w].values())
        ends = median_interval(values)
        all_intervals &= ends.kind == "interval"
        term = anchored_term(workload_time(values), reference[w])
        terms.append(term)
        # The larger time gives the lower score.
        deviations_below.append(term - anchored_term(ends.high, reference[w]))
        deviations_above.append(anchored_term(ends.low, reference[w]) - term)
    term_sum, n = math.fsum(terms), len(counted)
    if not all_intervals:
        return Spread(
            low=(term_sum - math.fsum(deviations_below)) / n,
            high=(term_sum + math.fsum(deviations_above)) / n,
            kind="range",
        )
    if len(with_studies) > 1:
        half_width = _half_width([[anchored_term(t, reference[w]) for t in studies[w].values()] for w in with_studies])
        return Spread(low=max(0.0, term_sum - half_width) / n, high=min(n, term_sum + half_width) / n, kind="interval")
    return Spread(low=(term_sum - deviations_below[0]) / n, high=(term_sum + deviations_above[0]) / n, kind="interval")


def _half_width(terms: Sequence[Sequence[float]]) -> float:
    """Return half the width of a 95 % interval for a sum of medians. Each list of terms contributes its median."""
    from scipy.special import stdtrit  # The import of scipy.stats takes several times as long.

    variances = [(median_variance(values), len(values) - 1) for values in terms]
    total = math.fsum(v for v, _ in variances)
    if not total:
        return 0.0
    degrees_of_freedom = total**2 / math.fsum(v * v / freedom for v, freedom in variances)
    return float(stdtrit(degrees_of_freedom, 0.975)) * math.sqrt(total)
