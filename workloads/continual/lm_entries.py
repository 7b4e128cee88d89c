"""Entries of the continual workload on language for the plugin; this module must not import torch."""

from __future__ import annotations

from harness.api import Source, WorkloadEntry
from workloads.continual.lm_facts import CONTINUAL_LM, CONTINUAL_LM_NARROW

_SOURCES = (
    Source(
        title="Simple and Scalable Strategies to Continually Pre-train Large Language Models",
        arxiv="2403.08763",
    ),
    Source(title="On Tiny Episodic Memories in Continual Learning", arxiv="1902.10486"),
)

ENTRIES = (
    WorkloadEntry(
        facts=CONTINUAL_LM,
        load="workloads.continual.lm:ContinualLm",
        summary="a small GPT on two domains of a synthetic language in turn; target: a mean cross-entropy; no download",
        sources=_SOURCES,
        redraws_held_out=True,
    ),
    WorkloadEntry(
        facts=CONTINUAL_LM_NARROW,
        load="workloads.continual.lm:ContinualLm",
        arguments={"variant": "narrow"},
        summary="continual-lm with three quarters of the width; no download",
        sources=_SOURCES,
        redraws_held_out=True,
    ),
)
