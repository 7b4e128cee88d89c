"""Code in documents: commands are parsed by their parsers, cheap ones are run, and Python is executed."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from harness import cli
from harness.cli.resolve import NameType
from harness.errors import BenchError
from harness.planning.resolve import resolve_submission, resolve_workloads, split_names
from harness.plugins.registry import load_registry
from tests.command_lines import find_problem, parse_line, split_line
from tests.documents import ROOT, Block, all_blocks, join_continued, list_pages

BLOCKS = all_blocks()
REGISTRY = load_registry()
#: The languages of blocks. Everything that can be checked has a language that is checked.
LANGUAGES = {"bash", "console", "python", "toml", "yaml", "text"}
#: Blocks of Python that are not executed, with the reasons that are given above them.
FRAGMENTS = {
    ("docs/scores.md", "needs the logs of other programs"),
}
#: Commands that read and print: a test runs them.
CHEAP = {"list", "show", "rulesets", "plugins", "completion"}
#: Programs other than `bench` that occur in blocks.
PROGRAMS = {"bench", "make", "pip", "git", "python", "cd", "source", "eval", "cp", "mkdir", "export", "$EDITOR"}
#: Names under which the records of a reader's files are found.
NAMES_OF_FILES = {"best", "mine", "my-method", "my-optimizer"}
CODE_SPAN = re.compile(r"`(bench [a-z][^`\n]*)`")
#: Signs of a command line that is shortened or has alternatives.
SHORTENED = re.compile(r"…|\||\[|\]|\.\.\.")
#: Words in capitals stand for a value.
PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*(:[A-Z]+)?$")


def bash_lines() -> Iterator[tuple[str, str]]:
    """Every command of the documents with its place."""
    for block in BLOCKS:
        if block.language == "bash":
            for line in join_continued(block.text):
                yield block.place, line
        if block.language == "console":
            for line in join_continued(block.text):
                if line.startswith("$ "):
                    yield block.place, line.removeprefix("$ ")


BASH = list(bash_lines())
BENCH = [(place, line) for place, line in BASH if split_line(line)[0].rpartition("/")[2] == "bench"]


def bench_line(line: str) -> str:
    """The command with its program as a plain `bench`."""
    return re.sub(r"^(\w+=\S+ )*(\S*/)?bench\b", "bench", line)


def test_every_block_has_a_language() -> None:
    unknown = {block.place: block.language for block in BLOCKS if block.language not in LANGUAGES}
    assert not unknown
    assert len(BLOCKS) > 30


def test_every_fragment_is_listed() -> None:
    """A comment `<!-- fragment: REASON -->` above a block keeps it from being executed; this list is the record."""
    assert {(block.page, block.fragment) for block in BLOCKS if block.fragment} == FRAGMENTS


def test_every_program_is_known() -> None:
    programs = {split_line(line)[0].rpartition("/")[2]: place for place, line in BASH}
    assert set(programs) <= PROGRAMS, programs


@pytest.mark.parametrize(("place", "line"), BENCH, ids=[f"{place} {line[:40]}" for place, line in BENCH])
def test_bench_accepts_the_command(place: str, line: str) -> None:
    assert not find_problem(bench_line(line)), place
    assert not list(unknown_names(bench_line(line))), place


def unknown_names(line: str) -> Iterator[str]:
    """The names of submissions and workloads in a command line that are not installed."""
    context = parse_line(line)
    for parameter in context.command.params if context else ():
        value = context.params.get(parameter.name or "") if context else None
        if not isinstance(parameter.type, NameType) or not value:
            continue
        for name in split_names([value] if isinstance(value, str) else value):
            if PLACEHOLDER.match(name) or name.startswith("run-") or ".py" in name or "/" in name:
                continue
            try:
                if parameter.type.kind == "workload":
                    resolve_workloads(name, REGISTRY)
                elif parameter.type.kind == "submission":
                    resolve_submission(name, REGISTRY)
            except BenchError as error:
                if name not in NAMES_OF_FILES:
                    yield error.what


def test_commands_in_sentences_are_accepted() -> None:
    """`bench …` in code font between words has the same options as the program."""
    problems = []
    count = 0
    for page in list_pages():
        for line in CODE_SPAN.findall((ROOT / page).read_text(encoding="utf-8")):
            if SHORTENED.search(line):
                continue
            count += 1
            problem = find_problem(line)
            # A sentence may leave out arguments.
            if problem and not problem.startswith("Missing ") and "requires an argument" not in problem:
                problems.append(f"{page}: {line}: {problem}")
    assert not problems, "\n".join(problems)
    assert count > 100


@pytest.mark.parametrize("line", sorted({line for _, line in BENCH if split_line(bench_line(line))[1] in CHEAP}))
def test_cheap_commands_run(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = split_line(bench_line(line))[1:]
    if any(word.startswith(("run-", "./")) for word in words):
        pytest.skip("names a run or a file of the reader")
    monkeypatch.chdir(tmp_path)
    assert cli.invoke(words) == 0, capsys.readouterr().err


# --- other programs -----------------------------------------------------------------------------


def other_lines(program: str) -> list[tuple[str, list[str]]]:
    return [(place, words) for place, line in BASH if (words := shlex.split(line, comments=True))[0].endswith(program)]


def test_make_has_the_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for place, words in other_lines("make"):
        named = {word for word in words[1:] if "=" not in word}
        assert named <= targets, f"{place}: {named - targets}"


def test_python_has_the_files_and_modules() -> None:
    for place, words in other_lines("python"):
        if words[1] == "-m":
            module = ROOT / Path(*words[2].split("."))
            known = module.with_suffix(".py").exists() or (module / "__main__.py").exists()
            assert known or words[2] in ("pytest", "venv", "pip", "timeit"), f"{place}: {words}"
            paths = words[3:] if words[2] == "pytest" else []
        else:
            paths = words[1:2]
        for path in paths:
            if "/" in path:
                assert (ROOT / path).exists() or path.startswith("/tmp"), f"{place}: {path}"


def test_pip_has_the_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for place, words in other_lines("pip"):
        for extras in re.findall(r"(?:algorace|\.)\[([\w,-]+)\]", " ".join(words)):
            assert set(extras.split(",")) <= set(project["optional-dependencies"]), place


# --- other languages ----------------------------------------------------------------------------


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in ("yaml", "toml")], ids=lambda b: b.place)
def test_data_are_valid(block: Block) -> None:
    parse = yaml.safe_load if block.language == "yaml" else tomllib.loads
    assert parse(block.text)


def python_pages() -> list[str]:
    return sorted({block.page for block in BLOCKS if block.language == "python" and not block.fragment})


@pytest.mark.slow
@pytest.mark.parametrize("page", python_pages())
def test_python_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page are executed one after the other, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for block in BLOCKS:
        if block.page == page and block.language == "python" and not block.fragment:
            code = compile("\n" * (block.line - 1) + block.text, block.page, "exec")
            with contextlib.redirect_stdout(io.StringIO()):
                exec(code, names)


def test_the_fragments_are_python() -> None:
    for block in BLOCKS:
        if block.language == "python":
            compile(block.text, block.place, "exec")


def test_no_help_text_is_a_group() -> None:
    """`parse_line` returns the context of the command, not of the group."""
    context = parse_line("bench data get mnist")
    assert context is not None
    assert isinstance(context.command, click.Command)
    assert context.params["names"] == ("mnist",)
