"""Renders the result of `bench publish` as text and as JSON, and the commands for a pull request."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.publishing.session import GroupReport, PublishReport
from harness.storage.layout import LEADERBOARD

#: Maximum number of missing trials, runs or failed checks that a text lists.
_MAX_LISTED = 5


def report_text(report: PublishReport, dry_run: bool = False) -> str:
    """Return which records were published, the attempts behind them, and why groups were refused."""
    lines = [line for group in report.groups for line in _group_lines(group)]
    return "\n".join([*lines, *report.problems, _summary(report, dry_run)])


def _summary(report: PublishReport, dry_run: bool) -> str:
    if report.is_refused:
        refused = sum(group.is_refused for group in report.groups)
        return f"nothing is published: {refused} of {len(report.groups)} group(s) refused"
    if not report.new_records:
        return f"nothing to publish: all records are in {report.results}"
    if dry_run:
        return f"would publish {report.new_records:,} record(s) into {report.results}"
    return f"published {report.new_records:,} record(s) into {report.results}; wrote {report.results / LEADERBOARD}"


def _group_lines(report: GroupReport) -> list[str]:
    group, attempts = report.group, report.attempts
    lines = [f"{group.key.title}: {len(group.runs)} record(s), {len(report.new)} new, for {group.subfolder}"]
    if (nonce := group.spec.nonce) is None or nonce.source != "beacon":
        seeds = f"root seed {group.spec.root_seed}" if nonce is None else f"{nonce.source} nonce"
        lines.append(f"  seeds: {seeds}; use bench run --nonce beacon to prove that nobody chose them")
    lines += [f"  attempts: {trial}" for trial in attempts.repeated]
    if attempts.unpublished:
        names = _shorten(attempts.unpublished)
        lines.append(f"  attempts: {len(attempts.unpublished)} further run(s) of this source on this workload: {names}")
    if attempts.other_sources:
        lines.append(f"  attempts: {attempts.other_sources} other source(s) of the submission ran on this workload")
    unchecked = Counter(
        (finding.check, finding.detail)
        for record in report.findings
        for finding in record.findings
        if finding.outcome == "unchecked"
    )
    lines += [f"  not checked: {check} of {n} record(s): {why}" for (check, why), n in sorted(unchecked.items())]
    lines += [f"  refused: {reason}" for reason in list_refusals(report)]
    if report.gap is None:
        return lines
    if report.gap.repeated:
        lines.append(
            f"  {report.gap.repeated} published trial(s) are not in the runs folder. The next command repeats them, "
            "and their new records will be refused. First save each published record as RUN_ID/record.json in the runs "
            "folder; bench results unpack writes the records of a copy of the published folder as files"
        )
    return [*lines, f"  to run the missing trials: {report.gap.command}"]


def list_refusals(report: GroupReport) -> list[str]:
    """Return the reasons why a group cannot be published, one line each."""
    reasons = list(report.problems)
    if gap := report.gap:
        missing = _shorten([str(index) for index in gap.missing], "; ")
        reasons.append(f"{len(gap.missing)} of {gap.expected} trials are missing: {missing}")
    failed = [
        f"{record.run_id or record.path}: {finding.check}: {finding.detail}"
        for record in report.findings
        for finding in record.findings
        if finding.outcome == "failed"
    ]
    if len(failed) > _MAX_LISTED:
        more = f"and {len(failed) - _MAX_LISTED} more failed checks; bench verify lists them"
        return [*reasons, *failed[:_MAX_LISTED], more]
    return reasons + failed


def _shorten(names: Sequence[str], separator: str = ", ") -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return separator.join(names[:_MAX_LISTED]) + more


def report_json(report: PublishReport, commands: Sequence[str] = ()) -> dict[str, Any]:
    """Return the result as plain data.

    Args:
        report: the result.
        commands: the commands for a pull request.
    """
    return {
        "results": str(report.results),
        "written": report.written,
        "refused": report.is_refused,
        "new_records": report.new_records,
        "groups": [_group_json(group) for group in report.groups],
        "commands": list(commands),
        "problems": list(report.problems),
    }


def _group_json(report: GroupReport) -> dict[str, Any]:
    key, attempts = report.group.key, report.attempts
    return {
        "submission": key.submission,
        "workload": key.workload,
        "ruleset": key.ruleset,
        "hardware": key.hardware,
        "nonce": report.group.spec.nonce.source if report.group.spec.nonce else None,
        "folder": str(report.group.subfolder),
        "records": [run.record.run_id for run in report.group.runs],
        "new": [run.record.run_id for run in report.new],
        "missing": [index._asdict() for index in report.gap.missing] if report.gap else [],
        "command": report.gap.command if report.gap else None,
        "refusals": list_refusals(report),
        "findings": report.findings,
        "repeated": {
            trial.run_id: {
                "attempts": trial.attempts,
                "restarts": trial.restarts,
                "outcome": trial.outcome,
                "earlier": list(trial.earlier),
            }
            for trial in attempts.repeated
        },
        "unpublished": list(attempts.unpublished),
        "other_sources": attempts.other_sources,
        "ledger_hash": attempts.ledger_hash or None,
    }


def pull_request_commands(report: PublishReport, checkout: Path) -> list[str]:
    """Return the git commands that put the new records on a branch of their own, for a pull request.

    Args:
        report: the result.
        checkout: the checkout of the repository of results.
    """
    names = sorted({group.group.spec.submission.name for group in report.groups if group.new})
    workloads = sorted({group.group.spec.workload.facts.name for group in report.groups if group.new})
    branch = re.sub(r"[^A-Za-z0-9.-]+", "-", f"publish-{'-'.join(names)}")[:80].strip("-.")
    git = f"git -C {shlex.quote(str(checkout))}"
    message = f"Add results of {', '.join(names)} on {', '.join(workloads)}"
    return [
        f"{git} switch -c {branch}-{datetime.now(UTC):%Y%m%d-%H%M%S}",
        f"{git} add {shlex.quote(str(report.results.relative_to(checkout)))}",
        f"{git} commit -m {shlex.quote(message)}",
        f"{git} push -u origin HEAD",
    ]
