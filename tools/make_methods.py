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
EVIDENCE = ROOT / "tools" / "evidence.yaml"
DISTRIBUTION = "algorace"
#: The page with the tables of the comparison. Each row is about one arm, a tuned submission, and begins with its name.
COMPARISON = "docs/comparison.md"
#: Beginning of the row of an arm that was run.
ARM = re.compile(r"^\| `([a-z0-9-]+)` \|(?! not run)", re.MULTILINE)
#: Method → its evidence, as pairs of the kind of evidence (such as `vectors`) and a file.
Evidence = Mapping[str, Sequence[tuple[str, str]]]
HEAD = """# Methods

This page lists the papers, the needs and the evidence of every method in AlgoRace. You need it to find the source of a
method, or to know how well a method is tested. `python -m tools.make_methods` generates this page from the entries of
the plugins. Do not edit it.

`bench show NAME` prints the hyperparameters of a method with their search ranges. It also says which section or
equation of a paper defines the method. For a schedule, it draws the curve.

## The columns

The column *needs* names what the workload and the ruleset must provide ([need](glossary.md#need)). Where one
of these is missing, the method does not run.

| need | what must be provided |
|---|---|
| `horizon` | the number of examples that the run may draw ([horizon](glossary.md#horizon)) |
| `pool` | training data with random access ([pool](glossary.md#pool)) |
| `scores` | quality scores of the training examples |
| `tokens` | the number of tokens in an example, which every workload declares |
| `stream` | training data in stages ([stream](glossary.md#stream)) |
| `boundaries` | stage boundaries that the submission sees |
| `replay` | a replay buffer for examples of earlier stages |

The column *evidence* names the kinds of evidence for a method, with links:

| evidence | meaning |
|---|---|
| *listed* | There is no other evidence. Like all methods, the method passes the contract tests and cites its papers. |
| *vectors* | In the linked test, the method agrees with numbers from a paper or from another implementation. |
| *reproduced* | A qualitative result of the method's paper holds here, on the same kind of model and data. |
| *compared* | The learning rate of the method was tuned, and the linked page compares it with other tuned methods. |

No kind of evidence implies another. For example, a *compared* method is not always a *reproduced* one. A part counts as
compared if a compared submission contains it.
"""
#: Kinds of parts with descriptions on another page. The tables of these kinds have no column `summary`.
DESCRIPTIONS = {
    "optimizer": "[optimizers.md](optimizers.md#optimizers) describes each optimizer.",
    "schedule": "[schedules.md](schedules.md#the-schedules) defines each schedule by a formula.",
    "averaging": "[optimizers.md](optimizers.md#averaging) defines each average by a formula.",
    "gradient": "[optimizers.md](optimizers.md#optimizers) describes the part.",
}
SUBMISSIONS = """A submission is a named composition of parts, or a class with its own step. The column *further
papers* lists the papers of a submission in addition to the papers of its parts. In summaries, the *peak* is the highest
learning rate of a run."""
#: Kind of part -> explanation of terms in the summaries of this kind.
TERMS = {
    "order": "A workload on a pool may give every example a score with the name `quality`.",
    "replay": "The *reservoir* is the replay buffer of the harness. It holds a uniform sample of the past examples.",
}


def evidence_by_method(registry: Registry) -> Evidence:
    """Return the evidence in tools/evidence.yaml. Add `compared` for the methods in docs/comparison.md."""
    evidence: dict[str, list[tuple[str, str]]] = {}
    for kind, places in read_evidence().items():
        for place, names in places.items():
            for name in names:
                evidence.setdefault(name, []).append((kind, place))
    for name in compared_methods(registry, (ROOT / COMPARISON).read_text()):
        evidence.setdefault(name, []).append(("compared", COMPARISON))
    return evidence


def compared_methods(registry: Registry, comparison: str) -> Sequence[str]:
    """Return the names of the arms that were run, and of their parts, from the text of docs/comparison.md."""
    arms = {arm: registry.submission(arm) for arm in ARM.findall(comparison)}
    return sorted({*arms, *(part for entry in arms.values() for part in entry.parts)})


def read_evidence() -> dict[str, Any]:
    """Return the content of tools/evidence.yaml: kind of evidence → file → methods.

    Under the kind `reproduced`, each method is mapped to the result that was reproduced.
    """
    return dict(yaml.safe_load(EVIDENCE.read_text()))


def page(registry: Registry) -> str:
    """Return the page as Markdown."""
    evidence = evidence_by_method(registry)
    reproduced = [
        f"- `{name}`: {result} [Results](../{place})."
        for place, results in read_evidence()["reproduced"].items()
        for name, result in results.items()
    ]
    lines = [HEAD, "## Reproduced results", "", "These results of papers were reproduced:", "", *reproduced, ""]
    for kind in PART_KINDS.values():
        parts = [part for part in registry.parts() if part.kind == kind.name and part.distribution == DISTRIBUTION]
        if parts:
            rows = [_part_row(part, evidence) for part in sorted(parts, key=lambda part: part.name)]
            columns = ["part", "papers", "needs", "evidence"]
            if kind.name not in DESCRIPTIONS:
                columns.insert(1, "summary")
            about = DESCRIPTIONS.get(kind.name) or TERMS.get(kind.name, "")
            lines += [f"## {kind.title}", "", f"A part of kind `{kind.name}` {kind.purpose}. {about}".rstrip(), ""]
            lines += [*table_lines(columns, rows), ""]
    entries = [entry for entry in registry.submissions() if entry.distribution == DISTRIBUTION]
    rows = [_submission_row(entry, registry, evidence) for entry in entries]
    lines += ["## Submissions", "", SUBMISSIONS, ""]
    lines += [
        *table_lines(("submission", "summary", "parts", "further papers", "needs", "evidence"), sorted(rows)),
        "",
    ]
    return "\n".join(lines)


def _part_row(part: PartEntry, evidence: Evidence) -> list[str]:
    summary = [] if part.kind in DESCRIPTIONS else [part.summary]
    return [f"`{part.id}`", *summary, _papers(part.sources), _needs(part.all_needs), _evidence_cell(part.id, evidence)]


def _submission_row(entry: SubmissionEntry, registry: Registry, evidence: Evidence) -> list[str]:
    parts = ", ".join(f"`{name.partition(':')[2]}`" for name in entry.parts) or "its own step"
    needs = compose(entry, registry).needs
    return [
        f"`{entry.name}`",
        entry.summary,
        parts,
        _papers(entry.sources),
        _needs(needs),
        _evidence_cell(entry.name, evidence),
    ]


def _papers(sources: Sequence[Source]) -> str:
    return "; ".join(
        source.title + (f" ([{source.arxiv}](https://arxiv.org/abs/{source.arxiv}))" if source.arxiv else "")
        for source in sources
    )


def _needs(needs: Iterable[str]) -> str:
    return ", ".join(sorted(needs)) or "–"


def _evidence_cell(name: str, evidence: Evidence) -> str:
    return ", ".join(f"[{kind}](../{place})" for kind, place in evidence.get(name, ())) or "listed"


if __name__ == "__main__":
    PAGE.write_text(page(load_registry()))
