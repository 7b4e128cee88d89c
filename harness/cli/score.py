"""`bench score`: scores of logs that others published."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.output import print_json
from harness.errors import UsageError
from harness.planning.resolve import split_names
from harness.report import algoperf_tables
from harness.scoring.algoperf import rules
from harness.scoring.algoperf.logs import RULESETS, RulesetName


@click.command()
@click.option("--algoperf", "logs", type=click.Path(path_type=Path), metavar="LOGS_DIR", help="AlgoPerf's logs.")
@click.option("--ruleset", type=click.Choice(list(RULESETS)), default="external", show_default=True)
@click.option("--targets", type=click.Path(path_type=Path), help="Targets as JSON (default: those of version 0.5).")
@click.option("--held-out", type=click.Path(path_type=Path), help="Held-out variants as a JSON list.")
@click.option("--reference", help="Submission that anchors the anchored scores (default: `baseline`).")
@click.option("--without", multiple=True, help="Leave submissions out (a,b): the profile score depends on the field.")
@click.option("--all-skipped", is_flag=True, help="Name everything that was skipped, one line each.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def score(
    logs: Path | None, ruleset: RulesetName, targets: Path | None, held_out: Path | None,
    reference: str | None, without: tuple[str, ...], all_skipped: bool, as_json: bool,
) -> None:  # fmt: skip
    """Score AlgoPerf's logs by AlgoPerf's own rules.

    LOGS_DIR holds <submission>/study_<k>/<workload>_<framework>/trial_<n>/eval_measurements.csv.
    """
    if logs is None:
        raise UsageError("nothing to score", fix="--algoperf LOGS_DIR")
    dropped = split_names(without)
    result = rules.score_logs(
        logs, ruleset=ruleset, targets=targets, held_out=held_out, reference=reference, without=dropped
    )
    if as_json:
        print_json(result.to_json())
        return
    click.echo(algoperf_tables.scores_text(result, all_skipped=all_skipped))
