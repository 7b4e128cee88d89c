"""Write the tables in docs/threat-model.md from the tests in `tests/cheats/`.

usage: python -m tools.make_threats            (a test fails if the tables are stale)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.generated_block import replace_block
from tools.markdown import table_lines

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "threat-model.md"
TESTS = ROOT / "tests" / "cheats"
VERDICTS = ("caught", "made useless", "out of reach")


@dataclass(frozen=True, kw_only=True)
class Threat:
    """A cheat and its test.

    Args:
        kind: kind of cheat: the first line of the docstring of the test's module.
        test: `file::function`.
        way: the cheat in words.
        verdict: one of `VERDICTS`.
        by: what stops the cheat, or which advantage the cheat still gains.
    """

    kind: str
    test: str
    way: str
    verdict: str
    by: str


def list_threats() -> Iterator[Threat]:
    """Yield the cheats in the order of the files.

    The files are parsed and not imported, so that the page can be built without torch.

    Raises:
        ValueError: a test has no description.
    """
    for path in sorted(TESTS.glob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        kind = (ast.get_docstring(tree) or "").splitlines()[0].removesuffix(".")
        for node in tree.body:
            if path.name != "test_threat_model.py" and isinstance(node, ast.FunctionDef) and node.name[:5] == "test_":
                yield Threat(kind=kind, test=f"{path.name}::{node.name}", **_description(node))


def _description(node: ast.FunctionDef) -> dict[str, str]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "threat":
            return {keyword.arg or "": ast.literal_eval(keyword.value) for keyword in decorator.keywords}
    raise ValueError(f"{node.name} has no decorator `threat`")


def tables() -> str:
    """Return a summary and one table for each kind of cheat, as Markdown."""
    threats = list(list_threats())
    counts = ", ".join(f"{sum(t.verdict == verdict for t in threats)} {verdict}" for verdict in VERDICTS)
    lines = [f"{len(threats)} ways to cheat are tested: {counts}."]
    for kind in dict.fromkeys(threat.kind for threat in threats):
        rows = [(t.way, t.verdict, t.by, f"`{t.test}`") for t in threats if t.kind == kind]
        lines += ["", f"### {kind}", "", *table_lines(("way", "verdict", "why", "test"), rows)]
    return "\n".join(lines)


def page() -> str:
    """Return the page with up-to-date tables."""
    return replace_block(PAGE.read_text(encoding="utf-8"), "threats", "python -m tools.make_threats", tables())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
