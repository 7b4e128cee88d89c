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

Made by `python -m studies.methods --table`; the design, which was written before any run, is
[design.yaml](../studies/methods/design.yaml), and the figures of every run stand in
[measured.json](../studies/methods/measured.json).

"""


def page(results: Results) -> str:
    """Return the page as Markdown. It names the stages that are not finished."""
    design = results.design
    if not results.figures:
        return HEAD + "No run has been made yet.\n"
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
        f"{len(figures)} runs, {broken} of them broken; {spent:.1f} core-hours of training and evaluation, and about "
        f"{starting:.1f} of starting processes; {'; '.join(machines)}.\n"
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
    return [f"**Not finished**: {'; '.join(stages)}. `python -m studies.methods --plan` says what is left.\n"]


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
        f"{len(design.claims)} claims of papers were fixed before any run, to be tried on both workloads together or "
        "at the small budget; what either workload shows *alone* was asked when its runs had been seen. Then come the "
        "arms whose loss differs from that of the first of their table."
    )
    return "\n".join(["## In short\n", head + "\n", *lines, ""])


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
    sizes = f"{trials} settings of the two on one tuning seed, the best by each measure on {seeds} fresh"
    return [
        "## How\n",
        f"Each arm is a preset at its defaults but for its learning rate and its `horizon_fraction`: {sizes} seeds "
        "that all arms share. *Loss* is the score metric at the end of the budget, *examples* those drawn at the "
        "first evaluation at the target; each is compared at the setting that was best by it, and the tables give "
        "both settings (learning rate, share of the horizon). Ratios are those of the arm to the first of its "
        f"table, below 1 is better. Intervals have {1 - design.alpha:.0%} together within a table (Bonferroni), and "
        "p is corrected by Holm over all tests of it. Seconds are processor seconds, two runs at once and lighter work "
        "beside them at times; no test uses them.\n",
        f"Tables of one workload use Student's t on {seeds} pairs of log losses: their p rests on these being "
        f"near to normal, since no test without that assumption can find anything in {seeds} pairs. The table "
        "over both workloads uses the exact sign-flip test on all pairs, with a miss as the worst rank (`inf` in its "
        "ratios is a miss of the arm, 0 one of the first). It asks whether one arm is ahead on both: where the "
        "workloads disagree it finds nothing, and more seeds would not change that.\n",
        "Four rules were made stricter when the runs on `resnet-digits` had been seen, and those of `lm-tiny` on fresh "
        "seeds had not: where a run broke, its arm is not tested by its other seeds; pairs in which both missed are no "
        f"evidence that two arms are alike; differences under {design.min_effect:.0%} support no claim; and the table "
        "over both workloads is corrected over both of its measures.\n",
    ]
