"""The structure of `harness/` that no linter holds: no circle of imports, no long module, no class name twice."""

from __future__ import annotations

import ast
import graphlib
from collections import defaultdict
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1] / "harness"
FILES = sorted(ROOT.rglob("*.py"))
MAX_LINES = 400


def test_no_circle_of_imports() -> None:
    """Between files, imports inside functions and for type checking alone included."""
    graph = grimp.build_graph("harness", cache_dir=None)
    # `harness/__init__` names the public functions for type checkers, and every file imports its package.
    imports = {module: graph.find_modules_directly_imported_by(module) - {"harness"} for module in graph.modules}
    try:
        graphlib.TopologicalSorter({**imports, "harness": set()}).prepare()
    except graphlib.CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_no_module_is_long() -> None:
    long = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in FILES}
    assert {file: lines for file, lines in long.items() if lines > MAX_LINES} == {}


def test_every_module_begins_with_a_sentence() -> None:
    """The map is made of these."""
    missing = [str(file.relative_to(ROOT)) for file in FILES if not ast.get_docstring(ast.parse(file.read_text()))]
    assert missing == []


def test_no_class_name_is_defined_twice() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
