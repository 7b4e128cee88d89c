"""`bench score`: scores of logs that others published."""

from __future__ import annotations

import math
from pathlib import Path

import click

from harness.cli.output import json_out
from harness.errors import UsageError
from harness.planning.resolve import split_names
from harness.report import text
from harness.report.values import skipped_lines
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
        json_out(result.to_json())
        return
    click.echo(_scores(result))
    click.echo("\nseconds to target (median over studies; – is a miss or has no logs)")
    click.echo(_times(result))
    click.echo("")
    lines = [str(one) for one in result.skipped] if all_skipped else skipped_lines(result.skipped)
    if result.anchored:
        lines += skipped_lines(result.anchored.left_out)
    click.echo("\n".join(lines))


def _scores(result: rules.AlgoPerfScores) -> str:
    rows = [["rank", "submission", "profile score", "exact", "by single studies", "anchored"]]
    for place, (name, profile) in enumerate(result.profiles.items(), 1):
        ranks = result.ties.ranks[name] if result.ties else (place, place)
        ends = result.ranges[name] if result.ranges and name in result.ranges else None
        rows.append(
            [
                str(ranks[0]) if ranks[0] == ranks[1] else f"{ranks[0]}–{ranks[1]}",
                name,
                f"{profile.score:.4f}",
                f"{profile.exact:.4f}",
                f"{ends[0]:.2f} – {ends[1]:.2f}" if ends else "",
                f"{result.anchored.scores[name]:.3f}" if result.anchored else "",
            ]
        )
    return text.columns(rows, right=frozenset({0, 2, 3, 4, 5}))


def _times(result: rules.AlgoPerfScores) -> str:
    """Workloads down, submissions across: their names are short beside those of fourteen workloads."""
    columns = list(result.time_to_target)
    rows = [["", *columns]]
    for workload in (*result.base, *result.held_out):
        row = [result.time_to_target[name].get(workload) for name in columns]
        rows.append([workload, *("–" if t is None or math.isinf(t) else f"{t:,.0f}" for t in row)])
    return text.columns(rows, right=frozenset(range(1, len(columns) + 1)))
