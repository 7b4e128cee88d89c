"""Format command lines: examples for a help page, and the current call with changed options."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import click
from click.core import ParameterSource


def examples(*lines: str) -> str:
    r"""Return the epilog of a command's help page, which shows complete command lines.

    Args:
        lines: the command lines. A test parses each of them with the parser of its command.

    >>> examples("bench list muon").split("\n")[1:]
    ['Example:', '  bench list muon']
    """
    return "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])


def repeat_command(context: click.Context, changes: Mapping[str, str]) -> str:
    """Return the command line of the current call with some values replaced.

    The command line contains the arguments and options that the user typed, and the parameters in `changes`.

    Args:
        context: click's context of the call.
        changes: new values by parameter name.

    Returns:
        The command line, quoted for a shell.
    """
    words = ["bench", context.info_name or ""]
    for parameter in context.command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE and name not in changes:
            continue
        value = changes.get(name, context.params[name])
        values = [str(item) for item in value] if isinstance(value, tuple) else [str(value)]
        if isinstance(parameter, click.Argument):
            words += values
        elif isinstance(parameter, click.Option):
            flag = parameter.opts[0] if len(parameter.opts) == 1 else min(parameter.opts, key=len)
            words += [flag] if parameter.is_flag else [word for item in values for word in (flag, item)]
    return shlex.join(words)
