"""Writes docs/methods.md from what the plugins declare: every method, its papers, its needs, how far it was taken.

usage: python docs/make_methods.py            (a test fails when the page is stale)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from harness.plan import compose
from harness.plugins import Registry, load_registry
from harness.types import PartEntry, Source, SubmissionEntry

HERE = Path(__file__).resolve().parent
OURS = "algorace"
KINDS = {
    "schedule": "Learning-rate schedules",
    "optimizer": "Optimizers",
    "averaging": "Weight averaging",
    "order": "Data order",
    "replay": "Replay",
    "gradient": "Gradients",
    "penalty": "Penalties",
    "after_step": "After the step",
}
HEAD = """# Methods

Made from the plugins' entries by `python docs/make_methods.py`; do not edit.

What each level means: *listed*: it is there, runs the contract suite and cites its papers. *vectors*: numbers from
outside (a paper, another implementation) agree with it in the named test. *reproduced*: the paper's qualitative result
holds here in its own kind of setting. *compared*: tuned like all others and in the named table. No method is more than
its evidence.

`bench show NAME` prints a method whole: its papers and where in them, hyperparameters, search range, needs, the curve
of a schedule.
"""


def levels() -> dict[str, tuple[str, str]]:
    """Method -> (level, where it is shown); the highest where a method stands at several."""
    found: dict[str, tuple[str, str]] = {}
    for level, places in yaml.safe_load((HERE / "levels.yaml").read_text()).items():
        for place, names in places.items():
            found |= dict.fromkeys(names, (level, place))
    return found


def page(registry: Registry) -> str:
    """The page as Markdown."""
    shown = levels()
    lines = [HEAD]
    for kind, title in KINDS.items():
        parts = [part for part in registry.parts() if part.kind == kind and part.distribution == OURS]
        if parts:
            rows = [_part_row(part, shown) for part in sorted(parts, key=lambda part: part.name)]
            lines += [f"## {title}", "", *_table(("part", "what", "papers", "needs", "level"), rows), ""]
    rows = [_submission_row(entry, registry, shown) for entry in registry.submissions() if entry.distribution == OURS]
    lines += ["## Submissions", "", "Named compositions, and what is more than its parts.", ""]
    lines += [*_table(("submission", "what", "parts", "papers of its own", "needs", "level"), sorted(rows)), ""]
    return "\n".join(lines)


def _part_row(part: PartEntry, shown: dict[str, tuple[str, str]]) -> list[str]:
    return [f"`{part.id}`", part.summary, _papers(part.sources), _needs(part.needs), _level(part.id, shown)]


def _submission_row(entry: SubmissionEntry, registry: Registry, shown: dict[str, tuple[str, str]]) -> list[str]:
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


def _level(name: str, shown: dict[str, tuple[str, str]]) -> str:
    level, place = shown.get(name, ("listed", ""))
    return f"[{level}](../{place})" if place else level


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [
        "| " + " | ".join(heading) + " |",
        "|" + "---|" * len(heading),
        *("| " + " | ".join(row) + " |" for row in cells),
    ]


if __name__ == "__main__":
    (HERE / "methods.md").write_text(page(load_registry()))
