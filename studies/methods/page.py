"""Write the prose and the summary of docs/comparison.md. The tables come from `tables.py`."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence

from harness.planning.estimate import STARTUP_S
from studies.methods.claims import (
    VERDICTS,
    JudgedClaim,
    describe_claim,
    describe_stages,
    judge_claims,
    judge_each_workload,
)
from studies.methods.design import Design
from studies.methods.differences import compare_losses_with_first
from studies.methods.figures import RunFigures
from studies.methods.results import Results
from studies.methods.tables import claims_section, loss_table, others_section, overall_table

HEAD = """# Schedules and optimizers compared

This page compares the learning-rate schedules and the optimizers of AlgoRace on two small workloads. You need it to
choose a method, or to check a claim of a paper about a method.

The methods of one table are tuned alike and run on the same seeds. The design of the experiment was fixed before the
first run. It is in [design.yaml](../studies/methods/design.yaml). [measured.json](../studies/methods/measured.json)
contains the figures of all runs. `python -m studies.methods --table` generates this page.

"""
#: Maximum length of a line of prose. Tables and headings cannot be wrapped.
LINE_LENGTH = 120
CLAIMS_TOGETHER = (
    "Claims about full budgets are tested on both workloads together. Claims about the small budget are tested on the "
    "only workload with this budget. All these tests were specified before the first run. Their verdicts are:"
)
CLAIMS_ALONE = (
    "The claims about full budgets were also tested on each workload separately. These tests are post hoc: the tests "
    "on a workload were added after its runs."
)
ARMS_THAT_DIFFER = (
    "The next list has one line for every table of losses on one workload. It names the arms whose loss is "
    "significantly better or worse than the loss of the first arm:"
)


def page(results: Results) -> str:
    """Return the page as Markdown. The page also names the stages that are not finished."""
    design = results.design
    if not results.figures:
        return HEAD + "There are no runs.\n"
    sections = [HEAD + _cost(results.figures), *_unfinished(results), _terms(design)]
    sections += [_summary(results), *_method(design)]
    for family, arms in design.families.items():
        sections.append(f"## {family}\n")
        sections += [loss_table(results, stage, arms) for stage in (*design.full_stages, design.small_stage)]
        sections.append(overall_table(results, arms))
    sections += [others_section(results), claims_section(results)]
    return wrap_prose("\n".join(sections).rstrip()) + "\n"


def wrap_prose(text: str) -> str:
    """Wrap the paragraphs and list items of a Markdown text. Tables and headings are unchanged.

    >>> wrap_prose("- word" + 30 * " word").splitlines()[1][:6]
    '  word'
    """
    lines: list[str] = []
    for line in text.splitlines():
        content = line.lstrip(" ")
        indent = " " * (len(line) - len(content) + 2 * content.startswith("- "))
        is_prose = bool(content) and not content.startswith(("|", "#"))
        lines += (
            textwrap.wrap(line, LINE_LENGTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
            if is_prose
            else [line]
        )
    return "\n".join(lines)


def _cost(figures: Sequence[RunFigures]) -> str:
    machines = sorted({f"{run.hardware}, torch {run.torch}" for run in figures})
    broken = sum(not run.is_complete for run in figures)
    spent, starting = sum(run.spent for run in figures) / 3600, len(figures) * STARTUP_S / 3600
    return (
        f"The experiment has {len(figures)} runs. A run *breaks* if it ends before the end of its budget. The number "
        f"of runs that broke is {broken}. Training, evaluations, checkpoints and imports took "
        f"{spent:.1f} core-hours, "
        f"and starting the processes took about {starting:.1f} core-hours. "
        f"Hardware and version: {'; '.join(machines)}.\n"
    )


def _unfinished(results: Results) -> list[str]:
    """Return a list with one paragraph about the unfinished stages, or an empty list if all stages are finished."""
    stages = []
    for stage in results.design.stages:
        run_counts = [min(len(results.fresh_runs(stage, arm, m)) for m in stage.measures) for arm in stage.arms]
        if unfinished_arms := sum(count < stage.seeds for count in run_counts):
            stages.append(f"{unfinished_arms} of {len(stage.arms)} arms on {stage.title}")
    if not stages:
        return []
    return [f"**Not finished**: {'; '.join(stages)}. `python -m studies.methods --plan` lists the missing runs.\n"]


def _terms(design: Design) -> str:
    workloads = " and ".join(f"`{stage.workload}`" for stage in design.full_stages)
    seeds = design.ruleset.studies
    return "\n".join(
        [
            "## Terms\n",
            "- An *arm* is a submission that this experiment compares. It is a [preset](glossary.md#preset) "
            "(a named submission) with a tuned learning rate. Some schedules use the horizon, which is the number of "
            "examples in a run. For these schedules, "
            "`horizon_fraction` is also tuned. It is the fraction of the horizon at which the schedule ends.",
            "- [schedules.md](schedules.md) and [optimizers.md](optimizers.md) describe the arms, such as WSD and REX "
            "(schedules), and Muon and SOAP (optimizers).",
            "- The *first arm* of a table is the arm in its first row. The table compares every other arm with it.",
            "- Claims of papers use other names for some arms: *linear decay* is the arm `d2z`, *cosine* is "
            "`adamw-cosine`, and *tuned AdamW* is `wsd`. Muon, SOAP, NAdamW and Prodigy are used with the schedule WSD "
            "(`muon-wsd`, `soap-wsd`, `nadamw-wsd` and `prodigy-wsd`).",
            "- The *loss* is the held-out cross-entropy on the split `score` at the end of the budget.",
            "- The *examples to the target* are the number of examples that were drawn until the first evaluation "
            "that meets the target.",
            "- The loss and the examples to the target are the two *measures* of the experiment.",
            "- A run *hits* if an evaluation meets the target. Otherwise the run *misses*.",
            f"- The *full budget* of a workload is its own budget. The two workloads are {workloads}.",
            *(
                f"- The experiment ran on version {studied.version} of `{name}`, whose full budget is "
                f"{studied.horizon:,} examples and whose target is {studied.target:g}."
                for name, studied in design.versions.items()
            ),
            f"- The *small budget* is {design.small_stage.budget:,} examples on `{design.small_stage.workload}`, a "
            "quarter of its full budget.",
            f"- *New seeds* are the {seeds} seeds that were not used for tuning. All arms have the same new seeds, "
            "so the runs of two arms form pairs.",
            "",
        ]
    )


def _summary(results: Results) -> str:
    """Return the verdicts on the papers' claims, and the arms that differ from the first arm of their family."""
    design = results.design
    lines = [CLAIMS_TOGETHER + "\n", *_list_verdicts(judge_claims(results), design), ""]
    lines.append(CLAIMS_ALONE + "\n")
    for stage in design.full_stages:
        judged_on_stage = [judged for judged in judge_each_workload(results) if judged.stages == (stage,)]
        decided = [judged for judged in judged_on_stage if judged.verdict.startswith(("holds", "fails"))]
        other_verdicts = Counter(judged.verdict for judged in judged_on_stage if judged not in decided)
        count_lines = [f"- {verdict.capitalize()}: {_count_claims(n)}." for verdict, n in other_verdicts.items()]
        lines += [f"On {stage.workload}:\n", *_list_verdicts(decided, design), *count_lines, ""]
    lines.append(ARMS_THAT_DIFFER + "\n")
    for arms in design.families.values():
        for stage in (*design.full_stages, design.small_stage):
            differences = compare_losses_with_first(results, stage, arms)
            if any(difference.n < design.ruleset.studies for difference in differences.values()):
                continue
            listed = [
                f"{verdict}: {', '.join(f'`{arm}`' for arm in named)}"
                for verdict in ("better", "worse")
                if (named := [arm for arm, difference in differences.items() if difference.verdict == verdict])
            ]
            text = "; ".join(listed) or "no arm differs"
            lines.append(f"- Loss on {stage.title}, compared with `{arms[0]}`: {text}.")
    head = (
        f"Before the first run, {len(design.claims)} claims were chosen from papers. The verdicts are defined in the "
        f"[last section](#claims-from-papers). A claim that a method is better also fails if the gain is at most "
        f"{design.min_effect:.0%}, even if the gain is significant."
    )
    return "\n".join(["## Summary\n", head + "\n", *lines, ""])


def _list_verdicts(judged_claims: Iterable[JudgedClaim], design: Design) -> list[str]:
    """Return the claims as a list, grouped by verdict. A group begins with a line such as `- **Holds** (2 claims):`."""
    listed: dict[str, list[str]] = {verdict: [] for verdict in VERDICTS}
    for judged in judged_claims:
        verdict, _, detail = judged.verdict.partition(": ")
        # The text above a list about one workload already names the workload.
        place = (
            "" if judged.stages in [(stage,) for stage in design.full_stages] else describe_stages(judged.claim, design)
        )
        notes = "".join(f" ({note})" for note in (place, detail) if note)
        listed[verdict].append(describe_claim(judged.claim, design) + notes)
    lines: list[str] = []
    for verdict, claims in listed.items():
        if claims:
            lines += [f"- **{verdict.capitalize()}** ({_count_claims(len(claims))}):"]
            lines += [f"  - {claim}" for claim in claims]
    return lines


def _count_claims(n: int) -> str:
    return "1 claim" if n == 1 else f"{n} claims"


def _method(design: Design) -> list[str]:
    trials, seeds = design.ruleset.trials, design.ruleset.studies
    return [
        "## Method\n",
        "### Settings\n",
        f"Only the learning rate and the `horizon_fraction` of an arm are tuned. {trials} settings of these two "
        f"hyperparameters were tried on one tuning seed. Two of these settings then ran on {seeds} new seeds: the "
        "one with the lowest loss, and the one with the fewest examples to the target. Losses are compared in the runs "
        "of the first setting, and examples to the target in the runs of the second setting. "
        "Some arms have a second learning rate, `adam_lr`. The ratio of the two learning rates stays "
        "equal to the ratio of their default values. "
        "All other hyperparameters have their default values.\n",
        "### Columns of the tables\n",
        "- *best setting by loss* and *best setting by examples*: the learning rate and, if the arm has one, the "
        "`horizon_fraction`.\n"
        f"- *mean loss*: the mean over the {seeds} new seeds.\n"
        f"- *median examples to target* and *median seconds to target*: the medians over the {seeds} new seeds, in "
        f"which a miss counts as infinite. If fewer than {seeds // 2 + 1} of the {seeds} seeds hit, the cell shows "
        "*missed*.\n"
        "- *hits*: the number of runs that hit / the number of runs.\n"
        "- *loss ratio* and *examples ratio*: the value of the arm divided by the value of the first arm. A ratio "
        "below 1 is better. The interval is in brackets.\n"
        f"- *verdict*: *better* or *worse* if the p value is at most {design.alpha:g}, *not tested* if "
        "exactly one run of a pair broke, so that there is no t test, and otherwise a dash.\n",
        f"The intervals have a simultaneous level of {1 - design.alpha:.0%} within a table (Bonferroni). The p values "
        "are corrected by Holm's method over all tests of the table.\n",
        "Seconds are [process seconds](glossary.md#process-seconds). Two runs were executed at a time, "
        "and the machine sometimes had a light additional load. No test uses the seconds.\n",
        "### Tests on one workload\n",
        f"The tables of one workload use Student's t test on {seeds} pairs of log losses. The ratio is the geometric "
        "mean of the ratios of the pairs. The p values assume that the differences of the log losses are nearly "
        f"normal. A test without this assumption cannot be significant with {seeds} pairs. A run that broke has no "
        "loss. If only one run of a pair has a loss, the two arms are not tested. If neither has one, the ratio of the "
        "pair is 1.\n",
        "### Tests on both workloads together\n",
        "The tables *Both workloads together* use the exact sign-flip test on all pairs. The ratio is the "
        "Hodges–Lehmann estimate. A pair in which exactly one run missed counts as the largest difference. Its ratio "
        "is `inf` if the run of the compared arm missed, and 0 if the run of the first arm missed. In comparisons of "
        "losses, a run that broke counts as a miss. The estimate and the bounds of the interval can therefore also be "
        "`inf` or 0.\n",
        "The sign-flip test shows whether an arm is better on both workloads together. If an arm is better on one "
        "workload and worse on the other, the differences of the two workloads partly cancel in the test.\n",
        "### Rules that were made stricter\n",
        "Four rules were made stricter after the runs on `resnet-digits`, but before the runs of `lm-tiny` on new "
        "seeds:\n",
        "- An arm with a run that broke is not tested by Student's t test against an arm whose run with the same seed "
        "did not break.\n"
        "- Pairs in which both arms missed are not evidence that the two arms are equal.\n"
        f"- If the whole interval shows a difference below {design.min_effect:.0%}, the difference does not support "
        "the claim that an arm is better.\n"
        "- In the tables *Both workloads together*, the correction covers the tests of both measures.\n",
    ]
