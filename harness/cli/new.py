"""`bench new`: make a package for a submission or a workload."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from harness.authoring.scaffolding import Kind, Scaffold, read_source_file, write_scaffold
from harness.cli.commands import examples
from harness.cli.output import print_json, print_text
from harness.errors import EXIT_OK, UsageError


@click.group("new", epilog=examples("bench new submission my-method"))
def new() -> None:
    """Make a package for a submission or a workload.

    The package is complete: it can be installed, tested, checked and run. Nothing is overwritten.
    """


def _add_options(command: Callable[..., int]) -> Callable[..., int]:
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--file", "single_file", is_flag=True, help="Write a single file instead of a package."),
        click.option(
            "--to",
            "folder",
            type=click.Path(path_type=Path),
            default=".",
            metavar="DIR",
            help="Folder in which the package or file is made.",
        ),
        click.argument("name"),
    ):
        command = decorate(command)
    return command


@new.command(
    "submission",
    epilog=examples(
        "bench new submission my-method",
        "bench new submission my-method --from my_method.py",
        "bench new submission my-method --file",
    ),
)
@_add_options
@click.option("--from", "source", metavar="FILE[:NAME]", help="Make a package from the submission in this file.")
def new_submission(source: str | None, **options: Any) -> int:
    """Make a package for a submission, a training algorithm.

    The package bench-NAME contains the code of FILE. Without --from, it contains a recipe; replace its optimizer and
    schedule by your own.
    """
    return _write("submission", source=source, **options)


@new.command("workload", epilog=examples("bench new workload my-task"))
@_add_options
def new_workload(**options: Any) -> int:
    """Make a package for a workload: a model, data and a target.

    The package bench-NAME contains a small network on points in the plane. Replace the network and the data by your
    own.
    """
    return _write("workload", **options)


def _write(kind: Kind, name: str, folder: Path, single_file: bool, as_json: bool, source: str | None = None) -> int:
    if source is not None and single_file:
        raise UsageError("--from and --file exclude each other", fix="leave out --file")
    scaffold = write_scaffold(kind, name, folder, single_file, read_source_file(source) if source else None)
    commands = _next_commands(kind, scaffold, single_file)
    if as_json:
        print_json({"kind": kind, "path": str(scaffold.path), "files": scaffold.files, "next": commands})
    else:
        files = [f"wrote {scaffold.path}", *(f"  {file}" for file in scaffold.files if not single_file)]
        print_text("\n".join([*files, "next", *(f"  {command}" for command in commands)]))
    return EXIT_OK


def _next_commands(kind: Kind, scaffold: Scaffold, single_file: bool) -> list[str]:
    """Return the commands with which the user installs, tests, checks and runs the new package or file."""
    path = shlex.quote(str(scaffold.path))
    name = scaffold.path.name.removeprefix("bench-")
    if single_file:
        name = path if scaffold.path.is_absolute() else f"./{path}"
    run = f"bench run -s {name} -w WORKLOAD" if kind == "submission" else f"bench run -s SUBMISSION -w {name}"
    install = [] if single_file else [f"pip install -e {path}[test]", f"pytest {path}"]
    return [*install, f"bench check {name}", run]
