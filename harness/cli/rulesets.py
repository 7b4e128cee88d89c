"""`bench rulesets`: list the rulesets under which trials can run."""

from __future__ import annotations

import click

from harness.cli.commands import examples
from harness.cli.output import print_json, print_text
from harness.planning import rulesets
from harness.report import text


@click.command("rulesets", epilog=examples("bench rulesets --json"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the rulesets.

    The columns of the table:

    \b
    - `trials`: number of settings per study.
    - `studies`: number of scored studies; 3+5 means 3 tuning and 5 scored studies.
    - `budget`: factor by which the workload's budget is multiplied.
    """
    all_rulesets = rulesets.rulesets().values()
    if as_json:
        print_json({"rulesets": list(all_rulesets)})
        return
    table = [["ruleset", "trials", "studies", "budget", "ranked", ""]]
    for ruleset in all_rulesets:
        studies = f"{ruleset.tuning_studies}+{ruleset.studies}" if ruleset.tuning_studies else str(ruleset.studies)
        table.append(
            [
                ruleset.id,
                str(ruleset.trials),
                studies,
                f"{ruleset.budget_factor:g}×",
                "yes" if ruleset.ranked else "no",
                ruleset.summary,
            ]
        )
    print_text(text.columns(table))
