"""Entries of the MNIST curriculum workloads for the plugin; this module must not import torch."""

from __future__ import annotations

from harness.api import Source, WorkloadEntry
from workloads.curriculum.mnist_facts import FACTS

_SUMMARIES = {
    "": "digits whose labels are wrong more often at lower quality scores; target: a cross-entropy on clean digits",
    "narrow": "curriculum-mnist with a fifth of the width",
}

ENTRIES: tuple[WorkloadEntry, ...] = tuple(
    WorkloadEntry(
        facts=facts,
        load="workloads.curriculum.mnist:CurriculumMnist",
        arguments={"variant": variant},
        summary=_SUMMARIES[variant],
        sources=(
            Source(
                title="How Learning Rate Decay Wastes Your Best Data in Curriculum-Based LLM Pretraining",
                arxiv="2511.18903",
            ),
        ),
        needs_data=("mnist",),
    )
    for variant, facts in FACTS.items()
)
