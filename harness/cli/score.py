"""`bench score`: score AlgoPerf's published logs."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.commands import examples
from harness.cli.output import print_json, print_text
from harness.errors import UsageError
from harness.planning.resolve import split_names
from harness.report import algoperf_tables
from harness.scoring.algoperf import rules
from harness.scoring.algoperf.logs import RULESETS, RulesetName


@click.command(epilog=examples("bench score --algoperf ./logs --ruleset external"))
@click.option(
    "--algoperf", "logs", type=click.Path(path_type=Path), metavar="LOGS_DIR", help="Folder of AlgoPerf's logs."
)
@click.option(
    "--ruleset", type=click.Choice(list(RULESETS)), default="external", show_default=True, help="AlgoPerf's ruleset.",
)  # fmt: skip
@click.option(
    "--targets", type=click.Path(path_type=Path),
    help="JSON file with the targets (default: the targets of AlgoPerf 0.5).",
)  # fmt: skip
@click.option(
    "--held-out", type=click.Path(path_type=Path),
    help="JSON file with a list of held-out variants, or `none` (default: the list that belongs to --targets).",
)  # fmt: skip
@click.option("--reference", help="Submission to which anchored scores are relative (default: `baseline`).")
@click.option(
    "--without", multiple=True,
    help="Comma-separated submissions to exclude. The profile score depends on which submissions are included.",
)  # fmt: skip
@click.option("--all-skipped", is_flag=True, help="Print everything that was skipped, one item per line.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def score(
    logs: Path | None, ruleset: RulesetName, targets: Path | None, held_out: Path | None,
    reference: str | None, without: tuple[str, ...], all_skipped: bool, as_json: bool,
) -> None:  # fmt: skip
    """Score AlgoPerf's logs by AlgoPerf's rules.

    LOGS_DIR contains <submission>/study_<k>/<workload>_<framework>/trial_<n>/eval_measurements.csv.
    """
    if logs is None:
        raise UsageError("no logs were given", fix="add --algoperf LOGS_DIR")
    excluded = split_names(without)
    result = rules.score_logs(
        logs, ruleset=ruleset, targets=targets, held_out=held_out, reference=reference, without=excluded
    )
    if as_json:
        print_json(result.to_json())
        return
    print_text(algoperf_tables.scores_text(result, all_skipped=all_skipped))
