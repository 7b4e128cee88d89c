"""Two submissions compared pair by pair: faster, slower or inconclusive, and how many more seeds would settle it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from harness.contract.record import Record
from harness.contract.workload import Target
from harness.errors import UsageError
from harness.scoring.hit_rates import Rate, hit_rate, restricted_mean
from harness.scoring.sample_size import DEFAULT_PAIRS, needed_n
from harness.scoring.scores import Skipped, study_time
from harness.scoring.selection import check_mixed, keep_newest_versions, select_usable
from harness.scoring.stats import (
    MIN_PAIRS,
    Spread,
    hodges_lehmann,
    holm,
    interval,
    paired_log_ratios,
    sign_flip_test,
)
from harness.scoring.time_to_target import Axis, ScoredRun, score_run

Verdict = Literal["faster", "slower", "inconclusive"]
#: What makes two runs a pair: hardware class, root seed, study and, where a study has one trial only, that trial.
Block: TypeAlias = Hashable
#: workload -> block -> time (any positive unit), inf for a miss.
Blocks: TypeAlias = Mapping[str, Mapping[Any, float]]
#: The same with the times of all trials.
Trials: TypeAlias = Mapping[str, Mapping[Any, Sequence[float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """A compared with B over some pairs.

    Args:
        workload: its id, or `overall`.
        n: pairs.
        verdict: of A: `faster`, `slower`, or `inconclusive`.
        ratio: time of A over time of B, Hodges–Lehmann; below 1 means A is faster, inf or 0 that misses prevail.
        spread: of the ratio; a 95 % interval, or under six pairs the range.
        p: exact two-sided p-value of the sign-flip test.
        p_holm: corrected over the workloads (overall: the same as `p`).
        more: further pairs that would settle it, 0 where it is settled or where a 3 % difference would have shown;
            None where that cannot be said.
        both_missed: pairs in which both missed, which are ties.
        hits_a, hits_b: share of runs that reached the target; None overall.
        mean_a, mean_b: restricted mean time to budget; None overall or where the budget has no such unit.
    """

    workload: str
    n: int
    verdict: Verdict
    ratio: float
    spread: Spread
    p: float
    p_holm: float
    more: int | None
    both_missed: int = 0
    hits_a: Rate | None = None
    hits_b: Rate | None = None
    mean_a: float | None = None
    mean_b: float | None = None

    def __str__(self) -> str:
        """The verdict in words, with n.

        >>> pairing = Pairing(workload="w", n=4, verdict="inconclusive", ratio=1.0, p=1.0, p_holm=1.0, more=6,
        ...                   spread=Spread(low=0.9, high=1.1, kind="range"))
        >>> str(pairing)
        'inconclusive (n=4)'
        """
        return f"{self.verdict} (n={self.n})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A compared with B.

    Args:
        a, b: names.
        by: what was compared.
        workloads: one pairing each, corrected by Holm over them.
        overall: over blocks, each the geometric mean of its ratios on all workloads; None without such a block.
        skipped: runs, blocks and workloads that were left out, and why.
    """

    a: str
    b: str
    by: str
    workloads: tuple[Pairing, ...]
    overall: Pairing | None
    skipped: tuple[Skipped, ...]

    def slower_than(self, limit: float) -> bool:
        """Whether A is found slower overall, and by more than this ratio: the gate of continuous integration."""
        return self.overall is not None and self.overall.verdict == "slower" and self.overall.ratio > limit


def compare(
    a: Iterable[Record],
    b: Iterable[Record],
    by: Axis = "time",
    *,
    targets: Mapping[str, Sequence[Target]] | None = None,
    explore: bool = False,
) -> Comparison:
    """Compare the records of two submissions, paired by block; of each workload the newest version counts.

    Args:
        a, b: records of one submission each, of one hardware class and ruleset.
        by: what is compared.
        targets: workload name -> other targets than its own.
        explore: count runs that are never ranked.

    Raises:
        UsageError: no pair, several submissions on one side, or records that may not be mixed.
    """
    skipped: list[Skipped] = []
    kept = []
    for records in (a, b):
        good, bad = select_usable((score_run(record, by, targets) for record in records), explore=explore)
        kept.append(good)
        skipped += bad
    newest, older = keep_newest_versions([*kept[0], *kept[1]])
    check_mixed(newest)
    skipped += older
    ids = {run.run_id for run in newest}
    kept = [[run for run in runs if run.run_id in ids] for runs in kept]
    names = [_one_name(runs, side) for runs, side in zip(kept, "AB", strict=True)]
    trials = [_trials(runs) for runs in kept]
    skipped += _unlike(*trials)
    blocks = [_best(mine, other) for mine, other in (trials, trials[::-1])]
    budgets = _budgets(newest, by)
    return compare_times(*blocks, names=(names[0], names[1]), by=by, budgets=budgets, skipped=skipped)


def compare_times(
    a: Blocks,
    b: Blocks,
    *,
    names: tuple[str, str] = ("A", "B"),
    by: str = "time",
    budgets: Mapping[str, float] | None = None,
    skipped: Sequence[Skipped] = (),
) -> Comparison:
    """Compare two tables of times by block.

    Args:
        a, b: workload -> block -> time, inf for a miss.
        names: what the two are called.
        by: what the times count, for the result.
        budgets: workload -> budget in the same unit, for the restricted mean.
        skipped: what has been left out already.

    Raises:
        UsageError: no pair at all, or a time that is not positive.
    """
    skipped = list(skipped)
    shared = [w for w in a if w in b]
    for workload in dict.fromkeys((*a, *b)):
        if workload not in shared:
            skipped.append(Skipped(item=workload, reason=f"only {names[0] if workload in a else names[1]} has runs"))
    pairs = {}
    for workload in shared:
        common = [block for block in a[workload] if block in b[workload]]
        single = len(a[workload]) + len(b[workload]) - 2 * len(common)
        if single:
            skipped.append(Skipped(item=workload, reason=f"{single} runs have no partner of the same seeds"))
        if common:
            pairs[workload] = common
    if not pairs:
        what_to_do = (*map(str, skipped[:3]), "run both on one workload with the same seeds")
        raise UsageError(f"{names[0]} and {names[1]} have no pair of runs", fix="; ".join(what_to_do))
    level = 0.05 / len(pairs)
    rows = []
    for workload, common in pairs.items():
        times_a, times_b = ([table[workload][block] for block in common] for table in (a, b))
        row = _pairing(workload, paired_log_ratios(times_a, times_b), level)
        rows.append(_with_misses(row, times_a, times_b, (budgets or {}).get(workload)))
    corrected = holm([row.p for row in rows])
    final = tuple(_decided(replace(row, p_holm=p)) for row, p in zip(rows, corrected, strict=True))
    return Comparison(
        a=names[0], b=names[1], by=by, workloads=final, overall=_overall(a, b, pairs, skipped), skipped=tuple(skipped)
    )


def _pairing(workload: str, differences: Sequence[float], alpha: float) -> Pairing:
    """A row without its verdict; `more` is what would be needed if it stays undecided."""
    n = len(differences)
    test, ends = sign_flip_test(differences), interval(differences)
    needed = needed_n(differences, alpha=alpha)
    more = max(needed, MIN_PAIRS) - n if needed is not None else DEFAULT_PAIRS - n if n < DEFAULT_PAIRS else None
    return Pairing(
        workload=workload,
        n=n,
        verdict="inconclusive",
        ratio=_exp(hodges_lehmann(differences)),
        spread=Spread(low=_exp(ends.low), high=_exp(ends.high), kind=ends.kind),
        p=test.p,
        p_holm=test.p,
        more=None if more is None else max(0, more),
    )


def _with_misses(row: Pairing, a: Sequence[float], b: Sequence[float], budget: float | None) -> Pairing:
    return replace(
        row,
        both_missed=sum(math.isinf(x) and math.isinf(y) for x, y in zip(a, b, strict=True)),
        hits_a=hit_rate(sum(map(math.isfinite, a)), len(a)),
        hits_b=hit_rate(sum(map(math.isfinite, b)), len(b)),
        mean_a=restricted_mean(a, budget) if budget else None,
        mean_b=restricted_mean(b, budget) if budget else None,
    )


def _decided(row: Pairing, alpha: float = 0.05) -> Pairing:
    if row.n < MIN_PAIRS or row.p_holm > alpha or row.ratio == 1:
        return row
    return replace(row, verdict="faster" if row.ratio < 1 else "slower", more=0)


def _overall(a: Blocks, b: Blocks, pairs: Mapping[str, Sequence[Block]], skipped: list[Skipped]) -> Pairing | None:
    """Blocks that stand on every paired workload, each the mean of its log ratios.

    The mean per block keeps the workloads' effects together: how far they differ from each other is no noise here.
    """
    common = [block for block in next(iter(pairs.values())) if all(block in blocks for blocks in pairs.values())]
    if not common:
        skipped.append(Skipped(item="overall", reason="no block has a pair on every workload"))
        return None
    means = []
    for block in common:
        logs = paired_log_ratios([a[w][block] for w in pairs], [b[w][block] for w in pairs])
        # Misses of A and of B cancel one for one; those that are left decide the block.
        net = sum(math.copysign(1, d) for d in logs if math.isinf(d))
        finite = [d for d in logs if math.isfinite(d)]
        means.append(math.copysign(math.inf, net) if net else math.fsum(finite) / len(finite) if finite else 0.0)
    return _decided(_pairing("overall", means, 0.05))


def _trials(runs: Iterable[ScoredRun]) -> dict[str, dict[Block, list[float]]]:
    """Times by workload and block; where a study has several trials, the best one is scored, so that is paired."""
    trials: dict[str, dict[Block, list[float]]] = {}
    for run in runs:
        spec = run.spec
        trial = spec.trial if spec.ruleset.trials == 1 else None
        block = (spec.hardware, spec.root_seed, spec.study, trial)
        trials.setdefault(spec.workload.facts.id, {}).setdefault(block, []).append(run.result.value)
    return trials


def _unlike(a: Trials, b: Trials) -> list[Skipped]:
    """Studies in which one side has had more trials: the best of five is no match for the best of one."""
    found = []
    for workload in a:
        pairs = [(times, b.get(workload, {}).get(block)) for block, times in a[workload].items()]
        uneven = [(len(mine), len(its)) for mine, its in pairs if its is not None and len(mine) != len(its)]
        for mine, its in sorted(set(uneven)):
            what = f"{workload}, {uneven.count((mine, its))} studies"
            found.append(Skipped(item=what, reason=f"{mine} trials against {its}: not a pair until both are complete"))
    return found


def _best(mine: Trials, other: Trials) -> dict[str, dict[Block, float]]:
    """The best trial of each study, less the studies in which the other side has had more trials or fewer."""
    return {
        workload: {
            block: study_time(times)
            for block, times in row.items()
            if len(other.get(workload, {}).get(block, times)) == len(times)
        }
        for workload, row in mine.items()
    }


def _budgets(runs: Iterable[ScoredRun], by: Axis) -> dict[str, float]:
    """Workload -> its budget in the unit compared, with the ruleset's factor, as specs hold it; steps have none."""
    read: dict[Axis, Callable[[ScoredRun], float]] = {
        "time": lambda r: r.spec.seconds_allowed,
        "examples": lambda r: float(r.spec.workload.facts.budget.gradient_examples),
    }
    if by not in read:
        return {}
    return {r.spec.workload.facts.id: read[by](r) for r in runs}


def _one_name(runs: Sequence[ScoredRun], side: str) -> str:
    names = list(dict.fromkeys(r.spec.submission.id for r in runs))
    if len(names) != 1:
        found = ", ".join(names) or "no record that counts"
        raise UsageError(f"side {side} should be one submission and holds {found}", fix="name one submission per side")
    return names[0]


def _exp(x: float) -> float:
    return math.inf if x > 700 else math.exp(x)
