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
        n: pairs.
        ratio: of the arm's value over the other's; below 1 is better. None where no pair is finite.
        low, high: the interval, corrected; None where there is none.
        p: two-sided, as tested; 1 where nothing can be tested.
        holm: the same corrected by Holm.
    """

    n: int
    ratio: float | None
    low: float | None
    high: float | None
    p: float
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
        self._own = {stage.workload: registry.workload(stage.workload).facts.budget.horizon for stage in design.STAGES}

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
        place = stage.workload, stage.budget or self._own[stage.workload]
        return [figure for figure in self._found if figure.arm == arm and figure.at == place]


# --- tests --------------------------------------------------------------------------------------------


def log_ratios(results: Results, stage: Stage, arm: str, other: str, measure: Measure) -> list[float]:
    """log(arm/other) for every seed that both have run on; ±inf where one missed or broke, 0 where both did."""
    a, b = results.fresh(stage, arm, measure), results.fresh(stage, other, measure)
    both = sorted(a.keys() & b.keys())
    return stats.paired_log_ratios([a[i].value(measure) for i in both], [b[i].value(measure) for i in both])


def pooled(results: Results, stages: Sequence[Stage], arm: str, other: str, measure: Measure) -> list[float]:
    """The log ratios of all stages; none unless both arms have run on each, so that no workload speaks for another."""
    found = [log_ratios(results, stage, arm, other, measure) for stage in stages]
    return [d for differences in found for d in differences] if all(found) else []


def by_t(differences: Sequence[float], tests: int) -> Difference:
    """Student's t on paired log ratios, with an interval at 1 − α/tests.

    A run that broke leaves no ratio, so it is no pair here.
    """
    from scipy.stats import t as student

    x = [d for d in differences if math.isfinite(d)]
    n = len(x)
    if n < 2:
        return Difference(n=n, ratio=math.exp(x[0]) if x else None, low=None, high=None, p=1.0)
    mean, error = statistics.fmean(x), statistics.stdev(x) / math.sqrt(n)
    if error == 0:
        return Difference(
            n=n, ratio=math.exp(mean), low=math.exp(mean), high=math.exp(mean), p=1.0 if mean == 0 else 0.0
        )
    wide = float(student.ppf(1 - design.ALPHA / (2 * max(tests, 1)), n - 1)) * error
    p = 2 * float(student.sf(abs(mean) / error, n - 1))
    return Difference(n=n, ratio=math.exp(mean), low=math.exp(mean - wide), high=math.exp(mean + wide), p=p)


def by_flips(differences: Sequence[float], tests: int) -> Difference:
    """The exact sign-flip test with the Hodges–Lehmann ratio and the interval that inverts it, at 1 − α/tests."""
    if not differences:
        return Difference(n=0, ratio=None, low=None, high=None, p=1.0)
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
    sections = [HEAD + _cost(found), _short(results), *_how()]
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


def _short(results: Results) -> str:
    """What was found: the verdicts on the papers' claims, and the arms that differ from the first of their family."""
    said: dict[str, list[str]] = {word: [] for word in ("holds", "fails", "undecided", "not tried")}
    for claim, _, says in judged(results):
        by = "" if claim.measure == "loss" else ", by examples to the target"
        said[says.partition(":")[0]].append(f"{claim.says} ({_where(claim)}{by})")
    lines = [f"- **{word.capitalize()}**, {len(says)}: {'; '.join(says)}." for word, says in said.items() if says]
    for arms in design.FAMILIES.values():
        for stage in (*design.FULL, design.SMALL):
            tested = losses_against_first(results, stage, arms)
            if not any(one.n for one in tested.values()):
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
    return [
        "## How\n",
        f"Each arm is a preset at its defaults but for its learning rate and its `horizon_fraction`: {design.TRIALS} "
        f"settings of the two on one tuning seed, the best by each measure on {design.SEEDS} fresh seeds that all arms "
        "share. *Loss* is the score metric at the end of the budget, *examples* those drawn at the first evaluation at "
        "the target; each is compared at the setting that was best by it. Ratios are those of the arm to the first of "
        "its table, below 1 is better. Intervals have "
        f"{1 - design.ALPHA:.0%} together within a table (Bonferroni), and p is corrected by Holm within it. Tables of "
        f"one workload use Student's t on {design.SEEDS} pairs of log losses, the table over both the exact sign-flip "
        "test.\n",
    ]


def _loss_table(results: Results, stage: Stage, arms: Sequence[str]) -> str:
    against = losses_against_first(results, stage, arms)
    rows = [_loss_row(results, stage, arm, against.get(arm)) for arm in arms]
    heading = ("arm", "rate", "plan", "loss", "ratio", "p", "", "examples to target", "hits", "seconds")
    return "\n".join([f"### {stage.title}\n", *markdown(heading, rows), ""])


def _loss_row(results: Results, stage: Stage, arm: str, against: Difference | None) -> list[str]:
    setting, fresh = results.setting(stage, arm, "loss"), list(results.fresh(stage, arm, "loss").values())
    if setting is None or not fresh:
        return [f"`{arm}`", *["not run"] + [""] * 8]
    losses = [f.loss for f in fresh if f.loss is not None]
    mean = f"{statistics.fmean(losses):.4g}" if losses else "broke"
    return [
        f"`{arm}`",
        f"{float(setting.hparams['lr']):.3g}",
        _plan(setting),
        mean,
        *_cells(against),
        *_target_cells(list(results.fresh(stage, arm, "target").values())),
    ]


def _plan(setting: Figure) -> str:
    share = setting.hparams.get("horizon_fraction")
    return "–" if share is None else f"{float(share):.2f}"


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
    reference, *others = arms
    lines = ["### Both workloads together\n"]
    rows: dict[str, list[str]] = {arm: [f"`{arm}`"] for arm in others}
    measures: tuple[Measure, ...] = ("loss", "target")
    for measure in measures:
        tested = [by_flips(pooled(results, design.FULL, arm, reference, measure), len(others)) for arm in others]
        for arm, one in zip(others, corrected(tested), strict=True):
            rows[arm] += [str(one.n), *_cells(one)]
    heading = (f"against `{reference}`", "n", "loss", "p", "", "n", "examples to target", "p", "")
    return "\n".join([*lines, *markdown(heading, rows.values()), ""])


def _rest(results: Results) -> str:
    stage, untuned = design.OTHERS, design.UNTUNED
    rows = []
    for arm in stage.arms:
        setting, fresh = results.setting(stage, arm, "target"), list(results.fresh(stage, arm, "target").values())
        if setting is None or not fresh:
            continue
        losses = [f.loss for f in fresh if f.loss is not None]
        spread = f"{min(losses):.4g} to {max(losses):.4g}" if losses else "broke"
        mean = f"{statistics.fmean(losses):.4g}" if losses else "broke"
        default = reached(list(results.fresh(untuned, arm, "target").values()))
        rows.append([f"`{arm}`", f"{float(setting.hparams['lr']):.3g}", mean, spread, *_target_cells(fresh), default])
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
        stages = (design.SMALL,) if claim.small else design.FULL
        differences = pooled(results, stages, claim.arm, claim.other, claim.measure)
        # One workload's five pairs can say nothing by flips.
        exact = len(differences) >= stats.MIN_PAIRS
        tested.append((by_flips if exact else by_t)(differences, len(design.CLAIMS)))
    return [(c, d, verdict(c, d)) for c, d in zip(design.CLAIMS, corrected(tested), strict=True)]


def verdict(claim: Claim, one: Difference) -> str:
    """What a test says of a claim.

    `better` holds when the arm is found better, and fails when it is found worse or when the whole interval lies above
    the smallest ratio that is worth speaking of. `not worse` holds when the whole interval lies below such a ratio.
    """
    if one.n < 2 or one.ratio is None:
        return "not tried"
    found = one.verdict
    if claim.kind == "better" and found == "better":
        return "holds"
    if found == "worse":
        return "fails"
    if claim.kind == "not worse":
        if found == "better" or (one.high is not None and one.high <= 1 + design.WORTH):
            return "holds"
        return "undecided"
    return "fails: no gain worth speaking of" if one.low is not None and one.low >= 1 - design.WORTH else "undecided"


def _claims(results: Results) -> str:
    rows = []
    for claim, one, says in judged(results):
        cells = _cells(one) if one.ratio is not None else ["–", "", ""]
        rows.append([claim.paper, claim.says, _where(claim), claim.measure, *cells[:2], f"**{says}**", claim.confounds])
    heading = ("paper", "claim", "where", "by", "ratio", "p", "here", "what differs")
    text = (
        f"Each as a test fixed beforehand; p and intervals are corrected over these {len(design.CLAIMS)}. *Fails* says "
        f"that the opposite was found, or that there is no gain of {design.WORTH:.0%}, *undecided* that {design.SEEDS} "
        "seeds a workload cannot tell. Small networks and a few hundred updates are far from most papers' settings: "
        "what fails here may hold there.\n"
    )
    return "\n".join(["## What papers say, and what holds here\n", text, *markdown(heading, rows), ""])


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
