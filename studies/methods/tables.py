"""Make the tables of docs/comparison.md."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from studies.methods.claims import describe_on_one_workload, describe_stages, judge_claims, judge_each_workload
from studies.methods.design import Claim, Measure, Stage
from studies.methods.differences import (
    Difference,
    compare_by_flips,
    compare_losses_with_first,
    correct_by_holm,
    pool_log_ratios,
)
from studies.methods.figures import RunFigures
from studies.methods.results import Results

# --- a family's tables --------------------------------------------------------------------------------


def loss_table(results: Results, stage: Stage, arms: Sequence[str]) -> str:
    """Return a table of the arms' losses and examples to the target on one stage, tested against the first arm."""
    differences = compare_losses_with_first(results, stage, arms)
    rows = [_loss_row(results, stage, arm, differences.get(arm)) for arm in arms]
    heading = ("arm", "setting", "loss", "ratio", "p", "", "setting", "examples to target", "hits", "seconds")
    return "\n".join([f"### {stage.title}\n", *markdown_table(heading, rows), ""])


def _loss_row(results: Results, stage: Stage, arm: str, difference: Difference | None) -> list[str]:
    fresh = list(results.fresh_runs(stage, arm, "loss").values())
    by_loss, by_target = (results.best_setting(stage, arm, measure) for measure in ("loss", "target"))
    if by_loss is None or by_target is None or not fresh:
        return [f"`{arm}`", *["not run"] + [""] * 8]
    at_target = _target_cells(list(results.fresh_runs(stage, arm, "target").values()))
    loss_cells = [format_setting(by_loss), _format_mean_loss(fresh), *_difference_cells(difference)]
    return [f"`{arm}`", *loss_cells, format_setting(by_target), *at_target]


def overall_table(results: Results, arms: Sequence[str]) -> str:
    """Return a table of the tests on all full stages together."""
    design = results.design
    first, *compared = arms
    measures: tuple[Measure, ...] = ("loss", "target")
    questions = [(arm, measure) for arm in compared for measure in measures]
    tested = [
        compare_by_flips(pool_log_ratios(results, design.full_stages, arm, first, measure), len(questions), design)
        for arm, measure in questions
    ]
    differences = dict(zip(questions, correct_by_holm(tested, design), strict=True))
    rows = []
    for arm in compared:
        of_arm = [differences[arm, measure] for measure in measures]
        cells = [[str(difference.n), *_difference_cells(difference)] for difference in of_arm]
        rows.append([f"`{arm}`", *cells[0], *cells[1]])
    heading = (f"against `{first}`", "n", "loss", "p", "", "n", "examples to target", "p", "")
    return "\n".join(["### Both workloads together\n", *markdown_table(heading, rows), ""])


# --- the other arms -----------------------------------------------------------------------------------


def others_section(results: Results) -> str:
    """Return the section about the arms outside the families, tuned by learning rate and at their defaults."""
    design = results.design
    stage, untuned = design.others_stage, design.untuned_stage
    rows = [row for arm in stage.arms if (row := _others_row(results, arm))]
    heading = ("arm", "rate", "loss", "range", "examples to target", "hits", "seconds", f"{untuned.workload}, untuned")
    text = (
        f"These arms ran on `{stage.workload}` with {design.rates} learning rates on the tuning seed, and with the "
        "default `horizon_fraction`. The rate with the fewest examples to the target then ran on "
        f"{stage.seeds} fresh seeds. Since these arms have fewer tuning runs than those above, they are not tested "
        f"against them. The last column shows one run with default hyperparameters on `{untuned.workload}`. The marks "
        "↑ and ↓ show that the rate was the highest or the lowest one tried, so a better rate may lie beyond it. "
        "Methods that need a stream of tasks or a quality score of examples are missing, since these workloads have "
        "neither; [schedules](schedules.md) and [optimizers](optimizers.md) have results for them on other workloads.\n"
    )
    return "\n".join(["## The other methods\n", text, *markdown_table(heading, rows), ""])


def _others_row(results: Results, arm: str) -> list[str]:
    stage = results.design.others_stage
    best, fresh = results.best_setting(stage, arm, "target"), list(results.fresh_runs(stage, arm, "target").values())
    if best is None or not fresh:
        return []
    losses = [run.loss for run in fresh if run.loss is not None]
    loss_range = f"{min(losses):.4g} to {max(losses):.4g}" if losses else "broke"
    untuned = results.fresh_runs(results.design.untuned_stage, arm, "target")
    return [
        f"`{arm}`",
        format_rate(best, results.tuning_runs(stage, arm)),
        _format_mean_loss(fresh),
        loss_range,
        *_target_cells(fresh),
        describe_hits(list(untuned.values())),
    ]


# --- claims -------------------------------------------------------------------------------------------


def claims_section(results: Results) -> str:
    """Return the section with the papers' claims and the verdict on each."""
    design = results.design
    each_workload = judge_each_workload(results)
    by_claim: dict[Claim, list[str]] = {}
    for judged in each_workload:
        by_claim.setdefault(judged.claim, []).append(describe_on_one_workload(results, judged))
    rows = []
    for judged in judge_claims(results):
        claim, difference = judged.claim, judged.difference
        ratio, p = _difference_cells(difference)[:2] if difference.ratio is not None else ("–", "")
        alone = "; ".join(filter(None, by_claim.get(claim, ())))
        place = describe_stages(claim, design)
        cells = [claim.paper, claim.says, place, claim.measure, ratio, p, f"**{judged.verdict}**", alone]
        rows.append([*cells, claim.confounds])
    heading = ("paper", "claim", "where", "by", "ratio", "p", "here", "on each alone", "what differs")
    text = (
        "The tests were specified before the runs. Claims about full budgets are tested on both workloads together by "
        "sign flips, and claims about the small budget by Student's t. p and intervals are corrected over these "
        f"{len(design.claims)} tests. *Fails* means that the opposite was found, or that there is no gain of "
        f"{design.min_effect:.0%}. *Undecided* means that {design.ruleset.studies} seeds per workload do not suffice, "
        "or that the workloads disagree. Small networks and a few hundred updates are far from most papers' settings: "
        "a claim that fails here may hold there.\n\n"
        "The column *on each alone* has the same tests on one workload, by Student's t, corrected over these "
        f"{len(each_workload)} tests. They are post hoc: they were added after the runs, since seeds vary far more on "
        "`resnet-digits` than on `lm-tiny`. The test on both workloads has equal weights for all pairs, and can be "
        "undecided where one workload alone is clear. If a seed missed the target, the hits are shown instead of a "
        "ratio.\n"
    )
    return "\n".join(["## What papers say, and what holds here\n", text, *markdown_table(heading, rows), ""])


# --- cells --------------------------------------------------------------------------------------------


def format_setting(run: RunFigures) -> str:
    """Format the learning rate and, if the arm has one, the horizon fraction: `0.0115, 0.89`."""
    learning_rate, fraction = float(run.hparams["lr"]), run.hparams.get("horizon_fraction")
    return f"{learning_rate:.3g}" if fraction is None else f"{learning_rate:.3g}, {float(fraction):.2f}"


def format_rate(best: RunFigures, tuning: Sequence[RunFigures]) -> str:
    """Format the learning rate, with a mark if it was the highest or the lowest of all that were tried: `0.03 ↑`."""
    learning_rate, learning_rates = float(best.hparams["lr"]), [float(run.hparams["lr"]) for run in tuning]
    mark = " ↑" if learning_rate == max(learning_rates) else " ↓" if learning_rate == min(learning_rates) else ""
    return f"{learning_rate:.3g}{mark if len(set(learning_rates)) > 1 else ''}"


def _format_mean_loss(fresh: Sequence[RunFigures]) -> str:
    """Format the mean loss over the complete runs, and the number of runs that broke."""
    losses = [run.loss for run in fresh if run.loss is not None]
    broke = f"{len(fresh) - len(losses)}/{len(fresh)} broke"
    if not losses:
        return broke
    return f"{statistics.fmean(losses):.4g}" + (f" ({broke})" if len(losses) < len(fresh) else "")


def _difference_cells(difference: Difference | None) -> list[str]:
    """Return the ratio with its interval, the corrected p, and the verdict; `1` for the first arm (None)."""
    if difference is None:
        return ["1", "", ""]
    if difference.ratio is None:
        return ["–", "", "not tested"]
    low, high = difference.low, difference.high
    ends = f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else ""
    return [f"{difference.ratio:.3f}{ends}", f"{difference.p_holm:.2g}", difference.verdict]


def _target_cells(fresh: Sequence[RunFigures]) -> list[str]:
    """Return the median examples to the target, the hits, and the median seconds, with a miss as the worst value."""
    if not fresh:
        return ["", "", ""]
    examples = statistics.median(run.value("target") for run in fresh)
    seconds = statistics.median(math.inf if run.seconds is None else run.seconds for run in fresh)
    hits = sum(run.hit is not None for run in fresh)
    cells = ["missed" if math.isinf(examples) else f"{examples:,.0f}", f"{hits}/{len(fresh)}"]
    return [*cells, "" if math.isinf(seconds) else f"{seconds:.1f}"]


def describe_hits(fresh: Sequence[RunFigures]) -> str:
    """Format the hits, such as `reached 4/5, median 12,800 examples`, or the final loss without a hit.

    The counts are left out for a single run.

    >>> describe_hits([])
    'not run'
    """
    if not fresh:
        return "not run"
    hits = [run.hit for run in fresh if run.hit is not None]
    losses = [run.loss for run in fresh if run.loss is not None]
    broken = [run.status for run in fresh if not run.is_complete]
    several = len(fresh) > 1
    line = ("reached" if hits else "missed") + (f" {len(hits)}/{len(fresh)}" if several else "")
    if hits:
        line += f", median {statistics.median(hits):,.0f} examples" if several else f" at {hits[0]:,} examples"
    elif losses:
        line += f", ends at {statistics.median(losses):.4g}"
    return line + (f" ({', '.join(broken)})" if broken else "")


def markdown_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [
        "| " + " | ".join(heading) + " |",
        "|" + "---|" * len(heading),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
