"""The generated pages about commands, records and hooks: none is stale, and nothing in them is undescribed."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from harness import errors
from harness.cli import config, gate
from harness.contract import hookspecs
from tests.command_lines import commands
from tests.documents import ROOT
from tools import make_commands, make_hooks, make_records
from tools.docstrings import argument_texts, docstring_text


@pytest.mark.parametrize("tool", [make_commands, make_records, make_hooks], ids=lambda tool: tool.PAGE.name)
def test_the_page_is_not_stale(tool: object) -> None:
    committed, page = tool.PAGE.read_text(encoding="utf-8"), tool.page()  # type: ignore[attr-defined]
    assert committed == page, "stale: run `make pages` and commit the page"


def test_every_field_of_a_record_is_described() -> None:
    undescribed = [
        f"{record_type.__name__}.{name}"
        for record_type in make_records.record_types()
        for name, text in make_records.field_texts(record_type).items()
        if not text
    ]
    assert not undescribed
    names = {record_type.__name__ for record_type in make_records.record_types()}
    assert names >= {"Record", "RunSpec", "WorkloadFacts", "Point", "Ledger", "Judgement", "LogUniform"}


def test_every_hook_and_its_types_are_described() -> None:
    page = make_hooks.page()
    for name, hook in make_hooks.hooks().items():
        assert f"## {name}\n" in page
        assert docstring_text(hook)
        assert "@hookimpl" in (hook.__doc__ or ""), f"{name} has no example"
    for hook_type in make_hooks.TYPES:
        assert set(argument_texts(hook_type)) == set(hook_type.__struct_fields__), hook_type.__name__
    assert set(make_hooks.hooks()) == {name for name in vars(hookspecs) if name.startswith("bench_")}


def test_every_exit_code_is_described() -> None:
    codes = {value for module in (errors, gate) for name, value in vars(module).items() if name.startswith("EXIT_")}
    assert set(make_commands.EXIT_CODES) == codes
    text = (ROOT / "docs" / "versioning.md").read_text(encoding="utf-8")
    assert all(re.search(rf"\b{code}\b", text) for code in codes)


def test_every_environment_variable_is_described() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "harness").rglob("*.py"))
    used = set(re.findall(r"(?<!_)BENCH_[A-Z_]*[A-Z]", source))
    assert set(make_commands.VARIABLES) == used


def test_every_command_and_option_is_on_the_page() -> None:
    page = make_commands.page()
    for name, command in commands():
        assert not name or f"## bench {name}\n" in page
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help or "--version" in parameter.opts, f"bench {name} {parameter.opts[0]} has no help"
                assert all(option in page for option in (*parameter.opts, *parameter.secondary_opts))


def test_both_forms_of_an_option_are_on_the_page() -> None:
    assert "| `--variants / --no-variants` |" in make_commands.page()


def test_every_key_of_the_project_file_is_on_the_page(tmp_path: Path) -> None:
    _, _, section = make_commands.page().partition("## The project file\n")
    section, _, _ = section.partition("\n## ")
    rows = re.findall(r"^\| `(\w+)` \| (integer|text) \| (.+) \|$", section, re.MULTILINE)
    assert {key: tuple(re.findall(r"`bench ([^`]+)`", names)) for key, _, names in rows} == config.KEYS
    file = tmp_path / "bench.yaml"
    file.write_text("\n".join(f"{key}: {'1' if kind == 'integer' else 'a'}" for key, kind, _ in rows))
    config.read_default_map(file)
