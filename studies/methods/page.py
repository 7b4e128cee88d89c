"""Write the prose and the summary of docs/comparison.md. The tables come from `tables.py`."""

from __future__ import annotations

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

`python -m studies.methods --table` generates this page. The design, which was fixed before the first run, is in
[design.yaml](../studies/methods/design.yaml). The figures of all runs are in
[measured.json](../studies/methods/measured.json).

"""


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
    return "\n".join(sections).rstrip() + "\n"


def _cost(figures: Sequence[RunFigures]) -> str:
    machines = sorted({f"{run.hardware}, torch {run.torch}" for run in figures})
    broken = sum(not run.is_complete for run in figures)
    spent, starting = sum(run.spent for run in figures) / 3600, len(figures) * STARTUP_S / 3600
    return (
        f"The study has {len(figures)} runs. The number of runs that broke (ended before the end of their budget) is "
        f"{broken}. Training and evaluation took {spent:.1f} core-hours, and starting the processes took about "
        f"{starting:.1f} core-hours. Hardware and version: {'; '.join(machines)}.\n"
    )


def _unfinished(results: Results) -> list[str]:
    """Return a list with one paragraph about the unfinished stages, or an empty list if all stages are finished."""
    stages = []
    for stage in results.design.stages:
        counts = [min(len(results.fresh_runs(stage, arm, m)) for m in stage.measures) for arm in stage.arms]
        if behind := sum(count < stage.seeds for count in counts):
            stages.append(f"{behind} of {len(stage.arms)} arms on {stage.title}")
    if not stages:
        return []
    return [f"**Not finished**: {'; '.join(stages)}. `python -m studies.methods --plan` lists the missing runs.\n"]


def _terms(design: Design) -> str:
    workloads = " and ".join(f"`{stage.workload}`" for stage in design.full_stages)
    seeds = design.ruleset.studies
    return "\n".join(
        [
            "## Terms\n",
            "- An *arm* is a submission that this study compares. It is a preset with a tuned learning rate. If its "
            "schedule uses the horizon, its `horizon_fraction` is tuned too.",
            "- The *first arm* of a table is the arm in its first row. The table compares every other arm with it.",
            "- The study has two *measures*. The *loss* is the held-out cross-entropy on the split `score` at the end "
            "of the budget. The *examples to the target* are the number of examples drawn at the first evaluation "
            "that meets the target.",
            "- A run *hits* if an evaluation meets the target. Otherwise the run *misses*.",
            f"- The *full budget* is the budget of the workload ({workloads}). The *small budget* is "
            f"{design.small_stage.budget:,} examples on `{design.small_stage.workload}`, a quarter of its full budget.",
            f"- *Fresh seeds* are the {seeds} seeds that were not used for tuning. All arms have the same fresh seeds, "
            "so the runs of two arms form pairs.",
            "",
        ]
    )


def _summary(results: Results) -> str:
    """Return the verdicts on the papers' claims, and the arms that differ from the first arm of their family."""
    design = results.design
    lines = [f"- {verdict}." for verdict in _list_verdicts(judge_claims(results), design)]
    for stage in design.full_stages:
        of_stage = [judged for judged in judge_each_workload(results) if judged.stages == (stage,)]
        decided = [judged for judged in of_stage if judged.verdict.startswith(("holds", "fails"))]
        rest = Counter(judged.verdict for judged in of_stage if judged not in decided)
        counted = [f"{verdict.capitalize()}: {_count_claims(n)}" for verdict, n in rest.items()]
        lines.append(f"- On {stage.workload} alone: {'. '.join([*_list_verdicts(decided, design), *counted])}.")
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
        f"Before the first run, {len(design.claims)} claims were chosen from papers. Each claim is tested either on "
        "both workloads together or at the small budget. The verdicts are defined in the "
        "[last section](#claims-from-papers). The tests on one workload *alone* are post hoc, because they were added "
        "after the runs of that workload. The last lines list, for every table, the arms whose loss differs "
        "significantly from the loss of the first arm."
    )
    return "\n".join(["## Summary\n", head + "\n", *lines, ""])


def _list_verdicts(judged_claims: Iterable[JudgedClaim], design: Design) -> list[str]:
    """Return a text such as `**Holds** (2 claims): …; …` for every verdict with claims, with details in brackets."""
    listed: dict[str, list[str]] = {verdict: [] for verdict in VERDICTS}
    for judged in judged_claims:
        verdict, _, detail = judged.verdict.partition(": ")
        # A list of the verdicts on one workload already names the workload.
        place = (
            "" if judged.stages in [(stage,) for stage in design.full_stages] else describe_stages(judged.claim, design)
        )
        notes = "".join(f" ({note})" for note in (place, detail) if note)
        listed[verdict].append(describe_claim(judged.claim, design) + notes)
    return [
        f"**{verdict.capitalize()}** ({_count_claims(len(claims))}): {'; '.join(claims)}"
        for verdict, claims in listed.items()
        if claims
    ]


def _count_claims(n: int) -> str:
    return "1 claim" if n == 1 else f"{n} claims"


def _method(design: Design) -> list[str]:
    trials, seeds = design.ruleset.trials, design.ruleset.studies
    return [
        "## Method\n",
        "All hyperparameters of an arm have their default values, except the learning rate and the "
        f"`horizon_fraction`. {trials} settings of these two were tried on one tuning seed. The best setting by the "
        f"loss and the best setting by the examples to the target then ran on {seeds} fresh seeds. Each measure is "
        "compared at its own best setting. The columns *setting* show the two settings: the learning rate and, if the "
        "arm has one, the `horizon_fraction`.\n",
        f"The losses in the tables are means over the {seeds} fresh seeds. The examples and the seconds to the target "
        f"are medians over the {seeds} fresh seeds, in which a miss counts as infinite. *Missed* therefore means that "
        f"fewer than {seeds // 2 + 1} of the {seeds} seeds hit. A *ratio* is the value of the arm divided by the value "
        "of the first arm of the table. A ratio below 1 is better. In the tables of one workload the ratio is the "
        "geometric mean of the ratios of the pairs. In the tables *Both workloads together* it is the Hodges–Lehmann "
        "estimate. The column *verdict* contains *better* or *worse* if p is at most "
        f"{design.alpha:g}, and otherwise a dash.\n",
        f"The intervals in brackets have a simultaneous level of {1 - design.alpha:.0%} within a table (Bonferroni). "
        "The p values are corrected by Holm's method over all tests of the table. Seconds are processor seconds. Two "
        "runs were executed at a time, and the machine sometimes had a light additional load. No test uses the "
        "seconds.\n",
        f"The tables of one workload use Student's t test on {seeds} pairs of log losses. The p values assume that the "
        "differences of the log losses are nearly normal. A test without this assumption cannot be significant with "
        f"{seeds} pairs. The tables *Both workloads together* use the exact sign-flip test on all pairs. In this test, "
        "a pair with one miss has the worst rank. Its ratio is `inf` if the compared arm missed, and 0 if the first "
        "arm missed. An estimate or a bound of an interval can therefore also be `inf` or 0. The sign-flip test shows "
        "whether an arm is better on both workloads. If the arm is better on one workload and worse on the other, the "
        "test is not significant with any number of seeds.\n",
        "Four rules were made stricter after the runs on `resnet-digits`, but before the runs of `lm-tiny` on fresh "
        "seeds:\n",
        "- If a run of an arm broke, the arm is not tested on its other seeds either.\n"
        "- Pairs in which both arms missed are not evidence that the two arms are equal.\n"
        f"- A difference that is certainly below {design.min_effect:.0%} does not support the claim that an arm is "
        "better.\n"
        "- The tables *Both workloads together* are corrected over the tests of both measures.\n",
    ]
