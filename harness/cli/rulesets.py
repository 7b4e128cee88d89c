"""`bench rulesets`: the rules there are."""

from __future__ import annotations

import click

from harness.cli.output import SCHEMA, json_out
from harness.planning import rulesets
from harness.report import text


@click.command("rulesets")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the rulesets."""
    known = rulesets.rulesets().values()
    if as_json:
        json_out({"schema": SCHEMA, "rulesets": list(known)})
        return
    rows = [["ruleset", "trials", "studies", "budget", "ranked", ""]]
    for one in known:
        studies = f"{one.tuning_studies}+{one.studies}" if one.tuning_studies else str(one.studies)
        ranked = "yes" if one.ranked else "no"
        rows.append(
            [f"{one.name}@{one.version}", str(one.trials), studies, f"{one.budget_factor:g}×", ranked, one.summary]
        )
    click.echo(text.columns(rows))
