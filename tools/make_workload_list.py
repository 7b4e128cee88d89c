"""Write docs/workload-list.md: every workload of AlgoRace, from the entries, the calibrations and the datasets.

usage: python -m tools.make_workload_list          (a test fails if the page is stale)

The tool does not import torch. `python -m tools.measure_workloads` writes the sizes that the entries do not contain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from harness.calibration.results import Calibration
from harness.contract.entries import WorkloadEntry
from harness.contract.workload import WorkloadFacts
from harness.plugins.registry import Registry, load_registry
from tools.markdown import table_lines

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "workload-list.md"
SIZES = ROOT / "tools" / "workload_sizes.json"
DISTRIBUTION = "algorace"
#: What a cell contains if nothing is known.
NONE = "–"
#: Data and licence of the workloads whose data come from a library.
LIBRARIES = {
    "resnet-digits": ("the digits that scikit-learn installs", "that of scikit-learn"),
    "continual-digits": ("the digits that scikit-learn installs", "that of scikit-learn"),
}
HEAD = """# List of workloads

This page lists the workloads of AlgoRace with their models, data, budgets and targets. You need it to choose a
workload. `python -m tools.make_workload_list` generates the page from the entries of the workloads, the
[calibrations](calibration.md) and the declarations of the datasets. Do not edit it.

`bench show NAME` prints a workload with its model options and papers. `bench data list` prints the datasets and
whether they are on this machine. The [glossary](glossary.md) defines the terms.
"""
MODELS = """## Models and data

`python -m tools.measure_workloads` counts the parameters and the examples. The table gives no number of training
examples for [streams](glossary.md#stream), because the budget limits the examples of each stage. The sizes of the
held-out splits of a stream are sums over all tasks. The splits of the tiers `gpu` and `cluster` were not counted."""
BUDGETS = """## Budgets and targets

* The *budget* is the largest number of examples that a run may draw, the *limit* the largest number of [scored
  seconds](glossary.md#scored-seconds) on hardware without a limit of its own.
* The *target* is the target `main`. On a stream, it is the target of the last stage.
* *Evaluations* is the number of evaluations before the hit, from the calibration, as the median over seeds. On a
  stream, the evaluations after the minimum of each stage are counted. With 0 evaluations, the stages end at their
  minimum, so the resolution says nothing.
* The [*resolution*](glossary.md#resolution) and [*coarse*](glossary.md#coarse) say how precisely times to the target
  can be measured. Targets of the tiers `gpu` and `cluster` are not calibrated."""

VARIANTS = """## Variants

A [variant](glossary.md#variant) differs from its workload in one detail."""


class WorkloadSizes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Sizes of a workload that its entry does not contain.

    Args:
        workload: `name@version` of the workload.
        parameters: number of parameters of the model with the default model options.
        train: number of training examples of a pool; None for a stream or if they were not counted.
        feedback, score, audit: numbers of examples of the held-out splits; None if they were not counted.
    """

    workload: str
    parameters: int
    train: int | None = None
    feedback: int | None = None
    score: int | None = None
    audit: int | None = None


def listed(registry: Registry) -> list[WorkloadEntry]:
    """Return the workloads of AlgoRace without variants, by tier."""
    tiers = ("cpu", "gpu", "cluster")
    entries = [entry for entry in registry.workloads() if entry.distribution == DISTRIBUTION and "+" not in entry.name]
    return sorted(entries, key=lambda entry: (tiers.index(entry.facts.tier), entry.facts.access, entry.name))


def read_sizes() -> dict[str, WorkloadSizes]:
    """Return the sizes by `name@version` of the workload."""
    sizes = msgspec.json.decode(SIZES.read_bytes(), type=list[WorkloadSizes])
    return {size.workload: size for size in sizes}


def page() -> str:
    """Return the page as Markdown."""
    registry = load_registry()
    entries, sizes = listed(registry), read_sizes()
    variants = table_lines(("variant", "description", "target"), _variants(registry))
    tables = [MODELS, "", *_models(entries, sizes, registry), "", BUDGETS, "", *_budgets(entries)]
    return "\n".join([HEAD, *tables, "", VARIANTS, "", *variants, ""])


def _models(entries: Sequence[WorkloadEntry], sizes: dict[str, WorkloadSizes], registry: Registry) -> list[str]:
    heading = ("workload", "tier", "access", "description", "parameters", "example", "data", "licence of the data")
    splits = ("training", "`feedback`", "`score`", "`audit`")
    rows = []
    for entry in entries:
        facts, size = entry.facts, sizes.get(entry.facts.id)
        known = (size.parameters, size.train, size.feedback, size.score, size.audit) if size else (None,) * 5
        parameters, *examples = (NONE if number is None else f"{number:,}" for number in known)
        description = entry.summary.partition(";")[0]
        model = (f"`{facts.id}`", f"`{facts.tier}`", facts.access, description, parameters, facts.example)
        rows.append((*model, *_data(entry, registry), *examples))
    return table_lines((*heading, *splits), rows)


def _data(entry: WorkloadEntry, registry: Registry) -> tuple[str, str]:
    """Return the data of a workload and their licence."""
    if entry.needs_data:
        names = dict.fromkeys(need.partition(":")[0].partition("/")[0] for need in entry.needs_data)
        return ", ".join(f"`{name}`" for name in names), ", ".join(registry.dataset(name).licence for name in names)
    return LIBRARIES.get(entry.name, ("generated", NONE))


def _budgets(entries: Sequence[WorkloadEntry]) -> list[str]:
    heading = ("workload", "budget", "stages", "limit, s", "evaluated every", "batch sizes", "target")
    rows = []
    for facts in (entry.facts for entry in entries):
        calibration = _calibration(facts)
        evaluations = NONE if calibration is None or calibration.evaluations is None else f"{calibration.evaluations:g}"
        resolution = NONE if facts.resolution is None else f"{100 * facts.resolution:.2g} %"
        sizes = ", ".join(map(str, facts.batch_sizes))
        budget = (f"{facts.budget.horizon:,}", str(len(facts.stages) or NONE), f"{facts.budget.seconds['default']:,g}")
        setup = (f"`{facts.id}`", *budget, f"{facts.eval_every:,}", sizes, _target(facts))
        rows.append((*setup, evaluations, resolution, "yes" if facts.coarse else "no"))
    return table_lines((*heading, "evaluations", "resolution", "coarse"), rows)


def _target(facts: WorkloadFacts) -> str:
    target = facts.targets[0]
    sign = "≤" if target.goal == "min" else "≥"
    return f"`{target.metric}` {sign} {target.value:g} {target.unit}".rstrip()


def _calibration(facts: WorkloadFacts) -> Calibration | None:
    """Return the calibration of a workload; None if there is none."""
    paths = [ROOT / path for path in facts.reference if path.endswith(".json")]
    return msgspec.json.decode(paths[0].read_bytes(), type=Calibration) if paths else None


def _variants(registry: Registry) -> Iterator[list[str]]:
    """Yield the rows of the table of variants."""
    for entry in registry.workloads():
        if entry.distribution == DISTRIBUTION and "+" in entry.name:
            yield [f"`{entry.facts.id}`", entry.summary, _target(entry.facts)]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
