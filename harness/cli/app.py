"""The group of all commands. The module of a command is imported when the command is called."""

from __future__ import annotations

import importlib
import os

import click
from click.shell_completion import CompletionItem

from harness import __version__
from harness.cli import config
from harness.cli.commands import examples
from harness.cli.shown_errors import JSON_ERRORS_OPTION, JSON_ERRORS_VARIABLE
from harness.errors import StoreError, UsageError, unknown_name_error

#: Command -> (module:attribute, summary). `bench --help` prints the summaries without importing the commands' modules.
COMMANDS = {
    "run": ("harness.cli.run:run", "Run submissions on workloads."),
    "runs": ("harness.cli.runs:runs", "List runs: metrics, settings, notes."),
    "note": ("harness.cli.runs:note_command", "Write a note about a run."),
    "leaderboard": ("harness.cli.leaderboard:leaderboard", "Rank submissions by their results."),
    "best": ("harness.cli.best:best", "Print the best configuration on a workload."),
    "compare": ("harness.cli.compare:compare", "Compare two submissions, seed by seed."),
    "gate": (
        "harness.cli.gate:gate",
        "Test whether submission A is better than B, with as few paired runs as possible.",
    ),
    "ablate": ("harness.cli.ablate:ablate", "Remove a submission's additions one at a time, and gate each removal."),
    "tune": ("harness.cli.tune:tune", "Search a submission's hyperparameters."),
    "cost": ("harness.cli.cost:cost", "Measure the cost per example of submissions, in short alternating runs."),
    "power": ("harness.cli.power:power", "Print how many pairs of submissions workloads separate per core-hour."),
    "diff": ("harness.cli.compare:diff", "Compare two runs: configuration, environment, curves."),
    "score": ("harness.cli.score:score", "Score AlgoPerf's published logs."),
    "calibrate": ("harness.cli.calibrate:command", "Compute a workload's targets from tuned references."),
    "report": ("harness.cli.report:report", "Write one HTML file with tables and curves."),
    "verify": ("harness.cli.verify:verify", "Check records without running their submissions."),
    "rerun": ("harness.cli.rerun:rerun", "Repeat a run, or test a submission on fresh seeds."),
    "publish": ("harness.cli.publish:command", "Check runs and add them to the published records."),
    "results": ("harness.cli.results:results", "Pack, unpack, verify, mark and export records."),
    "new": ("harness.cli.new:new", "Make a package for a submission or a workload."),
    "check": ("harness.cli.check:check", "Check a submission or workload: declarations, signatures, short runs."),
    "list": ("harness.cli.list:command", "List workloads, submissions and parts, or search them."),
    "show": ("harness.cli.show:show", "Describe a workload, submission, part or run; draw its curve."),
    "rulesets": ("harness.cli.rulesets:command", "List the rulesets."),
    "data": ("harness.cli.data:data", "List, fetch, import and verify datasets."),
    "hardware": ("harness.cli.hardware:command", "Print this machine's hardware classes and all declared classes."),
    "plugins": ("harness.cli.plugins:command", "List plugins and the errors of broken plugins."),
    "completion": ("harness.cli.completion:command", "Print the script that enables completion in a shell."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise unknown_name_error("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # The method of the base class would import every command.
        names = [
            CompletionItem(name, help=summary) for name, (_, summary) in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("bench run --submission wsd,adamw-cosine --workload lm-tiny", "bench leaderboard"),
)
@click.version_option(__version__, prog_name="algorace")
@click.option(
    "-p",
    "blocked",
    multiple=True,
    metavar="no:NAME",
    help="Do not load the plugins of this name. NAME is a distribution, an entry point or DISTRIBUTION:ENTRY_POINT.",
)
@click.option(
    JSON_ERRORS_OPTION,
    is_flag=True,
    expose_value=False,
    help=f"Print an error as one line of JSON to stderr.  [env var: {JSON_ERRORS_VARIABLE}]",
)
@click.pass_context
def app(context: click.Context, blocked: tuple[str, ...]) -> None:
    """A benchmark of training algorithms."""
    _check_working_folder()
    for name in blocked:
        if not name.startswith("no:"):
            raise UsageError(f"-p {name} must begin with no:", fix=f"write -p no:{name} to block the plugin {name}")
    context.obj = [name.removeprefix("no:") for name in blocked]
    context.default_map = config.read_default_map()


def _check_working_folder() -> None:
    """Check that the current folder exists. In a deleted folder, `runs` and `bench.yaml` would seem to be missing.

    Raises:
        StoreError: the current folder was deleted, or this process may not access it.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise StoreError(f"the current folder cannot be used: {error.strerror}", fix="cd to another folder") from None
