"""The script that counts names: each of its rules accepts what it should, and nothing else."""

from __future__ import annotations

import ast
import doctest
from pathlib import Path

import pytest

from tools import count_names


def test_its_examples_hold() -> None:
    result = doctest.testmod(count_names)
    assert result.attempted >= 4
    assert result.failed == 0


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("def load_registry() -> Registry: ...", "verb"),
        ("def _is_valid(cached: Cached) -> bool: ...", "verb"),
        ("def keeps(point: Point) -> bool: ...", "verb"),
        ("def keeps(point: Point) -> str: ...", ""),
        ("def submission(name: str) -> SubmissionEntry: ...", "type"),
        ("def entries() -> Iterator[SubmissionEntry]: ...", "type"),
        ("def submission(name: str) -> bool: ...", ""),
        ("def dataset_path(name: str) -> Path: ...", "type"),
        ("def content_hash(payload: bytes) -> str: ...", "noun"),
        ("def dataset_path(name: str) -> int: ...", ""),
        ("def paths_of_dataset(name: str) -> list[str]: ...", "noun"),
        ("def state_dict(self) -> dict[str, Any]: ...", "type"),
        ("def found(name: str) -> str: ...", ""),
        ("def nothing() -> None: ...", ""),
        ("class Run:\n    @property\n    def odd(self) -> str: ...", "property"),
        ("class Run:\n    @classmethod\n    def of(cls) -> Run: ...", "factory"),
        ("class Run:\n    @classmethod\n    def of(cls) -> str: ...", ""),
    ],
)
def test_a_name_is_accepted_by_a_rule(source: str, rule: str) -> None:
    (name,) = count_names.function_names(ast.parse(source), "m.py")
    assert name.rule == rule


def test_dunder_methods_and_overloads_are_not_counted() -> None:
    source = "class A:\n    def __len__(self) -> int: ...\n@overload\ndef odd(a: int) -> int: ..."
    assert list(count_names.function_names(ast.parse(source), "m.py")) == []


def test_local_names_are_counted_once_per_function() -> None:
    source = """
found = 1
def f(given, *, limit):
    one = [what for what in given]
    one = limit
    with limit as (left, size):
        def g(self, other): ...
"""
    names = [(local.name, local.is_filler) for local in count_names.local_bindings(ast.parse(source), "m.py")]
    fillers = {"given", "one", "what", "left", "other"}
    assert sorted(names) == sorted((name, name in fillers) for name in {*fillers, "limit", "size"})


def test_it_fails_below_the_goals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good.py").write_text("def load(path):\n    return path\n")
    assert count_names.main([str(tmp_path)]) == 0
    (tmp_path / "bad.py").write_text("def found(given):\n    return given\n")
    assert count_names.main([str(tmp_path)]) == 1
    assert count_names.main([str(tmp_path), "--rest"]) == 1
    out = capsys.readouterr().out
    assert "bad.py:1: found" in out
    assert "filler given" in out
