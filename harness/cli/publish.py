"""`bench publish`: check runs, and add their records to the published records."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.commands import examples
from harness.cli.output import note, print_json, print_text
from harness.cli.record_folders import (
    folder_options,
    installed_workloads,
    references,
    usable_workloads,
    workload_file_option,
)
from harness.cli.resolve import open_registry
from harness.contract.run import RunSpec
from harness.errors import EXIT_FAILED, EXIT_OK, UsageError
from harness.execution.judging import judge_weights
from harness.planning.nonces import public_beacon
from harness.plugins.package_files import published_reference_times
from harness.publishing.rendering import pull_request_commands, report_json, report_text
from harness.publishing.session import PublishOptions, publish
from harness.verification.checks import VerificationOptions


@click.command(
    "publish",
    epilog=examples("bench publish my-optimizer --dry-run", "bench publish my-optimizer --to ../algorace-results"),
)
@click.argument("names", nargs=-1, required=True, metavar="RUN...")
@folder_options
@workload_file_option
@click.option(
    "--to", "checkout", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
    help="Publish into DIR/results and print the commands for a pull request. DIR is a checkout of a repository of "
    "results.",
)  # fmt: skip
@click.option("--no-weights", is_flag=True, help="Compare only the hashes of saved weights; do not evaluate them.")
@click.option("--online", is_flag=True, help="Read the round of each nonce from the beacon again and compare it.")
@click.option("--dry-run", is_flag=True, help="Check everything without writing anything.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    blocked_plugins: list[str],
    names: tuple[str, ...],
    workload_files: tuple[str, ...],
    runs: Path,
    results: Path,
    checkout: Path | None,
    no_weights: bool,
    online: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Check runs, and add their records to the published records.

    RUN is the path of a run, a run ID or its first characters, the name of a submission, or a folder of runs. If
    one run is named, all trials of its submission on its workload under its ruleset are published. The command refuses
    incomplete studies, and prints how to complete them. It also refuses records that fail a check of bench verify.

    The folder of published records is replaced in one step. Its LEADERBOARD.md is written again. docs/publishing.md
    describes publishing from start to end.
    """
    if checkout is not None:
        if not (checkout / ".git").exists():
            fix = "clone the repository of results first, or publish into a plain folder with --results"
            raise UsageError(f"--to {checkout} is not a checkout of a git repository", fix=fix)
        results = checkout / "results"
    registry = open_registry(blocked_plugins)
    points = {entry.name: len(entry.points) for entry in registry.submissions() if entry.points}

    def listed_settings(spec: RunSpec) -> int | None:
        return points.get(spec.submission.name)

    verification = VerificationOptions(
        judge=None if no_weights else judge_weights,
        weights_in=(runs,),
        beacon=public_beacon() if online else None,
        redrawing=registry.redrawing,
        workloads=usable_workloads(registry, workload_files),
        registry=registry,
    )
    report = publish(
        names,
        PublishOptions(
            runs=runs,
            results=results,
            references=references(registry, None),
            installed=installed_workloads(registry),
            reference_times=published_reference_times(registry.workloads()),
            verification=verification,
            listed_settings=listed_settings,
            dry_run=dry_run,
        ),
    )
    commands = pull_request_commands(report, checkout) if checkout is not None and report.written else []
    if as_json:
        print_json(report_json(report, commands))
    else:
        print_text(report_text(report, dry_run))
        for line in commands:
            print_text(line)
        if commands:
            note("nothing was sent; type these commands, then open a pull request for the branch")
    return EXIT_FAILED if report.is_refused else EXIT_OK
