"""Entries of the continual MNIST workloads for the plugin; this module must not import torch."""

from __future__ import annotations

from harness.api import Source, WorkloadEntry
from workloads.continual.mnist_facts import FACTS

_SUMMARIES = {
    ("class", ""): "ten digits learnt two at a time with one head; target: a mean accuracy per stage",
    ("domain", ""): "five pairs of digits with one head for two classes; target: a mean accuracy per stage",
    ("task", ""): "five pairs of digits, and the model is told the pair; target: a mean accuracy per stage",
    ("permuted", ""): "ten digits under five permutations of the pixels; target: a mean accuracy per stage",
    ("class", "narrow"): "continual-mnist with a quarter of the width",
}
_ALIASES = {("class", ""): ("continual-mnist:class",)}

ENTRIES: tuple[WorkloadEntry, ...] = tuple(
    WorkloadEntry(
        facts=facts,
        load="workloads.continual.mnist:ContinualMnist",
        arguments={"scenario": key[0], "variant": key[1]},
        aliases=_ALIASES.get(key, ()),
        summary=_SUMMARIES[key],
        sources=(
            Source(title="Three scenarios for continual learning", arxiv="1904.07734"),
            Source(title="On Tiny Episodic Memories in Continual Learning", arxiv="1902.10486"),
        ),
        needs_data=("mnist",),
    )
    for key, facts in FACTS.items()
)
