"""What a submission may not do: one file per rule. A file in this folder is a rule; nothing else registers it."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

from harness.contract.run import RunSpec
from harness.worker.rule import Rule, RuleChecker


def rule_names() -> list[str]:
    """The names of all rules, which are those of their files, in alphabetical order."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


def rule_docs() -> Iterator[tuple[str, str]]:
    """Every rule's name and docstring: what is forbidden, why, and what to do instead.

    Files are read and not imported, so that documentation is built without torch.
    """
    for name in rule_names():
        source = (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
        yield name, ast.get_docstring(ast.parse(source)) or ""


def load_rules(spec: RunSpec) -> RuleChecker:
    """The rules that apply to a trial, in alphabetical order; those that communicate come last."""
    classes = (load_rule(name) for name in rule_names())
    return RuleChecker([rule(spec) for rule in classes if rule.applies_to(spec)])


def load_rule(name: str) -> type[Rule]:
    """The class of a rule: the one subclass of `Rule` that its file defines."""
    module = importlib.import_module(f"{__name__}.{name}")
    (rule,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Rule) and value.__module__ == module.__name__
    )
    return rule
