"""Make the tables of docs/comparison.md."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from studies.methods.claims import (
    MEASURE_NAMES,
    describe_on_one_workload,
    describe_stages,
    judge_claims,
    judge_each_workload,
)
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
from tools.markdown import table_lines

# --- the tables of a family --------------------------------------------------------------------------------


def loss_table(results: Results, stage: Stage, arms: Sequence[str]) -> str:
    """Return a table of the losses and the examples to the target of all arms on one stage.

    The table also compares the loss of every other arm with the loss of the first arm.
    """
    differences = compare_losses_with_first(results, stage, arms)
    rows = [_loss_row(results, stage, arm, differences.get(arm)) for arm in arms]
    by_loss = ("best setting by loss", "mean loss", "loss ratio", "p value", "verdict")
    by_target = ("best setting by examples", "median examples to target", "hits", "median seconds to target")
    return "\n".join([f"### {stage.title}\n", *table_lines(("arm", *by_loss, *by_target), rows), ""])


def _loss_row(results: Results, stage: Stage, arm: str, difference: Difference | None) -> list[str]:
    fresh = list(results.fresh_runs(stage, arm, "loss").values())
    by_loss, by_target = (results.best_setting(stage, arm, measure) for measure in ("loss", "target"))
    if by_loss is None or by_target is None or not fresh:
        return [f"`{arm}`", *["not run"] + [""] * 8]
    at_target = _target_cells(list(results.fresh_runs(stage, arm, "target").values()))
    loss_cells = [format_setting(by_loss), _format_mean_loss(fresh), *_difference_cells(difference)]
    return [f"`{arm}`", *loss_cells, format_setting(by_target), *at_target]


def overall_table(results: Results, arms: Sequence[str]) -> str:
    """Return a table of the tests on all workloads together, at their full budgets."""
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
        row = [f"`{arm}`"]
        for measure in measures:
            difference = differences[arm, measure]
            row += [str(difference.n), *_difference_cells(difference)]
        rows.append(row)
    by_loss = ("pairs, loss", "loss ratio", "p value", "verdict")
    by_target = ("pairs, examples", "examples ratio", "p value", "verdict")
    heading = (f"compared with `{first}`", *by_loss, *by_target)
    return "\n".join(["### Both workloads together\n", *table_lines(heading, rows), ""])


# --- the other arms -----------------------------------------------------------------------------------


def others_section(results: Results) -> str:
    """Return the section about the arms outside the families.

    On one workload, their learning rate is tuned. On the other, they have their default hyperparameters.
    """
    design = results.design
    stage, untuned = design.others_stage, design.untuned_stage
    rows = [row for arm in stage.arms if (row := _others_row(results, arm))]
    target_heads = ("median examples to target", "hits", "median seconds to target")
    heading = ("arm", "learning rate", "mean loss", "range of losses", *target_heads, f"{untuned.workload}, untuned")
    text = (
        "This table has the arms that are in no table above. These arms had fewer tuning runs than those above, and "
        "are therefore not tested against them.\n\n"
        f"The arms ran on `{stage.workload}` with {design.rates} learning rates on the tuning seed, and with the "
        "default `horizon_fraction`. An arm with its own list of settings ran with these settings instead. The "
        "setting with the fewest examples to the target then ran on "
        f"{stage.seeds} new seeds. The last column shows one run with default hyperparameters on "
        f"`{untuned.workload}`. There, *ends at* gives the final loss of a run that missed.\n\n"
        "The mark ↑ (or ↓) means that the best learning rate was the highest (or lowest) one that was tried. A better "
        "learning rate may then lie outside the range.\n\n"
        "Some methods need a stream of tasks or a quality score of examples. These workloads have neither, so the "
        "table does not contain such methods. [Schedules](schedules.md) and [optimizers](optimizers.md) give their "
        "results on other workloads.\n"
    )
    return "\n".join(["## The other methods\n", text, *table_lines(heading, rows), ""])


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
        on_each_workload = "; ".join(filter(None, by_claim.get(claim, ())))
        place = describe_stages(claim, design)
        cells = [
            claim.paper,
            claim.says,
            place,
            MEASURE_NAMES[claim.measure],
            ratio,
            p,
            f"**{judged.verdict}**",
            on_each_workload,
        ]
        rows.append([*cells, claim.confounds])
    test_columns = ("tested on", "measure", "ratio", "p value", "verdict", "each workload separately")
    heading = ("paper", "claim", *test_columns, "differences from the paper")
    text = (
        "The tests were specified before the runs. Claims about full budgets are tested on both workloads together by "
        "the sign-flip test. Claims about the small budget are tested by Student's t test. The p values and the "
        f"intervals are corrected over these {len(design.claims)} tests. A ratio compares the method that the claim "
        "favours with the other method: value of the favoured method / value of the other.\n\n"
        "A claim says either that a method is better than another, or that it is not worse. The verdicts are:\n\n"
        "- A claim of the kind *better* **fails** if the method is significantly worse. It also fails if the gain is "
        f"at most {design.min_effect:.0%}, that is, if the whole interval of the ratio is at or above "
        f"{1 - design.min_effect:g}.\n"
        "- A claim of the kind *better* **holds** if it does not fail and the method is significantly better.\n"
        "- A claim of the kind *not worse* **holds** if the whole interval of the ratio is at or below "
        f"{1 + design.min_effect:g}. It also holds if the method is significantly better.\n"
        "- A claim of the kind *not worse* **fails** if it does not hold and the method is significantly worse.\n"
        f"- All other claims are **undecided**: {design.ruleset.studies} seeds per workload are too few, or the two "
        "workloads disagree.\n\n"
        "Most papers use larger networks and more updates than this experiment, so a claim that fails here may hold "
        "in the setting of its paper.\n\n"
        "The column *each workload separately* shows the result of Student's t test on one workload. These "
        f"{len(each_workload)} tests are corrected together, including those that a miss prevented. They are post hoc. "
        "They were added after the runs, because "
        "the results vary far more between seeds on `resnet-digits` than on `lm-tiny`. The test on both "
        "workloads together gives all pairs equal weights, so the noisy pairs of one workload can hide a clear "
        "difference on the other. If a run missed the target, there is no ratio, and the column shows the "
        "number of hits of each arm.\n"
    )
    return "\n".join(["## Claims from papers\n", text, *table_lines(heading, rows), ""])


# --- cells --------------------------------------------------------------------------------------------


def format_setting(run: RunFigures) -> str:
    """Format the learning rate and, if the arm has one, the horizon fraction: `0.0115, 0.89`."""
    learning_rate, fraction = float(run.hparams["lr"]), run.hparams.get("horizon_fraction")
    return f"{learning_rate:.3g}" if fraction is None else f"{learning_rate:.3g}, {float(fraction):.2f}"


def format_rate(best: RunFigures, tuning: Sequence[RunFigures]) -> str:
    """Format the learning rate, such as `0.03 ↑`. A mark shows that it is the highest (↑) or lowest (↓) rate tried."""
    learning_rate, learning_rates = float(best.hparams["lr"]), [float(run.hparams["lr"]) for run in tuning]
    mark = " ↑" if learning_rate == max(learning_rates) else " ↓" if learning_rate == min(learning_rates) else ""
    return f"{learning_rate:.3g}{mark if len(set(learning_rates)) > 1 else ''}"


def _format_mean_loss(fresh: Sequence[RunFigures]) -> str:
    """Format the mean loss over the complete runs, and the number of broken runs, if any."""
    losses = [run.loss for run in fresh if run.loss is not None]
    broke = f"{len(fresh) - len(losses)}/{len(fresh)} broke"
    if not losses:
        return broke
    return f"{statistics.fmean(losses):.4g}" + (f" ({broke})" if len(losses) < len(fresh) else "")


def _difference_cells(difference: Difference | None) -> list[str]:
    """Return the cells with the ratio and its interval, the corrected p value, and the verdict.

    `difference` is None for the first arm, whose ratio is 1.
    """
    if difference is None:
        return ["1", "", ""]
    if difference.ratio is None:
        return ["–", "", "not tested"]
    low, high = difference.low, difference.high
    ends = f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else ""
    return [f"{difference.ratio:.3f}{ends}", f"{difference.p_holm:.2g}", difference.verdict]


def _target_cells(fresh: Sequence[RunFigures]) -> list[str]:
    """Return the cells with the median examples to the target, the hits, and the median seconds to the target.

    In the medians, a miss counts as infinite.
    """
    if not fresh:
        return ["", "", ""]
    examples = statistics.median(run.value("target") for run in fresh)
    seconds = statistics.median(math.inf if run.seconds is None else run.seconds for run in fresh)
    hits = sum(run.hit is not None for run in fresh)
    cells = ["missed" if math.isinf(examples) else f"{examples:,.0f}", f"{hits}/{len(fresh)}"]
    return [*cells, "" if math.isinf(seconds) else f"{seconds:.1f}"]


def describe_hits(fresh: Sequence[RunFigures]) -> str:
    """Format the hits, such as `reached 4/5, median 12,800 examples`. If no run hit, format the final loss.

    For a single run, the text contains no numbers of runs.

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
