"""Write the prose and the summary of docs/comparison.md; `tables.py` makes its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from harness.planning.estimate import STARTUP_S
from studies.methods.claims import VERDICTS, JudgedClaim, describe_claim, judge_claims, judge_each_workload
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
    """Return the page as Markdown. It names the stages that are not finished."""
    design = results.design
    if not results.figures:
        return HEAD + "There are no runs.\n"
    sections = [HEAD + _cost(results.figures), *_unfinished(results), _summary(results), *_method(design)]
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
        f"There are {len(figures)} runs, of which {broken} broke. They took {spent:.1f} core-hours of training and "
        f"evaluation, and about {starting:.1f} core-hours to start processes. Hardware: {'; '.join(machines)}.\n"
    )


def _unfinished(results: Results) -> list[str]:
    """Return a paragraph about the stages that are not finished; empty if all are."""
    stages = []
    for stage in results.design.stages:
        counts = [min(len(results.fresh_runs(stage, arm, m)) for m in stage.measures) for arm in stage.arms]
        if behind := sum(count < stage.seeds for count in counts):
            stages.append(f"{behind} of {len(stage.arms)} arms on {stage.title}")
    if not stages:
        return []
    return [f"**Not finished**: {'; '.join(stages)}. `python -m studies.methods --plan` lists the missing runs.\n"]


def _summary(results: Results) -> str:
    """Return the verdicts on the papers' claims, and the arms that differ from the first arm of their family."""
    design = results.design
    lines = [f"- {verdict}." for verdict in _list_verdicts(judge_claims(results), design)]
    for stage in design.full_stages:
        of_stage = [judged for judged in judge_each_workload(results) if judged.stages == (stage,)]
        decided = [judged for judged in of_stage if judged.verdict.startswith(("holds", "fails"))]
        rest = Counter(judged.verdict for judged in of_stage if judged not in decided)
        counted = [f"{verdict.capitalize()}, {n}" for verdict, n in rest.items()]
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
            lines.append(f"- Loss on {stage.title} against `{arms[0]}`: {'; '.join(listed) or 'no arm differs'}.")
    head = (
        f"Before the first run, {len(design.claims)} claims of papers were chosen, to be tested on both workloads "
        "together or at the small budget. The tests on one workload *alone* are post hoc: they were added after its "
        "runs. The last lines list the arms whose loss differs significantly from that of the first arm of their table."
    )
    return "\n".join(["## Summary\n", head + "\n", *lines, ""])


def _list_verdicts(judged_claims: Iterable[JudgedClaim], design: Design) -> list[str]:
    """Return a text such as `**Holds**, 2: …; …` for every verdict with claims, with details in brackets."""
    listed: dict[str, list[str]] = {verdict: [] for verdict in VERDICTS}
    for judged in judged_claims:
        verdict, _, detail = judged.verdict.partition(": ")
        small = design.small_stage.title if judged.claim.small else ""
        notes = "".join(f" ({note})" for note in (small, detail) if note)
        listed[verdict].append(describe_claim(judged.claim, design) + notes)
    return [
        f"**{verdict.capitalize()}**, {len(claims)}: {'; '.join(claims)}"
        for verdict, claims in listed.items()
        if claims
    ]


def _method(design: Design) -> list[str]:
    trials, seeds = design.ruleset.trials, design.ruleset.studies
    return [
        "## Method\n",
        "An arm is a preset with default hyperparameters, except its learning rate and its `horizon_fraction`. "
        f"{trials} settings of these two were run on one tuning seed, and the best setting by each measure on {seeds} "
        "fresh seeds, which are the same for all arms. The measure *loss* is the score metric at the end of the "
        "budget. The measure *examples* is the number of examples drawn at the first evaluation that meets the target. "
        "Each measure is compared at its own best setting, and the tables show both settings (learning rate, horizon "
        "fraction). A ratio is the arm's value divided by that of the first arm of its table; below 1 is better. "
        f"Intervals have a simultaneous level of {1 - design.alpha:.0%} within a table (Bonferroni), and p is "
        "corrected by Holm over all tests of the table. Seconds are processor seconds. Two runs ran at once, sometimes "
        "with other light load; no test uses the seconds.\n",
        f"The tables of one workload use Student's t on {seeds} pairs of log losses. Their p values assume that these "
        f"are nearly normal, since no test without this assumption can be significant with {seeds} pairs. The tables "
        "of both workloads use the exact sign-flip test on all pairs, with a miss as the worst rank: a ratio `inf` is "
        "a miss of the arm, and 0 a miss of the first arm. This test shows whether an arm is better on both workloads. "
        "If the workloads disagree, it is not significant with any number of seeds.\n",
        "Four rules were made stricter after the runs on `resnet-digits`, but before the runs of `lm-tiny` on fresh "
        "seeds. If a run of an arm broke, the arm is not tested by its other seeds. Pairs in which both arms missed "
        f"are not evidence that two arms are equal. Differences below {design.min_effect:.0%} support no claim. The "
        "tables of both workloads are corrected over both measures.\n",
    ]
