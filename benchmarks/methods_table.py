"""The page docs/comparison.md from the figures of its runs: tables with corrected intervals, and what papers say.

Within a workload five pairs of seeds are too few for a test that assumes nothing, so differences there are tested by
Student's t on the logarithms of the losses, which such means of many examples suit. Over both workloads there are ten
pairs, and the exact sign-flip test of `harness.scoring.stats` is used, with misses as worst ranks.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import methods_design as design
import methods_figures as figures
from methods_design import Claim, Measure, Stage
from methods_figures import Figure

from harness import estimate
from harness.plugins import load_registry
from harness.scoring import stats

HEAD = """# Schedules and optimizers compared

Made by `python benchmarks/compare_methods.py --table`; the design, which was written before any run, is
[methods_design.py](../benchmarks/methods_design.py), and the figures of every run stand in
[measured/methods.json](measured/methods.json).

"""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An arm against another, over pairs of seeds.

    Args:
        n: pairs of seeds.
        ratio: of the arm's value over the other's; below 1 is better. None where nothing can be said.
        low, high: the interval, corrected; None where there is none.
        p: two-sided, as tested; 1 where nothing can be tested.
        both_missed: pairs in which both missed. As ratios they are 1, and yet no evidence that two arms are alike.
        holm: the same p corrected by Holm.
    """

    n: int
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p: float = 1.0
    both_missed: int = 0
    holm: float = 1.0

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the corrected test says so, and otherwise `–`."""
        if self.holm > design.ALPHA or self.ratio is None or self.ratio == 1:
            return "–"
        return "better" if self.ratio < 1 else "worse"


class Results:
    """Figures, looked up by stage, arm and measure.

    Args:
        found: of all runs.
    """

    def __init__(self, found: Iterable[Figure]) -> None:
        self._found = list(found)
        registry = load_registry()
        self._facts = {stage.workload: registry.workload(stage.workload).facts for stage in design.STAGES}

    def setting(self, stage: Stage, arm: str, measure: Measure) -> Figure | None:
        """The tuning run of the setting that was chosen."""
        tuned = [f for f in self._of(stage, arm) if f.purpose == "tuning"]
        return figures.chosen(tuned).get(measure)

    def fresh(self, stage: Stage, arm: str, measure: Measure) -> dict[int, Figure]:
        """Study -> the run of the chosen setting, or of the defaults, on its seeds."""
        scores = [f for f in self._of(stage, arm) if f.purpose == "score"]
        if stage.settings != "defaults":
            best = self.setting(stage, arm, measure)
            scores = [f for f in scores if best is not None and f.hparams == best.hparams]
        return {f.study: f for f in scores}

    def all(self) -> Sequence[Figure]:
        return self._found

    def _of(self, stage: Stage, arm: str) -> list[Figure]:
        facts = self._facts[stage.workload]
        place = facts.id, stage.budget or facts.budget.horizon
        return [figure for figure in self._found if figure.arm == arm and figure.at == place]


# --- tests --------------------------------------------------------------------------------------------


def log_ratios(results: Results, stage: Stage, arm: str, other: str, measure: Measure) -> list[float]:
    """log(arm/other) for every seed that both have run on; ±inf where one missed or broke, 0 where both did."""
    a, b = results.fresh(stage, arm, measure), results.fresh(stage, other, measure)
    both = sorted(a.keys() & b.keys())
    return stats.paired_log_ratios([a[i].value(measure) for i in both], [b[i].value(measure) for i in both])


def both_missed(results: Results, stage: Stage, arm: str, other: str, measure: Measure) -> int:
    """Seeds on which neither has a value."""
    a, b = results.fresh(stage, arm, measure), results.fresh(stage, other, measure)
    return sum(math.isinf(a[i].value(measure)) and math.isinf(b[i].value(measure)) for i in a.keys() & b.keys())


def pooled(results: Results, stages: Sequence[Stage], arm: str, other: str, measure: Measure) -> list[float]:
    """The log ratios of all stages; none unless both arms have run on each, so that no workload speaks for another."""
    found = [log_ratios(results, stage, arm, other, measure) for stage in stages]
    return [d for differences in found for d in differences] if all(found) else []


def by_t(differences: Sequence[float], tests: int) -> Difference:
    """Student's t on paired log ratios, with an interval at 1 − α/tests.

    Where a run broke there is no ratio, and a mean over the other seeds would reward breaking: nothing is tested. Nor
    is it before all seeds have run: of two pairs that happen to agree t makes a certainty.
    """
    from scipy.stats import t as student

    n = len(differences)
    if not n or not all(map(math.isfinite, differences)):
        return Difference(n=n)
    if n < design.SEEDS:
        return Difference(n=n, ratio=math.exp(statistics.fmean(differences)))
    mean, error = statistics.fmean(differences), statistics.stdev(differences) / math.sqrt(n)
    ratio = math.exp(mean)
    if error == 0:
        return Difference(n=n, ratio=ratio, low=ratio, high=ratio, p=1.0 if mean == 0 else 0.0)
    wide = float(student.ppf(1 - design.ALPHA / (2 * max(tests, 1)), n - 1)) * error
    p = 2 * float(student.sf(abs(mean) / error, n - 1))
    return Difference(n=n, ratio=ratio, low=math.exp(mean - wide), high=math.exp(mean + wide), p=p)


def by_flips(differences: Sequence[float], tests: int) -> Difference:
    """The exact sign-flip test with the Hodges–Lehmann ratio and the interval that inverts it, at 1 − α/tests."""
    if not differences:
        return Difference(n=0)
    ends = stats.interval(differences, 1 - design.ALPHA / max(tests, 1))
    known = ends.kind == "interval"
    return Difference(
        n=len(differences),
        ratio=_exp(stats.hodges_lehmann(differences)),
        low=_exp(ends.low) if known else None,
        high=_exp(ends.high) if known else None,
        p=stats.sign_flip_test(differences).p,
    )


def corrected(rows: Sequence[Difference]) -> list[Difference]:
    """The same with Holm's p, over all of them."""
    return [replace(row, holm=p) for row, p in zip(rows, stats.holm([row.p for row in rows]), strict=True)]


def losses_against_first(results: Results, stage: Stage, arms: Sequence[str]) -> dict[str, Difference]:
    """Every other arm's loss against that of the first, corrected over them."""
    first, *others = arms
    tested = [by_t(log_ratios(results, stage, arm, first, "loss"), len(others)) for arm in others]
    return dict(zip(others, corrected(tested), strict=True))


def _exp(x: float) -> float:
    return math.inf if x > 700 else math.exp(x)


# --- the page -----------------------------------------------------------------------------------------


def page(found: Sequence[Figure]) -> str:
    """The page as Markdown; what has not run yet is said to be missing."""
    results = Results(found)
    if not found:
        return HEAD + "No run has been made yet.\n"
    sections = [HEAD + _cost(found), *_left(results), _short(results), *_how()]
    for family, arms in design.FAMILIES.items():
        sections.append(f"## {family}\n")
        sections += [_loss_table(results, stage, arms) for stage in (*design.FULL, design.SMALL)]
        sections.append(_overall(results, arms))
    sections += [_rest(results), _claims(results)]
    return "\n".join(sections).rstrip() + "\n"


def _cost(found: Sequence[Figure]) -> str:
    machines = sorted({f"{f.hardware}, torch {f.torch}" for f in found})
    broken = sum(f.status not in ("reached", "exhausted") for f in found)
    spent, starting = sum(f.spent for f in found) / 3600, len(found) * estimate.STARTUP_S / 3600
    return (
        f"{len(found)} runs, {broken} of them broken; {spent:.1f} core-hours of training and evaluation, and about "
        f"{starting:.1f} of starting processes; {'; '.join(machines)}.\n"
    )


def _left(results: Results) -> list[str]:
    """What has not run to its end yet; nothing when all has."""
    found = []
    for stage in design.STAGES:
        counts = [min(len(results.fresh(stage, arm, measure)) for measure in stage.measures) for arm in stage.arms]
        if behind := sum(count < stage.seeds for count in counts):
            found.append(f"{behind} of {len(stage.arms)} arms on {stage.title}")
    if not found:
        return []
    return [f"**Not finished**: {'; '.join(found)}. `python benchmarks/compare_methods.py --plan` says what is left.\n"]


def _short(results: Results) -> str:
    """What was found: the verdicts on the papers' claims, and the arms that differ from the first of their family."""
    said: dict[str, list[str]] = {word: [] for word in ("holds", "fails", "undecided", "not finished", "not tried")}
    for claim, _, says in judged(results):
        by = "" if claim.measure == "loss" else ", by examples to the target"
        said[says.partition(":")[0]].append(f"{claim.says} ({_where(claim)}{by})")
    lines = [f"- **{word.capitalize()}**, {len(says)}: {'; '.join(says)}." for word, says in said.items() if says]
    for arms in design.FAMILIES.values():
        for stage in (*design.FULL, design.SMALL):
            tested = losses_against_first(results, stage, arms)
            if any(one.n < design.SEEDS for one in tested.values()):
                continue
            found = [
                f"{word}: {', '.join(f'`{arm}`' for arm in named)}"
                for word in ("better", "worse")
                if (named := [arm for arm, one in tested.items() if one.verdict == word])
            ]
            lines.append(f"- Loss on {stage.title} against `{arms[0]}`: {'; '.join(found) or 'no arm differs'}.")
    head = f"Of {len(design.CLAIMS)} claims of papers, tested in the last table, and of differences in the others:"
    return "\n".join(["## In short\n", head + "\n", *lines, ""])


def _how() -> list[str]:
    sizes = f"{design.TRIALS} settings of the two on one tuning seed, the best by each measure on {design.SEEDS} fresh"
    return [
        "## How\n",
        f"Each arm is a preset at its defaults but for its learning rate and its `horizon_fraction`: {sizes} seeds "
        "that all arms share. *Loss* is the score metric at the end of the budget, *examples* those drawn at the "
        "first evaluation at the target; each is compared at the setting that was best by it, and the tables give "
        "both settings (learning rate, share of the horizon). Ratios are those of the arm to the first of its "
        f"table, below 1 is better. Intervals have {1 - design.ALPHA:.0%} together within a table (Bonferroni), and "
        "p is corrected by Holm over all tests of it.\n",
        f"Tables of one workload use Student's t on {design.SEEDS} pairs of log losses: their p rests on these being "
        f"near to normal, since no test without that assumption can find anything in {design.SEEDS} pairs. The table "
        "over both workloads uses the exact sign-flip test on all pairs, with a miss as the worst rank. It asks "
        "whether one arm is ahead on both: where the workloads disagree it finds nothing, and more seeds would not "
        "change that.\n",
        "Four rules were made stricter when the runs on `resnet-digits` had been seen, and those of `lm-tiny` on fresh "
        "seeds had not: where a run broke, its arm is not tested by its other seeds; pairs in which both missed are no "
        f"evidence that two arms are alike; differences under {design.WORTH:.0%} support no claim; and the table over "
        "both workloads is corrected over both of its measures.\n",
    ]


def _loss_table(results: Results, stage: Stage, arms: Sequence[str]) -> str:
    against = losses_against_first(results, stage, arms)
    rows = [_loss_row(results, stage, arm, against.get(arm)) for arm in arms]
    heading = ("arm", "setting", "loss", "ratio", "p", "", "setting", "examples to target", "hits", "seconds")
    return "\n".join([f"### {stage.title}\n", *markdown(heading, rows), ""])


def _loss_row(results: Results, stage: Stage, arm: str, against: Difference | None) -> list[str]:
    setting, fresh = results.setting(stage, arm, "loss"), list(results.fresh(stage, arm, "loss").values())
    quickest = results.setting(stage, arm, "target")
    if setting is None or quickest is None or not fresh:
        return [f"`{arm}`", *["not run"] + [""] * 8]
    at_target = _target_cells(list(results.fresh(stage, arm, "target").values()))
    return [f"`{arm}`", _tuned(setting), _mean_loss(fresh), *_cells(against), _tuned(quickest), *at_target]


def _tuned(setting: Figure) -> str:
    """`0.0115, 0.89`: the learning rate and, where the arm has one, its share of the horizon."""
    rate, share = float(setting.hparams["lr"]), setting.hparams.get("horizon_fraction")
    return f"{rate:.3g}" if share is None else f"{rate:.3g}, {float(share):.2f}"


def _mean_loss(fresh: Sequence[Figure]) -> str:
    """The mean over the seeds that came to the end, and how many did not."""
    losses = [f.loss for f in fresh if f.loss is not None]
    broke = f"{len(fresh) - len(losses)}/{len(fresh)} broke"
    if not losses:
        return broke
    return f"{statistics.fmean(losses):.4g}" + (f" ({broke})" if len(losses) < len(fresh) else "")


def _cells(one: Difference | None) -> list[str]:
    if one is None:
        return ["1", "", ""]
    if one.ratio is None:
        return ["–", "", "not tested"]
    ends = f" [{one.low:.3f}, {one.high:.3f}]" if one.low is not None and one.high is not None else ""
    return [f"{one.ratio:.3f}{ends}", f"{one.holm:.2g}", one.verdict]


def _target_cells(fresh: Sequence[Figure]) -> list[str]:
    """Median examples to the target, hits, and median seconds; a miss is the worst."""
    if not fresh:
        return ["", "", ""]
    examples = statistics.median(f.value("target") for f in fresh)
    times = statistics.median(math.inf if f.seconds is None else f.seconds for f in fresh)
    hits = sum(f.hit is not None for f in fresh)
    shown = ["missed" if math.isinf(examples) else f"{examples:,.0f}", f"{hits}/{len(fresh)}"]
    return [*shown, "" if math.isinf(times) else f"{times:.1f}"]


def _overall(results: Results, arms: Sequence[str]) -> str:
    """Both workloads at their own budgets together: five pairs from each."""
    first, *others = arms
    measures: tuple[Measure, ...] = ("loss", "target")
    asked = [(arm, measure) for arm in others for measure in measures]
    tested = [by_flips(pooled(results, design.FULL, arm, first, measure), len(asked)) for arm, measure in asked]
    found = dict(zip(asked, corrected(tested), strict=True))
    rows = []
    for arm in others:
        cells = [[str(found[arm, measure].n), *_cells(found[arm, measure])] for measure in measures]
        rows.append([f"`{arm}`", *cells[0], *cells[1]])
    heading = (f"against `{first}`", "n", "loss", "p", "", "n", "examples to target", "p", "")
    return "\n".join(["### Both workloads together\n", *markdown(heading, rows), ""])


def _rest(results: Results) -> str:
    stage, untuned = design.OTHERS, design.UNTUNED
    rows = []
    for arm in stage.arms:
        setting, fresh = results.setting(stage, arm, "target"), list(results.fresh(stage, arm, "target").values())
        if setting is None or not fresh:
            continue
        losses = [f.loss for f in fresh if f.loss is not None]
        spread = f"{min(losses):.4g} to {max(losses):.4g}" if losses else "broke"
        default = reached(list(results.fresh(untuned, arm, "target").values()))
        rows.append(
            [
                f"`{arm}`",
                f"{float(setting.hparams['lr']):.3g}",
                _mean_loss(fresh),
                spread,
                *_target_cells(fresh),
                default,
            ]
        )
    heading = ("arm", "rate", "loss", "range", "examples to target", "hits", "seconds", f"{untuned.workload}, untuned")
    text = (
        f"On `{stage.workload}`: {design.RATES} learning rates on the tuning seed, `horizon_fraction` at its default; "
        f"the one with the fewest examples to the target on {design.SEEDS} fresh seeds. Tuned by less than the tables "
        f"above, so not tested against them. The last column is one run of the defaults on `{untuned.workload}`. "
        "Methods that need a stream of tasks or examples with a quality are not here: these workloads have neither.\n"
    )
    return "\n".join(["## The other methods\n", text, *markdown(heading, rows), ""])


# --- what papers say ----------------------------------------------------------------------------------


def judged(results: Results) -> list[tuple[Claim, Difference, str]]:
    """Every claim with its test, corrected over all claims, and what follows."""
    tested = []
    for claim in design.CLAIMS:
        stages, pair = _stages(claim), (claim.arm, claim.other, claim.measure)
        differences = pooled(results, stages, *pair)
        # One workload's five pairs can say nothing by flips.
        exact = len(differences) >= stats.MIN_PAIRS
        one = (by_flips if exact else by_t)(differences, len(design.CLAIMS))
        tested.append(replace(one, both_missed=sum(both_missed(results, stage, *pair) for stage in stages)))
    found = []
    for claim, one in zip(design.CLAIMS, corrected(tested), strict=True):
        complete = one.n == design.SEEDS * len(_stages(claim))
        found.append((claim, one, verdict(claim, one) if complete or not one.n else "not finished"))
    return found


def verdict(claim: Claim, one: Difference) -> str:
    """What a test says of a claim.

    `better` holds when the arm is found better, unless the whole interval lies within the smallest ratio worth speaking
    of: then, and where it is found worse, it fails. `not worse` holds when the whole interval lies below such a ratio
    or the arm is found better, and fails where it is found worse. An interval that pairs of two misses have narrowed
    says nothing of how near two arms are.
    """
    if not one.n:
        return "not tried"
    found, narrow = one.verdict, not one.both_missed
    if claim.kind == "not worse":
        close = narrow and one.high is not None and one.high <= 1 + design.WORTH
        return "holds" if close or found == "better" else "fails" if found == "worse" else "undecided"
    if found == "worse":
        return "fails"
    if narrow and one.low is not None and one.low >= 1 - design.WORTH:
        return "fails: no gain worth speaking of"
    return "holds" if found == "better" else "undecided"


def _claims(results: Results) -> str:
    rows = []
    for claim, one, says in judged(results):
        cells = _cells(one) if one.ratio is not None else ["–", "", ""]
        each = _each(results, claim) if len(_stages(claim)) > 1 else ""
        rows.append(
            [claim.paper, claim.says, _where(claim), claim.measure, *cells[:2], each, f"**{says}**", claim.confounds]
        )
    heading = ("paper", "claim", "where", "by", "ratio", "p", "on each", "here", "what differs")
    text = (
        "Each as a test fixed beforehand, on both workloads together by sign flips, at the small budget by "
        f"Student's t; p and intervals are corrected over these {len(design.CLAIMS)}. *Fails* says that the opposite "
        f"was found, or that there is no gain of {design.WORTH:.0%}; *undecided* that {design.SEEDS} seeds a "
        "workload cannot tell, or that the two workloads disagree (*on each*: the mean ratio on either). Small "
        "networks and a few hundred updates are far from most papers' settings: what fails here may hold there.\n"
    )
    return "\n".join(["## What papers say, and what holds here\n", text, *markdown(heading, rows), ""])


def _each(results: Results, claim: Claim) -> str:
    """The ratio on each workload; where seeds missed, how often the two did."""
    said = []
    for stage in _stages(claim):
        differences = log_ratios(results, stage, claim.arm, claim.other, claim.measure)
        if (
            differences
            and all(map(math.isfinite, differences))
            and not both_missed(results, stage, claim.arm, claim.other, claim.measure)
        ):
            said.append(f"{stage.workload} {math.exp(statistics.fmean(differences)):.3f}")
        elif differences:
            hits = [
                sum(math.isfinite(f.value(claim.measure)) for f in results.fresh(stage, arm, claim.measure).values())
                for arm in (claim.arm, claim.other)
            ]
            said.append(f"{stage.workload} {hits[0]} and {hits[1]} of {len(differences)} hit")
    return ", ".join(said)


def _stages(claim: Claim) -> Sequence[Stage]:
    return (design.SMALL,) if claim.small else design.FULL


def _where(claim: Claim) -> str:
    return design.SMALL.title if claim.small else "both workloads"


def reached(fresh: Sequence[Figure]) -> str:
    """`reached 4/5, median 12,800 examples`, or where a method that missed ended.

    >>> reached([])
    'not run'
    """
    if not fresh:
        return "not run"
    hits = [f.hit for f in fresh if f.hit is not None]
    losses = [f.loss for f in fresh if f.loss is not None]
    broken = [f.status for f in fresh if f.status not in ("reached", "exhausted")]
    line = f"{'reached' if hits else 'missed'} {len(hits)}/{len(fresh)}"
    if hits:
        line += f", median {statistics.median(hits):,.0f} examples"
    elif losses:
        line += f", ends at {statistics.median(losses):.4g}"
    return line + (f" ({', '.join(broken)})" if broken else "")


def markdown(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table's lines."""
    return [
        "| " + " | ".join(heading) + " |",
        "|" + "---|" * len(heading),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
