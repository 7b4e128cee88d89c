"""The help pages of all commands, and the properties that every command has."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from harness import cli
from harness.cli.config import KEYS
from tests.command_lines import commands, find_problem

COMMANDS = dict(commands())
ROOT = Path(__file__).resolve().parent.parent.parent
#: Commands that print no results as JSON, and why.
WITHOUT_JSON = {"completion": "prints a shell script", "results export": "has --format"}


def _leaves() -> list[str]:
    return [name for name, command in COMMANDS.items() if not isinstance(command, click.Group)]


def examples_of(command: click.Command) -> list[str]:
    """The command lines at the end of a command's help page."""
    _, _, lines = (command.epilog or "").partition(":\n")
    return [line.strip() for line in lines.splitlines()]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_ends_with_examples_of_the_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    examples = examples_of(COMMANDS[name])
    assert examples, f"bench {name} has no example: @click.command(epilog=examples(…))"
    assert cli.invoke([*name.split(), "--help"]) == 0
    assert [line.strip() for line in capsys.readouterr().out.rstrip().splitlines()][-len(examples) :] == examples
    for example in examples:
        assert example.startswith(f"bench {name}".strip())
        assert not find_problem(example), example


#: Commands with an option of this name to which a key of the project file does not apply.
OWN_OPTIONS = {
    "ruleset": {"compare", "score"},  # chooses how existing results are scored
    "studies": {"calibrate", "tune"},  # has another default and another meaning than in `bench run`
}


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_the_project_file_sets_the_option_of_all_commands(key: str) -> None:
    having = {name for name in _leaves() if any(key == option.name for option in COMMANDS[name].params)}
    assert having - OWN_OPTIONS.get(key, set()) == set(KEYS[key])


@pytest.mark.parametrize("name", _leaves())
def test_every_command_prints_json(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert ("--json" in options) != (name in WITHOUT_JSON)


def _calls(folder: Path) -> Iterator[tuple[Path, ast.Call]]:
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                yield path, node


def test_every_json_object_has_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """`print_json` is the only function of the command line that prints JSON, and it adds the version."""
    from harness.cli.output import SCHEMA, print_json

    print_json({"runs": []})
    assert json.loads(capsys.readouterr().out) == {"schema": SCHEMA, "runs": []}
    print_json({"schema": 2})
    assert json.loads(capsys.readouterr().out) == {"schema": 2}
    printing = {
        path.name
        for path, call in _calls(ROOT / "harness" / "cli")
        if ast.unparse(call.func) in ("print", "print_text", "click.echo") and "json" in ast.unparse(call)
    }
    assert printing == {"output.py", "shown_errors.py"}


def test_no_command_asks_for_input() -> None:
    asking = [
        f"{name} {parameter.name}"
        for name, command in COMMANDS.items()
        for parameter in command.params
        if getattr(parameter, "prompt", None) or getattr(parameter, "confirmation_prompt", None)
    ]
    functions = {"input", "click.prompt", "click.confirm", "click.pause", "click.getchar", "getpass.getpass"}
    asking += [
        f"{path}: {ast.unparse(call)}" for path, call in _calls(ROOT / "harness") if ast.unparse(call.func) in functions
    ]
    assert not asking


# --- errors as JSON -----------------------------------------------------------------------------


@pytest.mark.parametrize("by_variable", [False, True])
def test_errors_are_json_on_request(
    by_variable: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if by_variable:
        monkeypatch.setenv("BENCH_JSON_ERRORS", "1")
    option = [] if by_variable else ["--json-errors"]
    expected = {
        ("run", "-s", "wsdd", "-w", "lm-tiny"): ("UsageError", 2, "unknown submission 'wsdd'; did you mean 'wsd'?"),
        ("run", "--bogus"): ("UsageError", 2, "No such option '--bogus'"),
        ("leaderboard", "--runs", "/nowhere", "--results", "/nowhere"): ("StoreError", 1, "no results"),
        ("fly",): ("UsageError", 2, "unknown command 'fly'"),
    }
    for arguments, (kind, code, what) in expected.items():
        assert cli.invoke([*option, *arguments]) == code
        captured = capsys.readouterr()
        assert not captured.out
        (line,) = captured.err.splitlines()
        printed = json.loads(line)
        assert printed["schema"] == 1
        assert set(printed["error"]) == {"kind", "exit_code", "what", "fix", "problems"}
        assert (printed["error"]["kind"], printed["error"]["exit_code"]) == (kind, code)
        assert what in printed["error"]["what"]


def test_errors_are_text_otherwise(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("BENCH_JSON_ERRORS", "0")
    assert cli.invoke(["show", "--json-errors"]) == 2
    assert capsys.readouterr().err.startswith("bench: No such option")


def test_an_internal_error_is_json_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise RuntimeError("broken \x1b[31m")

    monkeypatch.setattr("harness.planning.rulesets.rulesets", fail)
    assert cli.invoke(["--json-errors", "rulesets"]) == 3
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["kind"] == "InternalError"
    assert error["what"] == "internal error: RuntimeError: broken \\x1b[31m"
