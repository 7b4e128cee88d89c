"""What the MNIST curriculum workloads offer to the plugin; nothing heavy is imported."""

from __future__ import annotations

from harness.api import Source, WorkloadEntry
from workloads.curriculum.mnist_facts import FACTS

_SUMMARIES = {
    "": "digits whose labels are the more often wrong the lower their quality, to a cross-entropy on clean ones",
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
