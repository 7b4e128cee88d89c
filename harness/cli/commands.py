"""Format command lines for help pages and messages, and find the options that the user typed."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

import click
from click.core import ParameterSource

from harness.errors import UsageError


def examples(*lines: str) -> str:
    r"""Return the epilog of a command's help page, which shows complete command lines.

    Args:
        lines: the command lines. A test parses each of them with the parser of its command.

    >>> examples("bench list muon").split("\n")[1:]
    ['Example:', '  bench list muon']
    """
    return "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])


def is_typed(context: click.Context, name: str) -> bool:
    """Return whether the user typed a parameter. A value of the environment or of a file does not count."""
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def refuse_typed(context: click.Context, names: Iterable[str], reason: str) -> None:
    """Raise an error if the user typed an option that has no effect in this call.

    Args:
        context: click's context of the call.
        names: parameter names of the options.
        reason: why they have no effect.

    Raises:
        UsageError: one of the options was typed.
    """
    typed = {name for name in names if is_typed(context, name)}
    flags = [
        max(parameter.opts if context.params[parameter.name] else parameter.secondary_opts or parameter.opts, key=len)
        for parameter in context.command.params
        if parameter.name in typed
    ]
    if flags:
        listed = ", ".join(flags)
        raise UsageError(f"{reason}, so it does not use {listed}", fix=f"leave out {listed}")


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
        if not is_typed(context, name) and name not in changes:
            continue
        value = changes.get(name, context.params[name])
        values = [str(item) for item in value] if isinstance(value, tuple) else [str(value)]
        if isinstance(parameter, click.Argument):
            words += values
        elif isinstance(parameter, click.Option):
            flag = parameter.opts[0] if len(parameter.opts) == 1 else min(parameter.opts, key=len)
            words += [flag] if parameter.is_flag else [word for item in values for word in (flag, item)]
    return shlex.join(words)
