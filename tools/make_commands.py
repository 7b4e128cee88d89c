"""Write docs/commands.md: every command with its options, exit codes, environment variables and keys of `bench.yaml`.

usage: python -m tools.make_commands            (a test fails if the page is stale)
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from harness.cli import config
from harness.cli.app import app
from tools.markdown import table_lines

PAGE = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
#: Exit code → its meaning.
EXIT_CODES = {
    0: "success; for `bench gate`: A is better",
    1: "a failure: a check failed, data are missing, a file cannot be read or written, or a trial did not end as "
    "`reached`, `exhausted` or `pruned`; for `bench gate`: A is worse, equivalent or identical",
    2: "the request is invalid",
    3: "a plugin is broken, or an internal error occurred",
    4: "a gate is undecided",
    130: "the user interrupted the command",
}
#: Environment variable → its meaning.
VARIABLES = {
    "BENCH_BEACON": "address of the public randomness beacon for `--nonce beacon`",
    "BENCH_CACHE": "folder of caches; by default a folder in the platform's folder of caches",
    "BENCH_CHECKPOINT_SHARE": "maximum fraction of a run's wall time that checkpoints may take (default: 0.01)",
    "BENCH_DATA": "folder of datasets; by default a folder in the platform's folder of caches",
    "BENCH_DATA_SOURCE": "folder or address from which `bench data get` takes files instead of the published addresses",
    "BENCH_DEBUG": "any value: print the traceback of an internal error",
    "BENCH_DEVICE": "default of `--device`",
    "BENCH_EXECUTOR": "default of `--executor`",
    "BENCH_JOBS": "default of `--jobs`",
    "BENCH_JSON_ERRORS": "`1`: print errors as JSON, as `bench --json-errors` does",
    "BENCH_NONCE": "default of `--nonce`",
    "BENCH_PLUGINS": "comma-separated names of plugins: `no:NAME` blocks the plugin; `NAME` blocks all plugins except "
    "those named in this way",
    "BENCH_PLUGIN_TIMEOUT": "time limit in seconds for reading a plugin",
    "BENCH_RESULTS": "default of `--results`",
    "BENCH_RULESET": "default of `--ruleset`",
    "BENCH_RUNS": "default of `--runs`",
    "BENCH_SANDBOX": "`none`: run workers without a sandbox",
    "BENCH_SEED": "default of `--seed`",
    "BENCH_STUDIES": "default of `--studies`",
    "BENCH_THREADS": "default of `--threads`",
}
HEAD = """# Commands

`python -m tools.make_commands` generates this page from the definitions of the commands. Do not edit it.

`bench COMMAND --help` prints the same text. `eval "$(bench completion bash)"` completes commands, options and names
in the shell. No command asks for input.

Data are printed on standard output. Messages, progress and errors are printed on standard error. With `--json`, the
output is one JSON object, whose key `schema` is the version of its layout ([versions](versioning.md#records)).
"""
ERRORS = """An error is one line: the request, the problem, and in parentheses the remedy. If there are several
problems, each has its own line. `bench --json-errors COMMAND` prints the error as JSON
([versions](versioning.md#the-package))."""
PROJECT_FILE = """The file `bench.yaml` in the current folder sets options. It is a YAML mapping of the keys in the
table, for example `seed: 7`. Each key sets the option of the same name."""
PRECEDENCE = """An option takes precedence over its variable, and a variable over the project file `bench.yaml`."""


def page() -> str:
    """Return the page as Markdown."""
    lines = [HEAD, "## Exit codes", ""]
    lines += table_lines(("code", "meaning"), [(str(code), meaning) for code, meaning in EXIT_CODES.items()])
    lines += ["", ERRORS, "", "## Environment variables", "", PRECEDENCE, ""]
    lines += table_lines(("variable", "meaning"), [(f"`{name}`", meaning) for name, meaning in VARIABLES.items()])
    lines += ["", "## The project file", "", PROJECT_FILE, "", *_keys()]
    lines += ["", "## Options of every command", "", *_options(app), ""]
    for name, command in _commands("bench", app, click.Context(app, info_name="bench")):
        lines += [f"## {name}", "", *_describe(name, command), ""]
    return "\n".join(lines).rstrip() + "\n"


def _keys() -> list[str]:
    """Return the table of the keys of the project file."""
    options = {
        (name.removeprefix("bench "), parameter.name): parameter
        for name, command in _commands("bench", app, click.Context(app, info_name="bench"))
        for parameter in command.params
    }
    rows = []
    for key, commands in config.KEYS.items():
        is_integer = isinstance(options[commands[0], key].type, click.IntRange)
        names = ", ".join(f"`bench {command}`" for command in commands)
        rows.append((f"`{key}`", "integer" if is_integer else "text", names))
    return table_lines(("key", "value", "commands"), rows)


def _commands(name: str, command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Yield all commands below a group, in the order of its help page, with their full names."""
    if not isinstance(command, click.Group):
        return
    for word in command.list_commands(context):
        child = command.get_command(context, word)
        assert child is not None
        yield f"{name} {word}", child
        yield from _commands(f"{name} {word}", child, click.Context(child, info_name=word, parent=context))


def _describe(name: str, command: click.Command) -> Iterator[str]:
    """Yield the lines of the section about one command."""
    yield from (_plain(paragraph) for paragraph in _paragraphs(inspect.cleandoc(command.help or "")))
    arguments = [argument.make_metavar(click.Context(command)) for argument in _arguments(command)]
    if not isinstance(command, click.Group):
        yield f"Usage: `{' '.join([name, '[OPTIONS]', *arguments])}`"
        yield ""
        yield from _options(command)
        yield ""
    _, _, examples = (command.epilog or "").partition(":\n")
    yield "```bash"
    yield from (line.strip() for line in examples.splitlines())
    yield "```"


def _paragraphs(text: str) -> list[str]:
    return [part for part in re.split(r"\n\n", text) if part.strip()]


def _plain(paragraph: str) -> str:
    """Return a paragraph as Markdown. Lines that the help page does not wrap become a code block."""
    if paragraph.startswith("\b"):
        lines = paragraph.splitlines()[1:]
        return "\n".join(["```text", *lines, "```", ""])
    return _escape(" ".join(paragraph.split())) + "\n"


def _escape(text: str) -> str:
    """Return a text in which `<` does not begin a tag."""
    return re.sub(r"<(?=\w)", "&lt;", text)


def _arguments(command: click.Command) -> list[click.Argument]:
    return [parameter for parameter in command.params if isinstance(parameter, click.Argument)]


def _options(command: click.Command) -> list[str]:
    """Return the table of a command's options."""
    rows = []
    for option in command.params:
        if not isinstance(option, click.Option):
            continue
        value = "" if option.is_flag else f" {option.make_metavar(click.Context(command))}"
        text = option.help or ("Show the version and exit." if "--version" in option.opts else "")
        names = " / ".join(filter(None, [", ".join(option.opts), ", ".join(option.secondary_opts)]))
        rows.append((f"`{names}{value}`", _escape(text), _default(option)))
    return table_lines(("option", "meaning", "default"), rows) if rows else []


def _default(option: click.Option) -> str:
    """Return the default of an option and its environment variable in code font; empty if it has neither."""
    default = option.default
    shown = f"`{default}`" if option.show_default and isinstance(default, str | int | float | Path) else ""
    variable = f"`{option.envvar}`" if isinstance(option.envvar, str) else ""
    return ", ".join(filter(None, [shown, variable]))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
