"""The page docs/comparison.md from the figures of its runs: tables with corrected intervals, and what papers say."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

import methods_claims as claims
import methods_design as design
from methods_claims import Judged
from methods_design import Claim, Measure, Stage
from methods_figures import Figure
from methods_tests import Difference, Results, by_flips, corrected, losses_against_first, pooled

from harness.planning import estimate

HEAD = """# Schedules and optimizers compared

Made by `python benchmarks/compare_methods.py --table`; the design, which was written before any run, is
[methods_design.py](../benchmarks/methods_design.py), and the figures of every run stand in
[measured/methods.json](measured/methods.json).

"""


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
    lines = [f"- {verdict}." for verdict in _verdicts(claims.judged(results))]
    for stage in design.FULL:
        one = [judged for judged in claims.alone(results) if judged.stages == (stage,)]
        plain = _verdicts(judged for judged in one if judged.says.startswith(("holds", "fails")))
        rest = Counter(judged.says for judged in one if not judged.says.startswith(("holds", "fails")))
        counted = [f"{word.capitalize()}, {n}" for word, n in rest.items()]
        lines.append(f"- On {stage.workload} alone: {'. '.join([*plain, *counted])}.")
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
    head = (
        f"{len(design.CLAIMS)} claims of papers were fixed before any run, to be tried on both workloads together or "
        "at the small budget; what either workload shows *alone* was asked when its runs had been seen. Then come the "
        "arms whose loss differs from that of the first of their table."
    )
    return "\n".join(["## In short\n", head + "\n", *lines, ""])


def _verdicts(found: Iterable[Judged]) -> list[str]:
    """`**Holds**, 2: …; …` for every verdict there is; what is said of a failure beyond that stands in brackets."""
    said: dict[str, list[str]] = {word: [] for word in claims.VERDICTS}
    for one in found:
        word, _, more = one.says.partition(": ")
        small = design.SMALL.title if one.claim.small else ""
        notes = "".join(f" ({note})" for note in (small, more) if note)
        said[word].append(claims.in_words(one.claim) + notes)
    return [f"**{word.capitalize()}**, {len(those)}: {'; '.join(those)}" for word, those in said.items() if those]


def _how() -> list[str]:
    sizes = f"{design.TRIALS} settings of the two on one tuning seed, the best by each measure on {design.SEEDS} fresh"
    return [
        "## How\n",
        f"Each arm is a preset at its defaults but for its learning rate and its `horizon_fraction`: {sizes} seeds "
        "that all arms share. *Loss* is the score metric at the end of the budget, *examples* those drawn at the "
        "first evaluation at the target; each is compared at the setting that was best by it, and the tables give "
        "both settings (learning rate, share of the horizon). Ratios are those of the arm to the first of its "
        f"table, below 1 is better. Intervals have {1 - design.ALPHA:.0%} together within a table (Bonferroni), and "
        "p is corrected by Holm over all tests of it. Seconds are processor seconds, two runs at once and lighter work "
        "beside them at times; no test uses them.\n",
        f"Tables of one workload use Student's t on {design.SEEDS} pairs of log losses: their p rests on these being "
        f"near to normal, since no test without that assumption can find anything in {design.SEEDS} pairs. The table "
        "over both workloads uses the exact sign-flip test on all pairs, with a miss as the worst rank (`inf` in its "
        "ratios is a miss of the arm, 0 one of the first). It asks whether one arm is ahead on both: where the "
        "workloads disagree it finds nothing, and more seeds would not change that.\n",
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
                rate_among(setting, results.tuned(stage, arm)),
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
        "↑ and ↓ mark a rate that was the highest or lowest tried, beyond which a better one may lie. "
        "Methods that need a stream of tasks or examples with a quality are not here: these workloads have neither "
        "([schedules](schedules.md) and [optimizers](optimizers.md) say what they do on others).\n"
    )
    return "\n".join(["## The other methods\n", text, *markdown(heading, rows), ""])


def rate_among(chosen: Figure, tried: Sequence[Figure]) -> str:
    """`0.03 ↑`: the learning rate, and whether it was the highest or the lowest of those tried."""
    rate, rates = float(chosen.hparams["lr"]), [float(figure.hparams["lr"]) for figure in tried]
    edge = " ↑" if rate == max(rates) else " ↓" if rate == min(rates) else ""
    return f"{rate:.3g}{edge if len(set(rates)) > 1 else ''}"


def _claims(results: Results) -> str:
    each: dict[Claim, list[str]] = {}
    singles = claims.alone(results)
    for one in singles:
        each.setdefault(one.claim, []).append(claims.on_one(results, one))
    rows = []
    for one in claims.judged(results):
        claim, cells = one.claim, _cells(one.found) if one.found.ratio is not None else ["–", "", ""]
        alone = "; ".join(filter(None, each.get(claim, ())))
        said = [claim.paper, claim.says, claims.where(claim), claim.measure, *cells[:2], f"**{one.says}**", alone]
        rows.append([*said, claim.confounds])
    heading = ("paper", "claim", "where", "by", "ratio", "p", "here", "on each alone", "what differs")
    text = (
        "Each as a test fixed beforehand, on both workloads together by sign flips, at the small budget by "
        f"Student's t; p and intervals are corrected over these {len(design.CLAIMS)}. *Fails* says that the opposite "
        f"was found, or that there is no gain of {design.WORTH:.0%}; *undecided* that {design.SEEDS} seeds a "
        "workload cannot tell, or that the two workloads disagree. Small networks and a few hundred updates are far "
        "from most papers' settings: what fails here may hold there.\n\n"
        "*On each alone* asks the same of one workload, by Student's t, corrected over the "
        f"{len(singles)} of them. It was added when these runs had been seen: seeds vary far more on `resnet-digits` "
        "than on `lm-tiny`, and the test over both, which weighs all pairs alike, leaves undecided what one workload "
        "shows plainly. Where a seed missed the target there is no ratio, and the hits are given.\n"
    )
    return "\n".join(["## What papers say, and what holds here\n", text, *markdown(heading, rows), ""])


def reached(fresh: Sequence[Figure]) -> str:
    """`reached 4/5, median 12,800 examples`, or where a method that missed ended; of one run, without counts.

    >>> reached([])
    'not run'
    """
    if not fresh:
        return "not run"
    hits = [f.hit for f in fresh if f.hit is not None]
    losses = [f.loss for f in fresh if f.loss is not None]
    broken = [f.status for f in fresh if f.status not in ("reached", "exhausted")]
    several = len(fresh) > 1
    line = ("reached" if hits else "missed") + (f" {len(hits)}/{len(fresh)}" if several else "")
    if hits:
        line += f", median {statistics.median(hits):,.0f} examples" if several else f" at {hits[0]:,} examples"
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
