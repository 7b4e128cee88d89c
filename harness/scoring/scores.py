"""Scores of a table of times: anchored score, AlgoPerf's profile score and speed-up over the reference.

Source: Benchmarking Neural Network Training Algorithms, arXiv 2306.07179, section 4.3
Source: Benchmarking Optimization Software with Performance Profiles, arXiv cs/0102001, equation 1
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from harness.errors import UsageError, unknown_name_error

#: submission -> workload -> time to target (any positive unit); inf is a miss. An absent workload counts as a miss.
Table = Mapping[str, Mapping[str, float]]
#: An empty table of held-out variants (variant -> base workload).
NO_HELD_OUT: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An item that was left out or is incomplete, with the reason.

    Args:
        item: name of the item in the form of a path, such as `submission/workload`.
        reason: why the item was left out or is incomplete.
        counted: whether the item is scored nevertheless, either as a miss or with its available runs.
    """

    item: str
    reason: str
    counted: bool = False

    def __str__(self) -> str:
        return f"{self.item}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The performance profile of one submission.

    Args:
        score: mean of the profile ρ(τ) (see `curve`) over τ in [1, 4], a number in [0, 1]. As in AlgoPerf, it is
            computed by the trapezoidal rule from 100 points.
        exact: the same mean, integrated exactly.
        ratios: base workload -> time over the best time, after the penalties of `penalised_times`; inf is a miss.
    """

    score: float
    exact: float
    ratios: Mapping[str, float]

    def curve(self, taus: Iterable[float]) -> list[float]:
        """Return ρ(τ) for each τ: the fraction of base workloads on which the time is at most τ times the best time.

        >>> Profile(score=0, exact=0, ratios={"a": 1.0, "b": 2.0}).curve([1, 2])
        [0.5, 1.0]
        """
        return [sum(r <= tau for r in self.ratios.values()) / len(self.ratios) for tau in taus]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchored:
    """Anchored scores of a table.

    Args:
        scores: submission -> mean of the terms (see `anchored_term`) over `workloads`, in [0, 1].
        parts: submission -> workload -> term in [0, 1].
        workloads: workloads over which the mean is taken.
        reference: workload -> time of the reference.
        left_out: workloads that are left out of the mean, with the reasons.
    """

    scores: Mapping[str, float]
    parts: Mapping[str, Mapping[str, float]]
    workloads: tuple[str, ...]
    reference: Mapping[str, float]
    left_out: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speedup:
    """The speed-up of a submission over the reference.

    Args:
        value: geometric mean of (time of the reference / time of the submission); None if `workloads` is empty.
        workloads: workloads on which the reference and the submission reached the target.
        left_out: workloads on which the reference or the submission missed the target, with the reasons.
    """

    value: float | None
    workloads: tuple[str, ...]
    left_out: tuple[Skipped, ...]


def study_time(trials: Iterable[float]) -> float:
    """Return the time of a study: the smallest time of its trials. The time is inf if no trial hit.

    >>> study_time([3.0, math.inf, 2.0])
    2.0
    """
    return min(trials, default=math.inf)


def workload_time(studies: Collection[float]) -> float:
    """Return the time on a workload: the median over studies. A missed study has the time inf.

    >>> workload_time([1.0, math.inf, 3.0]), workload_time([1.0, math.inf])
    (3.0, inf)
    """
    return median(studies) if studies else math.inf


def check_table(times: Table) -> None:
    """Raise an error if a table is empty or has a time that is NaN, zero or negative.

    Raises:
        UsageError: the table cannot be scored; the message names the submission and the workload.
    """
    if not times:
        raise UsageError("the table of times is empty", fix="give at least one submission")
    for submission, row in times.items():
        for workload, time in row.items():
            if not time > 0:
                raise UsageError(
                    f"{submission} on {workload} has the time {time!r}; a time must be positive",
                    fix="write inf for a miss, or omit the workload",
                )


def anchored_term(time: float, reference: float) -> float:
    """Return the term of one workload in the anchored score: clip(log2(4·reference/time)/5, 0, 1).

    The term is 0.4 at the reference's speed, 1 at 8 times its speed or more, and 0 at a quarter of its speed or less.

    Args:
        time: time of the submission, inf for a miss.
        reference: time of the reference in the same unit.

    >>> anchored_term(10.0, 10.0), anchored_term(5.0, 10.0), anchored_term(math.inf, 10.0)
    (0.4, 0.6, 0.0)
    """
    if math.isinf(time):
        return 0.0
    return min(1.0, max(0.0, math.log2(4 * reference / time) / 5))


def anchored_scores(
    times: Table,
    reference: Mapping[str, float],
    *,
    workloads: Iterable[str] | None = None,
    coarse: Collection[str] = (),
) -> Anchored:
    """Return the mean of `anchored_term` over workloads, for every submission.

    The score of a submission depends on its own times and the reference's times, not on other submissions.

    Args:
        times: submission -> workload -> time to target.
        reference: workload -> time of the reference, in the unit of `times`.
        workloads: workloads to average over; by default every workload of the reference.
        coarse: workloads to leave out, because they have too few evaluations or too noisy metrics.

    Raises:
        UsageError: a time is not positive, or the reference reached the target on none of the workloads.
    """
    check_table({**times, "the reference": reference})
    counted, left_out = [], []
    for workload in reference if workloads is None else workloads:
        if workload in coarse:
            left_out.append(Skipped(item=workload, reason="coarse: not part of the anchored score"))
        elif math.isinf(reference.get(workload, math.inf)):
            reason = "the reference missed it" if workload in reference else "the reference has no time for it"
            left_out.append(Skipped(item=workload, reason=reason))
        else:
            counted.append(workload)
    if not counted:
        raise UsageError("no anchored score: the reference hit none of the workloads", fix="choose another reference")
    parts = {
        submission: {w: anchored_term(row.get(w, math.inf), reference[w]) for w in counted}
        for submission, row in times.items()
    }
    scores = {submission: math.fsum(terms.values()) / len(counted) for submission, terms in parts.items()}
    return Anchored(scores=scores, parts=parts, workloads=tuple(counted), reference=reference, left_out=tuple(left_out))


def reference_times(times: Table, reference: str) -> Mapping[str, float]:
    """Return the reference's row of a table.

    Raises:
        UsageError: the table has no submission of this name.
    """
    if reference not in times:
        raise unknown_name_error("reference", reference, times)
    return times[reference]


def geometric_speedup(times: Mapping[str, float], reference: Mapping[str, float]) -> Speedup:
    """Return the geometric mean of reference/time over workloads.

    Workloads on which the submission or the reference missed the target are left out.

    >>> geometric_speedup({"a": 1.0, "b": 2.0}, {"a": 4.0, "b": 2.0}).value
    2.0
    """
    logs, used, left_out = [], [], []
    for workload in dict.fromkeys((*reference, *times)):
        time, reference_time = times.get(workload, math.inf), reference.get(workload, math.inf)
        if math.isinf(time) and math.isinf(reference_time):
            left_out.append(Skipped(item=workload, reason="the submission and the reference missed the target"))
        elif math.isinf(time) or math.isinf(reference_time):
            name = "the submission" if math.isinf(time) else "the reference"
            left_out.append(Skipped(item=workload, reason=f"{name} missed the target"))
        else:
            logs.append(math.log(reference_time / time))
            used.append(workload)
    value = math.exp(math.fsum(logs) / len(logs)) if logs else None
    return Speedup(value=value, workloads=tuple(used), left_out=tuple(left_out))


def penalised_times(
    times: Table, *, base: Sequence[str], held_out: Mapping[str, str] = NO_HELD_OUT, limit: float = 4.0
) -> dict[str, dict[str, float]]:
    """Apply AlgoPerf's rules for held-out variants to a table, and return the columns of the base workloads.

    The result depends on the order of the rules. They are applied in AlgoPerf's order:

    1. If a submission missed a base workload, its times on the variants of this workload become misses. Such times can
       therefore not be the best time in rule 2.
    2. A time above `limit` times the best time on the workload becomes a miss.
    3. If a submission missed a variant, its time on the base workload becomes a miss. A miss by rule 2 also counts.

    Args:
        times: submission -> workload -> time to target.
        base: base workloads.
        held_out: variant -> its base workload.
        limit: largest ratio of a time to the best time on its workload. A larger time counts as a miss. inf for no
            limit.
    """
    table = {name: {w: row.get(w, math.inf) for w in dict.fromkeys((*base, *held_out))} for name, row in times.items()}
    for row in table.values():
        for variant, parent in held_out.items():
            if math.isinf(row[parent]):
                row[variant] = math.inf
    for workload in dict.fromkeys((*base, *held_out)):
        best_time = min(row[workload] for row in table.values())
        for row in table.values():
            if row[workload] > limit * best_time:
                row[workload] = math.inf
    for row in table.values():
        for variant, parent in held_out.items():
            if math.isinf(row[variant]):
                row[parent] = math.inf
    return {name: {w: row[w] for w in base} for name, row in table.items()}


def profile_scores(
    times: Table, *, base: Sequence[str], held_out: Mapping[str, str] = NO_HELD_OUT, limit: float = 4.0
) -> dict[str, Profile]:
    """Return AlgoPerf's performance profile of every submission.

    Times are divided by the best time of the table, so the scores depend on the other submissions.

    Args:
        times: submission -> workload -> time to target, including the held-out variants.
        base: workloads from whose times the profile is computed.
        held_out: variant -> its base workload.
        limit: largest ratio of a time to the best time on its workload. A larger time counts as a miss. inf for no
            limit.

    Raises:
        UsageError: there is no base workload, a variant has an unknown base, or a time is not positive.

    >>> table = {"a": {"w": 10.0}, "b": {"w": 25.0}, "c": {"w": math.inf}}
    >>> {name: profile.exact for name, profile in profile_scores(table, base=["w"]).items()}
    {'a': 1.0, 'b': 0.5, 'c': 0.0}
    """
    check_table(times)
    if not base:
        raise UsageError("the profile score has no base workload", fix="name at least one base workload")
    for variant, parent in held_out.items():
        if parent not in base:
            raise UsageError(
                f"the held-out variant {variant} belongs to {parent}, which is not among the base workloads",
                fix=f"add {parent} to the base workloads, or omit {variant}",
            )
    table = penalised_times(times, base=base, held_out=held_out, limit=limit)
    best_times = {w: min(row[w] for row in table.values()) for w in base}
    return {
        name: _profile({w: row[w] / best_times[w] if math.isfinite(row[w]) else math.inf for w in base})
        for name, row in table.items()
    }


#: AlgoPerf integrates the profile over τ in [1, 4], independently of `limit`.
_TAU_MAX = 4.0
_TAUS = tuple(_TAU_MAX if i == 99 else 1 + (_TAU_MAX - 1) * i / 99 for i in range(100))


def _profile(ratios: Mapping[str, float]) -> Profile:
    exact = math.fsum(max(0.0, _TAU_MAX - r) for r in ratios.values()) / (_TAU_MAX - 1) / len(ratios)
    shape = Profile(score=0.0, exact=exact, ratios=ratios)
    rho = shape.curve(_TAUS)
    area = math.fsum(
        (right - left) * (low + high) / 2
        for left, right, low, high in zip(_TAUS[:-1], _TAUS[1:], rho[:-1], rho[1:], strict=True)
    )
    return Profile(score=area / (_TAU_MAX - 1), exact=exact, ratios=ratios)
