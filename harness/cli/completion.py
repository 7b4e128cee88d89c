"""`bench completion`: print the script that enables completion in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from harness.cli.commands import examples
from harness.cli.output import print_text

#: Environment variable with which the script passes a request for completions to `bench`.
VARIABLE = "_BENCH_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command("completion", epilog=examples("bench completion bash", "bench completion zsh", "bench completion fish"))
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that enables completion in SHELL.

    Commands, options and the names of submissions, workloads, parts, datasets, rulesets and runs are completed.

    \b
    bash:  eval "$(bench completion bash)"             in ~/.bashrc
    zsh:   eval "$(bench completion zsh)"              in ~/.zshrc, after compinit
    fish:  bench completion fish | source              in ~/.config/fish/config.fish
    """
    completion = get_completion_class(shell)
    assert completion is not None
    print_text(completion(context.find_root().command, {}, "bench", VARIABLE).source())
