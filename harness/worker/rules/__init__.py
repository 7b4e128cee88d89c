"""The rules for submissions. Every file in this folder defines one rule. A new file needs no registration."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

from harness.contract.run import RunSpec
from harness.worker.rule import Rule, RuleChecker


def rule_names() -> list[str]:
    """Return the names of all rules in alphabetical order. A rule's name is its file name without `.py`."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


def rule_docs() -> Iterator[tuple[str, str]]:
    """Yield the name and docstring of every rule.

    The files are parsed and not imported, so that the documentation can be built without torch.
    """
    for name in rule_names():
        source = (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
        yield name, ast.get_docstring(ast.parse(source)) or ""


def load_rules(spec: RunSpec) -> RuleChecker:
    """Return an object that checks all rules that apply to a trial."""
    classes = (load_rule(name) for name in rule_names())
    return RuleChecker([rule(spec) for rule in classes if rule.applies_to(spec)])


def load_rule(name: str) -> type[Rule]:
    """Return the class of a rule: the only subclass of `Rule` that the file of the rule defines."""
    module = importlib.import_module(f"{__name__}.{name}")
    (rule,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Rule) and value.__module__ == module.__name__
    )
    return rule
