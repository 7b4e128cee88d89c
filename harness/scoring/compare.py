"""Compares two submissions pair by pair: faster, slower or inconclusive."""

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
#: workload -> block -> the times of all its trials.
Trials: TypeAlias = Mapping[str, Mapping[Any, Sequence[float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """A compared with B over some pairs.

    Args:
        workload: its id, or `overall`.
        n: pairs.
        verdict: on A: `faster`, `slower`, or `inconclusive`.
        ratio: time of A over time of B, Hodges–Lehmann; below 1 means A is faster, inf or 0 that misses prevail.
        spread: of the ratio; a 95 % interval, or under six pairs the range.
        p: exact two-sided p-value of the sign-flip test.
        p_holm: corrected over the workloads (overall: the same as `p`).
        more: further pairs that would settle it; 0 where it is settled or where a 3 % difference would have shown,
            None where it cannot be estimated.
        both_missed: pairs in which both missed, which are ties.
        hits_a, hits_b: share of runs that reached the target; None overall.
        mean_a, mean_b: restricted mean time to budget; None overall, or where the budget has another unit.
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
        """Whether the verdict on A is slower overall, and by more than this ratio: a gate for continuous integration.

        An inconclusive comparison is not slower, whatever its ratio.
        """
        return self.overall is not None and self.overall.verdict == "slower" and self.overall.ratio > limit


def compare(
    a: Iterable[Record],
    b: Iterable[Record],
    by: Axis = "time",
    *,
    targets: Mapping[str, Sequence[Target]] | None = None,
    explore: bool = False,
) -> Comparison:
    """Compare the records of two submissions, paired by hardware class, root seed and study.

    The verdict comes from the exact sign-flip test on paired log ratios of times, corrected by Holm over workloads;
    under six pairs it is always inconclusive. A pair in which both missed is a tie, and a single miss has the worst
    rank. Of each workload the newest version counts. A study with several trials counts with its best one, and is a
    pair only where both submissions have had as many. docs/statistics.md explains and validates the procedure.

    Args:
        a, b: records of one submission each, of one hardware class and ruleset, such as `harness.storage.records`
            reads them; they may be of several workloads.
        by: what is compared: `time` (scored seconds), `examples`, `steps`, or the seconds of one clock.
        targets: workload name -> targets to use instead of its own; not for streams.
        explore: count smoke runs, profiled runs and runs with overrides too.

    Raises:
        UsageError: no pair, several submissions on one side, or records that may not be mixed.

    Source: Individual Comparisons by Ranking Methods, Wilcoxon 1945
    Source: A Simple Sequentially Rejective Multiple Test Procedure, Holm 1979
    """
    skipped: list[Skipped] = []
    usable = []
    for records in (a, b):
        runs, unusable = select_usable((score_run(record, by, targets) for record in records), explore=explore)
        usable.append(runs)
        skipped += unusable
    newest, older = keep_newest_versions([*usable[0], *usable[1]])
    check_mixed(newest)
    skipped += older
    ids = {run.run_id for run in newest}
    runs_a, runs_b = ([run for run in runs if run.run_id in ids] for runs in usable)
    names = _only_name(runs_a, "A"), _only_name(runs_b, "B")
    trials_a, trials_b = _trial_times(runs_a), _trial_times(runs_b)
    skipped += _uneven_studies(trials_a, trials_b)
    blocks_a, blocks_b = _best_trials(trials_a, trials_b), _best_trials(trials_b, trials_a)
    return compare_times(blocks_a, blocks_b, names=names, by=by, budgets=_budgets(newest, by), skipped=skipped)


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
        names: names of the two.
        by: what the times count, for the result.
        budgets: workload -> budget in the same unit, for the restricted mean.
        skipped: what was left out before.

    Raises:
        UsageError: no pair at all, or a time that is not positive.
    """
    skipped = list(skipped)
    for workload in dict.fromkeys((*a, *b)):
        if not (workload in a and workload in b):
            only = names[0] if workload in a else names[1]
            skipped.append(Skipped(item=workload, reason=f"only {only} has runs"))
    pairs: dict[str, list[Block]] = {}
    for workload in (w for w in a if w in b):
        common = [block for block in a[workload] if block in b[workload]]
        unpaired = len(a[workload]) + len(b[workload]) - 2 * len(common)
        if unpaired:
            skipped.append(Skipped(item=workload, reason=f"{unpaired} runs have no partner of the same seeds"))
        if common:
            pairs[workload] = common
    if not pairs:
        steps = (*map(str, skipped[:3]), "run both on one workload with the same seeds")
        raise UsageError(f"{names[0]} and {names[1]} have no pair of runs", fix="; ".join(steps))
    alpha = 0.05 / len(pairs)
    rows = []
    for workload, common in pairs.items():
        times_a, times_b = ([table[workload][block] for block in common] for table in (a, b))
        row = _pairing(workload, paired_log_ratios(times_a, times_b), alpha)
        rows.append(_with_misses(row, times_a, times_b, (budgets or {}).get(workload)))
    corrected = holm([row.p for row in rows])
    decided = tuple(_decide(replace(row, p_holm=p)) for row, p in zip(rows, corrected, strict=True))
    overall = _overall(a, b, pairs, skipped)
    return Comparison(a=names[0], b=names[1], by=by, workloads=decided, overall=overall, skipped=tuple(skipped))


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


def _decide(row: Pairing, alpha: float = 0.05) -> Pairing:
    if row.n < MIN_PAIRS or row.p_holm > alpha or row.ratio == 1:
        return row
    return replace(row, verdict="faster" if row.ratio < 1 else "slower", more=0)


def _overall(a: Blocks, b: Blocks, pairs: Mapping[str, Sequence[Block]], skipped: list[Skipped]) -> Pairing | None:
    """The pairing over blocks that stand on every paired workload, each the mean of its log ratios.

    The mean per block takes the differences between workloads out of the noise.
    """
    common = [block for block in next(iter(pairs.values())) if all(block in blocks for blocks in pairs.values())]
    if not common:
        skipped.append(Skipped(item="overall", reason="no block has a pair on every workload"))
        return None
    means = []
    for block in common:
        logs = paired_log_ratios([a[w][block] for w in pairs], [b[w][block] for w in pairs])
        # Misses of A and of B cancel one for one; the remaining ones decide the block.
        net = sum(math.copysign(1, d) for d in logs if math.isinf(d))
        finite = [d for d in logs if math.isfinite(d)]
        means.append(math.copysign(math.inf, net) if net else math.fsum(finite) / len(finite) if finite else 0.0)
    return _decide(_pairing("overall", means, 0.05))


def _trial_times(runs: Iterable[ScoredRun]) -> dict[str, dict[Block, list[float]]]:
    """Times by workload and block; trials of a study with several share a block, since its best one is scored."""
    trials: dict[str, dict[Block, list[float]]] = {}
    for run in runs:
        spec = run.spec
        trial = spec.trial if spec.ruleset.trials == 1 else None
        block = (spec.hardware, spec.root_seed, spec.study, trial)
        trials.setdefault(spec.workload.facts.id, {}).setdefault(block, []).append(run.result.value)
    return trials


def _uneven_studies(a: Trials, b: Trials) -> list[Skipped]:
    """Studies in which one side has had more trials: the best of five cannot be compared with the best of one."""
    skipped = []
    for workload in a:
        pairs = [(times, b.get(workload, {}).get(block)) for block, times in a[workload].items()]
        counts = [(len(of_a), len(of_b)) for of_a, of_b in pairs if of_b is not None and len(of_a) != len(of_b)]
        for trials_a, trials_b in sorted(set(counts)):
            item = f"{workload}, {counts.count((trials_a, trials_b))} studies"
            reason = f"{trials_a} trials against {trials_b}: not a pair until both are complete"
            skipped.append(Skipped(item=item, reason=reason))
    return skipped


def _best_trials(trials: Trials, partner: Trials) -> dict[str, dict[Block, float]]:
    """The best trial of each study, without studies in which the partner has had more trials or fewer."""
    return {
        workload: {
            block: study_time(times)
            for block, times in row.items()
            if len(partner.get(workload, {}).get(block, times)) == len(times)
        }
        for workload, row in trials.items()
    }


def _budgets(runs: Iterable[ScoredRun], by: Axis) -> dict[str, float]:
    """Workload -> its budget in the unit compared, with the ruleset's factor, as specs hold it; steps have none."""
    readers: dict[Axis, Callable[[ScoredRun], float]] = {
        "time": lambda run: run.spec.seconds_allowed,
        "examples": lambda run: float(run.spec.workload.facts.budget.gradient_examples),
    }
    if by not in readers:
        return {}
    return {run.spec.workload.facts.id: readers[by](run) for run in runs}


def _only_name(runs: Sequence[ScoredRun], side: str) -> str:
    names = list(dict.fromkeys(run.spec.submission.id for run in runs))
    if len(names) != 1:
        listed = ", ".join(names) or "no record that can be scored"
        raise UsageError(f"side {side} must be one submission and holds {listed}", fix="name one submission per side")
    return names[0]


def _exp(x: float) -> float:
    return math.inf if x > 700 else math.exp(x)
