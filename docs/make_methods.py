"""Writes docs/methods.md from what the plugins declare: every method, its papers, its needs, how far it was taken.

usage: python docs/make_methods.py            (a test fails when the page is stale)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.contract.entries import PartEntry, Source, SubmissionEntry
from harness.contract.part_kinds import PART_KINDS
from harness.planning.compose import compose
from harness.plugins.registry import Registry, load_registry

HERE = Path(__file__).resolve().parent
OURS = "algorace"
#: The page whose tables hold what was compared; a row begins with its arm.
COMPARISON = "docs/comparison.md"
ARM = re.compile(r"^\| `([a-z0-9-]+)` \|(?! not run)", re.MULTILINE)
#: Method -> what was shown of it: (level, where it is shown).
Levels = Mapping[str, Sequence[tuple[str, str]]]
HEAD = """# Methods

Made from the plugins' entries by `python docs/make_methods.py`; do not edit.

What each level means: *listed*: it is there, runs the contract suite and cites its papers. *vectors*: numbers from
outside (a paper, another implementation) agree with it in the named test. *reproduced*: the paper's qualitative result
holds here in its own kind of setting. *compared*: tuned like all others and in the named table, a part by way of the
submissions it is a part of. No method is more than its evidence, and one level does not imply another: to be compared
is not to have repeated a paper's result.

`bench show NAME` prints a method whole: its papers and where in them, hyperparameters, search range, needs, the curve
of a schedule.
"""


def levels(registry: Registry) -> Levels:
    """What docs/levels.yaml says, and `compared` for what stands in the tables of the comparison."""
    found: dict[str, list[tuple[str, str]]] = {}
    for level, places in _written().items():
        for place, names in places.items():
            for name in names:
                found.setdefault(name, []).append((level, place))
    for name in compared(registry, (HERE.parent / COMPARISON).read_text()):
        found.setdefault(name, []).append(("compared", COMPARISON))
    return found


def compared(registry: Registry, comparison: str) -> Sequence[str]:
    """Every arm that has run in the tables of that page, and what it is made of, by name."""
    arms = {arm: registry.submission(arm) for arm in ARM.findall(comparison)}
    return sorted({*arms, *(part for entry in arms.values() for part in entry.parts)})


def _written() -> dict[str, Any]:
    """docs/levels.yaml: level -> place -> methods, with what was repeated for those that are `reproduced`."""
    return dict(yaml.safe_load((HERE / "levels.yaml").read_text()))


def page(registry: Registry) -> str:
    """The page as Markdown."""
    shown = levels(registry)
    repeated = [
        f"- `{name}`: {what} ([{place}](../{place}))."
        for place, results in _written()["reproduced"].items()
        for name, what in results.items()
    ]
    lines = [HEAD, "What was reproduced:", "", *repeated, ""]
    for kind in PART_KINDS.values():
        parts = [part for part in registry.parts() if part.kind == kind.name and part.distribution == OURS]
        if parts:
            rows = [_part_row(part, shown) for part in sorted(parts, key=lambda part: part.name)]
            lines += [
                f"## {kind.title}",
                "",
                f"A part of kind `{kind.name}` {kind.purpose}.",
                "",
                *_table(("part", "what", "papers", "needs", "level"), rows),
                "",
            ]
    rows = [_submission_row(entry, registry, shown) for entry in registry.submissions() if entry.distribution == OURS]
    lines += ["## Submissions", "", "Named compositions, and what is more than its parts.", ""]
    lines += [*_table(("submission", "what", "parts", "papers of its own", "needs", "level"), sorted(rows)), ""]
    return "\n".join(lines)


def _part_row(part: PartEntry, shown: Levels) -> list[str]:
    return [f"`{part.id}`", part.summary, _papers(part.sources), _needs(part.all_needs), _level(part.id, shown)]


def _submission_row(entry: SubmissionEntry, registry: Registry, shown: Levels) -> list[str]:
    parts = ", ".join(f"`{name.partition(':')[2]}`" for name in entry.parts) or "its own step"
    needs = compose(entry, registry).needs
    return [f"`{entry.name}`", entry.summary, parts, _papers(entry.sources), _needs(needs), _level(entry.name, shown)]


def _papers(sources: Sequence[Source]) -> str:
    return "; ".join(
        source.title + (f" ([{source.arxiv}](https://arxiv.org/abs/{source.arxiv}))" if source.arxiv else "")
        for source in sources
    )


def _needs(needs: Iterable[str]) -> str:
    return ", ".join(sorted(needs)) or "–"


def _level(name: str, shown: Levels) -> str:
    return ", ".join(f"[{level}](../{place})" for level, place in shown.get(name, ())) or "listed"


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [
        "| " + " | ".join(heading) + " |",
        "|" + "---|" * len(heading),
        *("| " + " | ".join(row) + " |" for row in cells),
    ]


if __name__ == "__main__":
    (HERE / "methods.md").write_text(page(load_registry()))
