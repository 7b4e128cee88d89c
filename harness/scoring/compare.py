"""Compares two submissions A and B by paired runs. The verdict on A is `faster`, `slower` or `inconclusive`."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.contract.workload import Target, WorkloadFacts
from harness.errors import UsageError
from harness.scoring.hit_rates import Rate, hit_rate, restricted_mean
from harness.scoring.sample_size import DEFAULT_PAIRS, required_pairs_from_pilot
from harness.scoring.scored_time import cost_runs
from harness.scoring.scores import Skipped, study_time
from harness.scoring.selection import check_mixed, keep_newest_versions, select_usable
from harness.scoring.stats import MIN_PAIRS, Spread, hodges_lehmann, holm, interval, paired_log_ratios, sign_flip_test
from harness.scoring.time_to_target import Axis, ScoredRun, score_run

Verdict = Literal["faster", "slower", "inconclusive"]
#: The key by which the runs of A and B are paired. It has the hardware class, the root seed or nonce, and the study.
#: Under rulesets with one trial per study, it also contains the trial.
Block: TypeAlias = Hashable
#: workload -> block -> time (any positive unit), inf for a miss.
Blocks: TypeAlias = Mapping[str, Mapping[Any, float]]
#: workload -> block -> times of all trials of the block.
Trials: TypeAlias = Mapping[str, Mapping[Any, Sequence[float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One of the two factors of the time ratio of A to B.

    The time ratio is (ratio of the examples to the target) × (ratio of the seconds per example). Pairs in which A or B
    missed the target are left out.

    Args:
        ratio: Hodges–Lehmann estimate of the ratio of A to B.
        spread: 95 % interval of the ratio; with fewer than six pairs, the range of the pairs' ratios.
    """

    ratio: float
    spread: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """The comparison of A with B on one workload, or over all workloads.

    Args:
        workload: id of the workload, or `overall`.
        n: number of pairs.
        verdict: verdict on A: `faster`, `slower`, or `inconclusive`.
        ratio: Hodges–Lehmann estimate of the time of A over the time of B. Below 1, A is faster. Many misses of A make
            the ratio inf; many misses of B make it 0.
        spread: 95 % interval of the ratio; with fewer than six pairs, the range of the pairs' ratios.
        p: exact two-sided p-value of the sign-flip test.
        p_holm: p-value after Holm's correction over the workloads; equal to `p` for `overall`.
        more: estimated number of further pairs that a verdict needs. 0 if there is a verdict, or if the pairs already
            suffice to detect a difference of 3 %. None if the number cannot be estimated.
        both_missed: number of pairs in which both runs missed the target. Such a pair is a tie.
        hits_a: fraction of A's runs that reached the target; None for `overall`.
        hits_b: fraction of B's runs that reached the target; None for `overall`.
        mean_a: mean time of A, in which a miss counts as the budget. None for `overall`, and if the compared quantity
            has no budget.
        mean_b: mean time of B, computed in the same way.
        examples: ratio of the examples to the target. None for `overall`, if times are not compared, and if no pair has
            two hits.
        cost: ratio of the seconds per example; None if `examples` is None.
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
    examples: Factor | None = None
    cost: Factor | None = None

    def __str__(self) -> str:
        """Return the verdict, with the number of pairs in parentheses.

        >>> pairing = Pairing(workload="w", n=4, verdict="inconclusive", ratio=1.0, p=1.0, p_holm=1.0, more=6,
        ...                   spread=Spread(low=0.9, high=1.1, kind="range"))
        >>> str(pairing)
        'inconclusive (n=4)'
        """
        return f"{self.verdict} (n={self.n})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The comparison of A with B.

    Args:
        a: name of submission A.
        b: name of submission B.
        by: name of the compared quantity, such as `time` or `examples`.
        workloads: one pairing for each workload, with p-values corrected by Holm's procedure over the workloads.
        overall: pairing over the blocks that have a pair on every workload. The value of a block is the geometric mean
            of its ratios over the workloads. None if no block has a pair on every workload.
        skipped: runs, blocks and workloads that were left out, with the reasons.
    """

    a: str
    b: str
    by: str
    workloads: tuple[Pairing, ...]
    overall: Pairing | None
    skipped: tuple[Skipped, ...]

    def slower_than(self, limit: float) -> bool:
        """Whether the overall verdict on A is `slower` and the overall ratio exceeds a limit.

        The method is meant for continuous integration. It returns False for every inconclusive comparison.

        Args:
            limit: largest accepted ratio, time of A over time of B.
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

    The verdict follows from the exact sign-flip test on the signed ranks of the paired log ratios. Holm's procedure
    corrects the p-values for the number of workloads. docs/statistics.md explains and validates the procedure.

    - With fewer than six pairs, the verdict is `inconclusive`.
    - A pair in which both runs missed the target is a tie.
    - The log ratio of a pair with one miss has the largest rank.
    - The best trial of a study counts. A study in which A and B have different numbers of trials is left out.
    - Of each workload, only the newest version is compared.

    Args:
        a: records of submission A, on one or several workloads, of one hardware class and ruleset.
        b: records of submission B, of the same hardware class and ruleset.
        by: the compared quantity: `time` (scored seconds), `examples`, `steps`, or the seconds of one clock.
        targets: workload name -> targets to use instead of the workload's targets; not allowed for streams.
        explore: whether smoke runs, profiled runs and runs with overrides are also compared.

    Raises:
        UsageError: there is no pair, `a` or `b` contains several submissions, or the records cannot be compared.

    Source: Individual Comparisons by Ranking Methods, Wilcoxon 1945
    Source: A Simple Sequentially Rejective Multiple Test Procedure, Holm 1979
    """
    scored_a, scored_b = ([score_run(record, by, targets) for record in records] for records in (a, b))
    return compare_runs(scored_a, scored_b, by, explore=explore)


def compare_runs(
    a: Iterable[ScoredRun], b: Iterable[ScoredRun], by: Axis = "time", *, explore: bool = False,
    installed: Collection[WorkloadFacts] = (), references: Collection[str] = (),
) -> Comparison:  # fmt: skip
    """Compare the scored runs of two submissions. `compare` explains the procedure, other arguments and errors.

    Args:
        installed: facts of the installed workloads, whose versions count as the newest (see `keep_newest_versions`).
        references: names of the submissions that count as the reference in the estimate of costs.
    """
    skipped: list[Skipped] = []
    usable = []
    for side in (a, b):
        runs, unusable = select_usable(side, explore=explore)
        usable.append(runs)
        skipped += unusable
    newest, skipped_versions = keep_newest_versions([*usable[0], *usable[1]], installed)
    check_mixed(newest)
    skipped += skipped_versions
    costed = {run.run_id: run for run in cost_runs(newest, by, references)}
    runs_a, runs_b = ([costed[run.run_id] for run in runs if run.run_id in costed] for runs in usable)
    names = _only_name(runs_a, "A"), _only_name(runs_b, "B")
    trials_a, trials_b = _trial_times(runs_a), _trial_times(runs_b)
    skipped += _uneven_studies(trials_a, trials_b)
    blocks_a, blocks_b = _best_trials(trials_a, trials_b), _best_trials(trials_b, trials_a)
    result = compare_times(blocks_a, blocks_b, names=names, by=by, budgets=_budgets(newest, by), skipped=skipped)
    if by not in ("time", "measured-time"):
        return result
    best_a, best_b = _best_runs(runs_a), _best_runs(runs_b)
    shared = {w: [block for block in blocks if block in blocks_b.get(w, {})] for w, blocks in blocks_a.items()}
    pairs = {w: [(best_a[w][block], best_b[w][block]) for block in blocks] for w, blocks in shared.items()}
    return replace(result, workloads=tuple(_with_factors(p, pairs[p.workload]) for p in result.workloads))


def compare_times(
    a: Blocks,
    b: Blocks,
    *,
    names: tuple[str, str] = ("A", "B"),
    by: str = "time",
    budgets: Mapping[str, float] | None = None,
    skipped: Sequence[Skipped] = (),
) -> Comparison:
    """Compare two tables of times, paired by block.

    Args:
        a: times of A: workload -> block -> time, inf for a miss.
        b: times of B: workload -> block -> time, inf for a miss.
        names: names of A and B.
        by: name of the compared quantity; it is copied to the result.
        budgets: workload -> budget in the unit of the times, from which the mean times are computed; None for no means.
        skipped: items that the caller left out; they are copied to the result.

    Raises:
        UsageError: there is no pair, or a time is not positive.
    """
    skipped = list(skipped)
    for workload in dict.fromkeys((*a, *b)):
        if not (workload in a and workload in b):
            only_name = names[0] if workload in a else names[1]
            skipped.append(Skipped(item=workload, reason=f"only {only_name} has runs"))
    blocks_of: dict[str, list[Block]] = {}
    for workload in (w for w in a if w in b):
        paired_blocks = [block for block in a[workload] if block in b[workload]]
        unpaired = len(a[workload]) + len(b[workload]) - 2 * len(paired_blocks)
        if unpaired:
            skipped.append(Skipped(item=workload, reason=f"{unpaired} runs have no partner with the same seeds"))
        if paired_blocks:
            blocks_of[workload] = paired_blocks
    if not blocks_of:
        remedies = (*map(str, skipped[:3]), "run both submissions on one workload with the same seeds")
        raise UsageError(f"{names[0]} and {names[1]} have no pair of runs", fix="; ".join(remedies))
    alpha = 0.05 / len(blocks_of)
    pairings = []
    for workload, paired_blocks in blocks_of.items():
        times_a, times_b = ([table[workload][block] for block in paired_blocks] for table in (a, b))
        pairing = _undecided_pairing(workload, paired_log_ratios(times_a, times_b), alpha)
        pairings.append(_with_misses(pairing, times_a, times_b, (budgets or {}).get(workload)))
    corrected = holm([pairing.p for pairing in pairings])
    decided = tuple(_decide(replace(pairing, p_holm=p)) for pairing, p in zip(pairings, corrected, strict=True))
    overall = _overall(a, b, blocks_of, skipped)
    return Comparison(a=names[0], b=names[1], by=by, workloads=decided, overall=overall, skipped=tuple(skipped))


def _undecided_pairing(workload: str, differences: Sequence[float], alpha: float) -> Pairing:
    """Make a pairing with the verdict `inconclusive`, which `_decide` may change."""
    n = len(differences)
    p = sign_flip_test(differences).p
    required = required_pairs_from_pilot(differences, alpha=alpha)
    if required is None and n < DEFAULT_PAIRS:
        required = DEFAULT_PAIRS
    return Pairing(
        workload=workload,
        n=n,
        verdict="inconclusive",
        ratio=_exp(hodges_lehmann(differences)),
        spread=_ratio_spread(differences),
        p=p,
        p_holm=p,
        more=None if required is None else max(0, max(required, MIN_PAIRS) - n),
    )


def _with_misses(pairing: Pairing, a: Sequence[float], b: Sequence[float], budget: float | None) -> Pairing:
    return replace(
        pairing,
        both_missed=sum(math.isinf(x) and math.isinf(y) for x, y in zip(a, b, strict=True)),
        hits_a=hit_rate(sum(map(math.isfinite, a)), len(a)),
        hits_b=hit_rate(sum(map(math.isfinite, b)), len(b)),
        mean_a=restricted_mean(a, budget) if budget else None,
        mean_b=restricted_mean(b, budget) if budget else None,
    )


def _decide(pairing: Pairing, alpha: float = 0.05) -> Pairing:
    if pairing.n < MIN_PAIRS or pairing.p_holm > alpha or pairing.ratio == 1:
        return pairing
    return replace(pairing, verdict="faster" if pairing.ratio < 1 else "slower", more=0)


def _overall(a: Blocks, b: Blocks, blocks_of: Mapping[str, Sequence[Block]], skipped: list[Skipped]) -> Pairing | None:
    """Return the pairing over the blocks that have a pair on every workload; None if there is no such block.

    The value of a block is the mean of its log ratios over the workloads. Differences between workloads therefore do
    not increase the variance over blocks.
    """
    first_blocks, *others = blocks_of.values()
    full_blocks = [block for block in first_blocks if all(block in blocks for blocks in others)]
    if not full_blocks:
        skipped.append(Skipped(item="overall", reason="no block has a pair on every workload"))
        return None
    means = []
    for block in full_blocks:
        logs = paired_log_ratios([a[w][block] for w in blocks_of], [b[w][block] for w in blocks_of])
        # A miss of A on one workload cancels a miss of B on another. If misses remain, the value of the block is ±inf.
        net_misses = sum(math.copysign(1, d) for d in logs if math.isinf(d))
        finite = [d for d in logs if math.isfinite(d)]
        mean = math.fsum(finite) / len(finite) if finite else 0.0
        means.append(math.copysign(math.inf, net_misses) if net_misses else mean)
    return _decide(_undecided_pairing("overall", means, 0.05))


def _with_factors(pairing: Pairing, pairs: Sequence[tuple[ScoredRun, ScoredRun]]) -> Pairing:
    """Return the pairing with the two factors of its time ratio: examples to the target, and seconds per example."""
    hits = [(x, y) for x, y in pairs if math.isfinite(x.result.value) and math.isfinite(y.result.value)]
    if not hits:
        return pairing
    examples = [math.log(x.examples / y.examples) for x, y in hits]
    cost = [math.log(x.result.value / y.result.value) - e for (x, y), e in zip(hits, examples, strict=True)]
    return replace(pairing, examples=_factor(examples), cost=_factor(cost))


def _factor(differences: Sequence[float]) -> Factor:
    return Factor(ratio=_exp(hodges_lehmann(differences)), spread=_ratio_spread(differences))


def _ratio_spread(differences: Sequence[float]) -> Spread:
    ends = interval(differences)
    return Spread(low=_exp(ends.low), high=_exp(ends.high), kind=ends.kind)


def _best_runs(runs: Iterable[ScoredRun]) -> dict[str, dict[Block, ScoredRun]]:
    """Return workload -> block -> run with the best result. No other run of the block is scored."""
    best: dict[str, dict[Block, ScoredRun]] = {}
    for run in runs:
        row, block = best.setdefault(run.spec.workload.facts.id, {}), _block(run.spec)
        if block not in row or run.result.value < row[block].result.value:
            row[block] = run
    return best


def _block(spec: RunSpec) -> Block:
    """Return the block of a run. Several trials of a study share a block, because only the best trial is scored."""
    return (spec.hardware, spec.root, spec.study, spec.trial if spec.ruleset.trials == 1 else None)


def _trial_times(runs: Iterable[ScoredRun]) -> dict[str, dict[Block, list[float]]]:
    """Return workload -> block -> times of the block's trials (see `_block`)."""
    trials: dict[str, dict[Block, list[float]]] = {}
    for run in runs:
        trials.setdefault(run.spec.workload.facts.id, {}).setdefault(_block(run.spec), []).append(run.result.value)
    return trials


def _uneven_studies(a: Trials, b: Trials) -> list[Skipped]:
    """Return the studies in which A and B have different numbers of trials. These studies are not paired."""
    skipped = []
    for workload in a:
        pairs = [(times, b.get(workload, {}).get(block)) for block, times in a[workload].items()]
        counts = [(len(of_a), len(of_b)) for of_a, of_b in pairs if of_b is not None and len(of_a) != len(of_b)]
        for trials_a, trials_b in sorted(set(counts)):
            item = f"{workload}, {counts.count((trials_a, trials_b))} studies"
            reason = f"A has {trials_a} trials and B has {trials_b}, so these studies are not paired"
            skipped.append(Skipped(item=item, reason=reason))
    return skipped


def _best_trials(trials: Trials, partner: Trials) -> dict[str, dict[Block, float]]:
    """Return the best time of each study. Studies with a different number of trials in `partner` are left out."""
    return {
        workload: {
            block: study_time(times)
            for block, times in row.items()
            if len(partner.get(workload, {}).get(block, times)) == len(times)
        }
        for workload, row in trials.items()
    }


def _budgets(runs: Iterable[ScoredRun], by: Axis) -> dict[str, float]:
    """Return workload -> budget in the unit of `by`; empty if `by` has no budget."""
    # `seconds_allowed` includes the factor by which the ruleset multiplies the workload's budget.
    budget_readers: dict[Axis, Callable[[ScoredRun], float]] = {
        "time": lambda run: run.spec.seconds_allowed,
        "measured-time": lambda run: run.spec.seconds_allowed,
        "examples": lambda run: float(run.spec.workload.facts.budget.gradient_examples),
    }
    if by not in budget_readers:
        return {}
    return {run.spec.workload.facts.id: budget_readers[by](run) for run in runs}


def _only_name(runs: Sequence[ScoredRun], side: Literal["A", "B"]) -> str:
    names = list(dict.fromkeys(run.spec.submission.id for run in runs))
    if len(names) != 1:
        problem = f"has records of {', '.join(names)}" if names else "has no record that can be scored"
        raise UsageError(f"{side} must be one submission, but {problem}", fix="name one submission for A and one for B")
    return names[0]


def _exp(x: float) -> float:
    return math.inf if x > 700 else math.exp(x)
