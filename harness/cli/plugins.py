"""`bench plugins`: list the installed plugins, and the errors of broken plugins."""

from __future__ import annotations

import click

from harness.cli.commands import examples
from harness.cli.output import print_json, print_text
from harness.errors import EXIT_BROKEN, EXIT_OK
from harness.plugins.registry import load_registry
from harness.report import text


@click.command("plugins", epilog=examples("bench plugins --refresh"))
@click.option("--refresh", is_flag=True, help="Read every plugin again, including plugins that failed before.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(blocked_plugins: list[str], refresh: bool, as_json: bool) -> int:
    """List plugins and the errors of broken plugins."""
    registry = load_registry(block=blocked_plugins, refresh=refresh)
    if as_json:
        rows = [
            {
                "distribution": p.distribution,
                "version": p.version,
                "name": p.name,
                "module": p.module,
                "hooks": list(p.hooks),
                "error": p.error,
            }
            for p in registry.plugins
        ]
        print_json({"plugins": rows})
    else:
        table = [["distribution", "version", "plugin", "hooks"]]
        for p in registry.plugins:
            hooks = ", ".join(hook.removeprefix("bench_") for hook in p.hooks)
            table.append([p.distribution, p.version, p.name, f"BROKEN: {p.error}" if p.error else hooks])
        print_text(text.columns(table))
    return EXIT_BROKEN if any(p.error for p in registry.plugins) else EXIT_OK
