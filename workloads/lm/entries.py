"""What the language-model workloads offer to the plugin; nothing heavy is imported."""

from __future__ import annotations

from harness.api import Source, WorkloadEntry
from workloads.lm.facts import LM_TINY

ENTRIES: tuple[WorkloadEntry, ...] = (
    WorkloadEntry(
        facts=LM_TINY,
        load="workloads.lm.tiny:LmTiny",
        summary="a small GPT on characters of a synthetic language of known entropy, to a cross-entropy; no download",
        sources=(
            Source(title="Language Models are Unsupervised Multitask Learners"),
            Source(title="RoFormer: Enhanced Transformer with Rotary Position Embedding", arxiv="2104.09864"),
        ),
    ),
)
