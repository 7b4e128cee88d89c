"""Write docs/methods.md from the plugins' entries: every method, its papers, its needs, and the evidence for it.

usage: python -m tools.make_methods            (a test fails if the page is stale)
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
from tools.markdown import table_lines

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "methods.md"
LEVELS = ROOT / "tools" / "levels.yaml"
DISTRIBUTION = "algorace"
#: The page with the tables of the comparison, whose rows begin with the name of an arm.
COMPARISON = "docs/comparison.md"
ARM = re.compile(r"^\| `([a-z0-9-]+)` \|(?! not run)", re.MULTILINE)
#: Method → its evidence as pairs of level and file.
Levels = Mapping[str, Sequence[tuple[str, str]]]
HEAD = """# Methods

`python -m tools.make_methods` generates this page from the plugins' entries. Do not edit it.

The column *evidence* shows which evidence exists for a method:

- *listed*: the method is in the package, passes the contract tests and cites its papers.
- *vectors*: the method agrees with numbers from an independent source (a paper or another implementation) in the linked
  test.
- *reproduced*: the qualitative result of the paper holds here, in the kind of setting that the paper used.
- *compared*: the method was tuned like all other methods and is in the linked table. A part counts as compared if a
  submission that contains it was compared.

The kinds of evidence are independent. For example, a method that was compared has not thereby reproduced the result of
its paper.

`bench show NAME` prints all information about a method: its papers with sections and equations, its hyperparameters,
their search ranges, its needs and, for a schedule, its curve.

## How to read the summaries

- A word in code font, such as `final` or `decay`, is a hyperparameter of the part. The name of a Python class in
  parentheses is the implementation that the part uses. "Extra `optimizers`" means that the part needs the libraries
  that `pip install "algorace[optimizers]"` installs.
- Schedules: the *peak* is the hyperparameter `lr`. A schedule multiplies the peak by a factor. `final`, `constant`,
  `base` and `swa_final` are values of this factor, so "to `final`" means that the learning rate decays to `final`
  times the peak. `floor` is relative to `final`, and `gamma` is a factor by which the learning rate or the height of
  a cycle is multiplied.
- Durations: the *horizon* T is the number of updates for which a schedule plans (the budget times
  `horizon_fraction`). `warmup`, `cooldown`, `decay`, `period` and `swa_start` are durations. A duration below 1 is a
  fraction of T. A duration of at least 1 is a number of updates. "For the last `decay`" means for the last `decay` ·
  T updates if `decay` is below 1, and otherwise for the last `decay` updates.
- Cycles: `period` is the length of the first cycle, and each further cycle is `growth` times as long as the previous
  one. In `wsd-s` and `cyclic-cosine`, "the end of each budget" is the end of a cycle; by default, the cycles end at
  T/4, T/2 and T.
- Streams: a *task* is what one stage of a stream trains on. The *cap* of a task is the maximum number of examples of
  its stage, and the *planned part* is the cap times `horizon_fraction`.
- Averages: the weights that are evaluated are an average of the weights that were trained. In `polynomial`, t is the
  number of updates and γ is `gamma_average`. The later the update, the larger is the share of its weights in the
  average.
- Optimizers: the *step size* is the learning rate divided by Adam's denominator, which differs between weights. In
  `adabound`, a lower and an upper bound on the step size converge to the step size of SGD. In `dog` and `ldog`, the
  step size is the largest distance from the initial weights so far, divided by the square root of the sum of the
  squared gradient norms. In `sam`, a step uses two backward passes: the second is at the weights with the largest
  loss (to first order) within the distance `rho`.

The [glossary](glossary.md) defines the other terms. [schedules.md](schedules.md) and [optimizers.md](optimizers.md)
give formulas and default values.
"""


def levels(registry: Registry) -> Levels:
    """Return the evidence in tools/levels.yaml, and `compared` for the methods in the tables of the comparison."""
    evidence: dict[str, list[tuple[str, str]]] = {}
    for level, places in read_levels().items():
        for place, names in places.items():
            for name in names:
                evidence.setdefault(name, []).append((level, place))
    for name in compared_methods(registry, (ROOT / COMPARISON).read_text()):
        evidence.setdefault(name, []).append(("compared", COMPARISON))
    return evidence


def compared_methods(registry: Registry, comparison: str) -> Sequence[str]:
    """Return the names of the arms with runs in the tables of the comparison, and of their parts."""
    arms = {arm: registry.submission(arm) for arm in ARM.findall(comparison)}
    return sorted({*arms, *(part for entry in arms.values() for part in entry.parts)})


def read_levels() -> dict[str, Any]:
    """Return the content of tools/levels.yaml: level → file → methods.

    Under the level `reproduced`, each method is mapped to the result that was reproduced.
    """
    return dict(yaml.safe_load(LEVELS.read_text()))


def page(registry: Registry) -> str:
    """Return the page as Markdown."""
    evidence = levels(registry)
    reproduced = [
        f"- `{name}`: {result} ([{place}](../{place}))."
        for place, results in read_levels()["reproduced"].items()
        for name, result in results.items()
    ]
    lines = [HEAD, "## Reproduced results", "", "These results of papers were reproduced:", "", *reproduced, ""]
    for kind in PART_KINDS.values():
        parts = [part for part in registry.parts() if part.kind == kind.name and part.distribution == DISTRIBUTION]
        if parts:
            rows = [_part_row(part, evidence) for part in sorted(parts, key=lambda part: part.name)]
            lines += [f"## {kind.title}", "", f"A part of kind `{kind.name}` {kind.purpose}.", ""]
            lines += [*table_lines(("part", "summary", "papers", "needs", "evidence"), rows), ""]
    entries = [entry for entry in registry.submissions() if entry.distribution == DISTRIBUTION]
    rows = [_submission_row(entry, registry, evidence) for entry in entries]
    lines += ["## Submissions", "", "A submission is a named composition of parts or a class with its own step.", ""]
    lines += [
        *table_lines(
            ("submission", "summary", "parts", "papers not cited by its parts", "needs", "evidence"), sorted(rows)
        ),
        "",
    ]
    return "\n".join(lines)


def _part_row(part: PartEntry, evidence: Levels) -> list[str]:
    return [f"`{part.id}`", part.summary, _papers(part.sources), _needs(part.all_needs), _level(part.id, evidence)]


def _submission_row(entry: SubmissionEntry, registry: Registry, evidence: Levels) -> list[str]:
    parts = ", ".join(f"`{name.partition(':')[2]}`" for name in entry.parts) or "its own step"
    needs = compose(entry, registry).needs
    return [
        f"`{entry.name}`",
        entry.summary,
        parts,
        _papers(entry.sources),
        _needs(needs),
        _level(entry.name, evidence),
    ]


def _papers(sources: Sequence[Source]) -> str:
    return "; ".join(
        source.title + (f" ([{source.arxiv}](https://arxiv.org/abs/{source.arxiv}))" if source.arxiv else "")
        for source in sources
    )


def _needs(needs: Iterable[str]) -> str:
    return ", ".join(sorted(needs)) or "–"


def _level(name: str, evidence: Levels) -> str:
    return ", ".join(f"[{level}](../{place})" for level, place in evidence.get(name, ())) or "listed"


if __name__ == "__main__":
    PAGE.write_text(page(load_registry()))
