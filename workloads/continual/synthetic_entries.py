"""Entries of the continual workloads on synthetic images; this module must not import torch."""

from __future__ import annotations

from harness.api import Source, WorkloadEntry
from workloads.continual.synthetic_facts import FACTS

_SUMMARIES = {
    "": "five permutations of synthetic images in turn; target: a mean accuracy per stage; no download",
    "classes": "continual-synthetic with other patterns of the classes, a held-out variant",
}

ENTRIES: tuple[WorkloadEntry, ...] = tuple(
    WorkloadEntry(
        facts=facts,
        load="workloads.continual.synthetic:ContinualSynthetic",
        arguments={"variant": variant} if variant else {},
        summary=_SUMMARIES[variant],
        sources=(
            Source(
                title="An Empirical Investigation of Catastrophic Forgetting in Gradient-Based Neural Networks",
                arxiv="1312.6211",
                equation="permuted MNIST",
            ),
            Source(title="Three scenarios for continual learning", arxiv="1904.07734", equation="domain-incremental"),
        ),
        redraws_held_out=True,
    )
    for variant, facts in FACTS.items()
)
