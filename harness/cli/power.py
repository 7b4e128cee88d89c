"""`bench power`: print how many pairs of submissions the workloads separate per core-hour."""

from __future__ import annotations

import click

from harness.cli.commands import examples
from harness.cli.output import note, print_json, print_text
from harness.cli.resolve import NameType, open_registry
from harness.planning.resolve import resolve_workload, split_names
from harness.plugins.package_files import published_power
from harness.report.power import power_json, power_text


@click.command("power", epilog=examples("bench power", "bench power lm-tiny --json"))
@click.argument("workloads", nargs=-1, type=NameType("workload"), metavar="[WORKLOAD…]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def power(blocked_plugins: list[str], workloads: tuple[str, ...], as_json: bool) -> None:
    """Print how many pairs of submissions the workloads separate per core-hour.

    Runs separate two submissions if a test on these runs finds a difference. The numbers are published with the
    workloads, so no trial is run. If no workload is named, all workloads with published numbers are printed.
    docs/power.md explains the columns.
    """
    registry = open_registry(blocked_plugins)
    names = split_names(workloads)
    entries = [resolve_workload(name, registry) for name in names] if names else list(registry.workloads())
    rows = published_power(entries)
    for entry in entries if names else ():
        if not any(row.workload == entry.facts.id for row in rows):
            note(f"{entry.facts.id} has no published power")
    if as_json:
        print_json(power_json(rows))
    elif rows:
        print_text(power_text(rows))
    elif not names:
        note("no installed workload has published power")
