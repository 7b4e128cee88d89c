"""The rules for submissions. Every file in this folder defines one rule, and needs no registration."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

from harness.contract.run import RunSpec
from harness.worker.rule import Rule, RuleChecker


def rule_names() -> list[str]:
    """Return the names of all rules, which are their file names, in alphabetical order."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


def rule_docs() -> Iterator[tuple[str, str]]:
    """Return every rule's name and docstring: what is forbidden, why, and what to do instead.

    The files are parsed and not imported, so that the documentation can be built without torch.
    """
    for name in rule_names():
        source = (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
        yield name, ast.get_docstring(ast.parse(source)) or ""


def load_rules(spec: RunSpec) -> RuleChecker:
    """Return the checker of all rules that apply to a trial."""
    classes = (load_rule(name) for name in rule_names())
    return RuleChecker([rule(spec) for rule in classes if rule.applies_to(spec)])


def load_rule(name: str) -> type[Rule]:
    """Return the class of a rule, which is the only subclass of `Rule` that the rule's file defines."""
    module = importlib.import_module(f"{__name__}.{name}")
    (rule,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Rule) and value.__module__ == module.__name__
    )
    return rule
